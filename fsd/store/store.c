#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "store/database.h"
#include "store/schema.h"

static int migrate(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int64_t version;
	int r;

	r = database_prepare(s, &stmt, e, "PRAGMA user_version", "");
	if (r < 0)
		return r;
	version = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
	sqlite3_finalize(stmt);
	if (version < 0)
		return database_error(s, e, "database version");
	if (version > (int64_t)store_schema_count)
		return err_set(e, -EOVERFLOW,
			"the database has version %" PRId64
			", this banger knows up to %zu: install the newer banger that wrote it",
			version, store_schema_count);
	for (; version < (int64_t)store_schema_count; version++) {
		_cleanup_free_ char *sql = NULL;

		if (asprintf(&sql, "BEGIN IMMEDIATE; %s; PRAGMA user_version=%" PRId64 "; COMMIT;",
			    store_schema[version], version + 1) < 0) {
			sql = NULL;
			return err_sys(e, -ENOMEM, "database");
		}
		if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
			r = database_error(s, e, "database migration");
			sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
			return r;
		}
	}
	return 0;
}

static int check(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = database_prepare(s, &stmt, e, "PRAGMA quick_check(1)", "");

	if (r < 0)
		return r;
	r = sqlite3_step(stmt);
	if (r != SQLITE_ROW)
		r = database_error(s, e, "database check");
	else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
		r = err_set(e, -EUCLEAN,
			"the database is damaged: %s: put a copy of banger.db back, or move it away to begin "
			"anew",
			sqlite3_column_text(stmt, 0));
	else
		r = 0;
	sqlite3_finalize(stmt);
	return r;
}

/* Where it can't be had SQLite says so by staying in another mode, not by an error. */
static int use_wal(struct store *s, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = database_prepare(s, &stmt, e, "PRAGMA journal_mode=WAL", "");

	if (r < 0)
		return r;
	r = sqlite3_step(stmt);
	if (r != SQLITE_ROW)
		r = database_error(s, e, "banger.db");
	else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") != 0)
		r = err_set(
			e, -EOPNOTSUPP, "banger.db: no write-ahead log on this file system: use a local one");
	else
		r = 0;
	sqlite3_finalize(stmt);
	return r;
}

int store_open(int state_fd, struct store **ret, struct err *e)
{
	_cleanup_(store_closep) struct store *s = calloc(1, sizeof(*s));
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!s || asprintf(&path, "/proc/self/fd/%d/banger.db", state_fd) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "database");
	}
	s->reserve_fd = openat(state_fd, "banger.reserve", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	database_reserve(s);
	/* Made by us: SQLite's other files take their mode from it. */
	fd = openat(state_fd, "banger.db", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fchmod(fd, 0600) < 0)
		return err_sys(e, -errno, "banger.db");
	fd = close_fd(fd);
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return database_error(s, e, "banger.db");
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, 5000);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* FULL: what was acknowledged outlives a power cut (design, facts on reliability 2.2). The cache is in KiB. */
	if (sqlite3_exec(s->db,
		    "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
		    "PRAGMA cell_size_check=ON; PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY;",
		    NULL, NULL, NULL) != SQLITE_OK)
		return database_error(s, e, "banger.db");
	if ((r = use_wal(s, e)) < 0 || (r = check(s, e)) < 0 || (r = migrate(s, e)) < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

struct store *store_close(struct store *s)
{
	if (s) {
		sqlite3_close(s->db);
		close_fd(s->reserve_fd);
		free(s);
	}
	return NULL;
}

int store_reserve_ops(struct store *s, uint64_t n, uint64_t *ret_first, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int64_t next;
	int r;

	r = database_prepare(s, &stmt, e,
		"UPDATE counter SET next = next + ? WHERE name = 'op' RETURNING next", "i", (int64_t)n);
	if (r < 0)
		return r;
	if (sqlite3_step(stmt) != SQLITE_ROW) {
		r = database_error(s, e, "operation numbers");
		sqlite3_finalize(stmt);
		return r;
	}
	next = sqlite3_column_int64(stmt, 0);
	/* The transaction ends, and is durable, with the last step. */
	r = sqlite3_step(stmt) == SQLITE_DONE ? 0 : database_error(s, e, "operation numbers");
	sqlite3_finalize(stmt);
	if (r == 0)
		*ret_first = (uint64_t)next - n;
	return r;
}

int store_config_set(struct store *s, const char *key, const char *value, struct err *e)
{
	if (!value)
		return database_run(s, NULL, e, "DELETE FROM config WHERE key = ?", "s", key);
	return database_run(s, NULL, e,
		"INSERT INTO config VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
		"ss", key, value);
}

int store_config_each(
	struct store *s, int (*fn)(void *user, const char *key, const char *value), void *user, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = database_prepare(s, &stmt, e, "SELECT key, value FROM config ORDER BY key", ""),
	    step = SQLITE_DONE;

	while (r == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW)
		r = fn(user, (const char *)sqlite3_column_text(stmt, 0),
			(const char *)sqlite3_column_text(stmt, 1));
	if (r == 0 && step != SQLITE_DONE)
		r = database_error(s, e, "settings");
	sqlite3_finalize(stmt);
	return r;
}

int store_mode_set(struct store *s, const struct store_mode *row, struct err *e)
{
	return database_run(s, NULL, e,
		"INSERT INTO mode VALUES (?, ?, ?, ?) ON CONFLICT (node) DO UPDATE"
		" SET mode = excluded.mode, uid = excluded.uid, gid = excluded.gid",
		"iiii", (int64_t)row->node, (int64_t)row->mode, (int64_t)row->uid, (int64_t)row->gid);
}

int store_mode_each(
	struct store *s, int (*fn)(void *user, const struct store_mode *row), void *user, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = database_prepare(s, &stmt, e, "SELECT node, mode, uid, gid FROM mode", ""),
	    step = SQLITE_DONE;

	while (r == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct store_mode row = {
			.node = (uint64_t)sqlite3_column_int64(stmt, 0),
			.mode = (uint32_t)sqlite3_column_int64(stmt, 1),
			.uid = (uint32_t)sqlite3_column_int64(stmt, 2),
			.gid = (uint32_t)sqlite3_column_int64(stmt, 3),
		};

		r = fn(user, &row);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = database_error(s, e, "modes");
	sqlite3_finalize(stmt);
	return r;
}

int store_mode_forget(struct store *s, uint64_t first, uint64_t last, struct err *e)
{
	return database_run(s, NULL, e, "DELETE FROM mode WHERE node BETWEEN ? AND ?", "ii", (int64_t)first,
		(int64_t)last);
}
