/*
 * SQLite as the store's tables use it: a connection, statements bound by a format, errors as banger has them.
 */
#ifndef BANGER_STORE_DATABASE_H
#define BANGER_STORE_DATABASE_H

#include <sqlite3.h>

#include "banger/err.h"
#include "store/store.h"

struct store {
	sqlite3 *db;
	int reserve_fd; /* a file of DATABASE_RESERVE bytes, given up for a deletion on a full disk */
};

#define DATABASE_RESERVE (256 * 1024)

/* Takes the room, as far as there is any; gives it up: true when there was some. */
void database_reserve(struct store *s);
bool database_use_reserve(struct store *s);

/* -ENOSPC, -EUCLEAN, -EROFS, -EBUSY, -ENOMEM, -EEXIST (unique), -EINVAL (another constraint), an errno of the system's or -EIO from SQLite's extended code; E says WHAT and SQLite's text. */
int database_error(struct store *s, struct err *e, const char *what);

/*
 * Prepares SQL and binds the arguments: a letter of FORMAT each: 'i' int64_t, 's' const char * (static for the call).
 * *RET is the caller's: sqlite3_finalize().
 */
int database_prepare(
	struct store *s, sqlite3_stmt **ret, struct err *e, const char *sql, const char *format, ...);

/* The same, run to its end; *RET_CHANGES (may be NULL): rows changed. */
int database_run(struct store *s, int *ret_changes, struct err *e, const char *sql, const char *format, ...);

/* Column I of the row at hand as text of one's own, "" for NULL; NULL: no memory. */
char *database_text(sqlite3_stmt *stmt, int i);

#endif
