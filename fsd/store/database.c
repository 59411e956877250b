#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "store/database.h"

#define DAMAGED ": the database is damaged: put a copy of banger.db back, or move it away to begin anew"

int database_error(struct store *s, struct err *e, const char *what)
{
	/* The first that fits: an extended code before the code it is of. */
	static const struct {
		int sqlite, code;
		const char *hint;
	} codes[] = {
		{SQLITE_CONSTRAINT_UNIQUE, -EEXIST, ""},
		{SQLITE_CONSTRAINT_PRIMARYKEY, -EEXIST, ""},
		{SQLITE_CONSTRAINT, -EINVAL, ""},
		{SQLITE_FULL, -ENOSPC, ": no space left for the database: free some, then try again"},
		{SQLITE_CORRUPT, -EUCLEAN, DAMAGED},
		{SQLITE_NOTADB, -EUCLEAN, DAMAGED},
		{SQLITE_READONLY, -EROFS,
			": banger.db can't be written: see who owns it and how it is mounted"},
		{SQLITE_BUSY, -EBUSY, ": another program holds banger.db: end it, then try again"},
		{SQLITE_NOMEM, -ENOMEM, ""},
	};
	int extended = sqlite3_extended_errcode(s->db), os = 0;

	/* A system call failed: which errno says more than which call. */
	if ((extended & 0xff) == SQLITE_IOERR || (extended & 0xff) == SQLITE_CANTOPEN)
		os = sqlite3_system_errno(s->db);
	if (os == ENOSPC || os == EDQUOT)
		extended = SQLITE_FULL;
	else if (os > 0)
		return err_sys(e, -os, "%s: %s", what, sqlite3_errmsg(s->db));
	for (size_t i = 0; i < ELEMENTSOF(codes); i++)
		if (extended == codes[i].sqlite || (extended & 0xff) == codes[i].sqlite)
			return err_set(
				e, codes[i].code, "%s: %s%s", what, sqlite3_errmsg(s->db), codes[i].hint);
	return err_set(e, -EIO, "%s: %s", what, sqlite3_errmsg(s->db));
}

static int prepare(
	struct store *s, sqlite3_stmt **ret, struct err *e, const char *sql, const char *format, va_list ap)
{
	sqlite3_stmt *stmt = NULL;
	int r = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);

	for (int i = 0; r == SQLITE_OK && format[i]; i++) {
		if (format[i] == 'i')
			r = sqlite3_bind_int64(stmt, i + 1, va_arg(ap, int64_t));
		else
			r = sqlite3_bind_text(stmt, i + 1, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
	}
	if (r != SQLITE_OK) {
		r = database_error(s, e, "database");
		sqlite3_finalize(stmt);
		return r;
	}
	*ret = stmt;
	return 0;
}

int database_prepare(
	struct store *s, sqlite3_stmt **ret, struct err *e, const char *sql, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = prepare(s, ret, e, sql, format, ap);
	va_end(ap);
	return r;
}

int database_run(struct store *s, int *ret_changes, struct err *e, const char *sql, const char *format, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = prepare(s, &stmt, e, sql, format, ap);
	va_end(ap);
	if (r < 0)
		return r;
	while ((r = sqlite3_step(stmt)) == SQLITE_ROW)
		continue;
	r = r == SQLITE_DONE ? 0 : database_error(s, e, "database");
	sqlite3_finalize(stmt);
	if (r == 0 && ret_changes)
		*ret_changes = sqlite3_changes(s->db);
	return r;
}

char *database_text(sqlite3_stmt *stmt, int i)
{
	const unsigned char *text = sqlite3_column_text(stmt, i);

	return strdup(text ? (const char *)text : "");
}

void database_reserve(struct store *s)
{
	struct stat st;

	if (s->reserve_fd >= 0 && fstat(s->reserve_fd, &st) == 0 && st.st_size == 0 &&
		posix_fallocate(s->reserve_fd, 0, DATABASE_RESERVE) != 0)
		(void)!ftruncate(s->reserve_fd, 0);
}

bool database_use_reserve(struct store *s)
{
	struct stat st;

	return s->reserve_fd >= 0 && fstat(s->reserve_fd, &st) == 0 && st.st_size > 0 &&
	       ftruncate(s->reserve_fd, 0) == 0;
}
