#include <errno.h>
#include <stdarg.h>

#include "banger/cleanup.h"
#include "store/database.h"

int database_error(struct store *s, struct err *e, const char *what)
{
	static const struct {
		int sqlite, code;
		const char *hint;
	} codes[] = {
		{SQLITE_FULL, -ENOSPC, ": no space left for the database: free some, then try again"},
		{SQLITE_CONSTRAINT, -EEXIST, ""},
		{SQLITE_CORRUPT, -EUCLEAN, ": the database is damaged"},
		{SQLITE_NOTADB, -EUCLEAN, ": the database is damaged"},
		{SQLITE_READONLY, -EROFS, ""},
		{SQLITE_NOMEM, -ENOMEM, ""},
	};
	int extended = sqlite3_extended_errcode(s->db);

	if ((extended & 0xff) == SQLITE_IOERR && sqlite3_system_errno(s->db) == ENOSPC)
		extended = SQLITE_FULL;
	for (size_t i = 0; i < ELEMENTSOF(codes); i++)
		if ((extended & 0xff) == codes[i].sqlite)
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
