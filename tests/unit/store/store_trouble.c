/* The database: versions, damage, kills, full and read-only disks, and what it says when it can't. */
#include "tests/unit/store/store.h"

#include "lib/need.h"

static void raw(struct bench *b, const char *sql)
{
	_cleanup_free_ char *path = NULL;
	sqlite3 *db;

	assert_true(asprintf(&path, "%s/banger.db", b->dir) > 0);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void newer_version(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ char *sql = NULL;

	b->store = store_close(b->store);
	assert_true(asprintf(&sql, "PRAGMA user_version=%zu", store_schema_count + 1) > 0);
	raw(b, sql);
	assert_int_equal(store_open(b->fd, &b->store, &e), -EOVERFLOW);
	assert_null(b->store);
	assert_non_null(strstr(err_text(&e), "newer"));
}

/* A migration that fails leaves the database as it was. */
static void migration_is_whole(void **state)
{
	struct bench *b = *state;
	struct stat st;

	b->store = store_close(b->store);
	raw(b, "DROP TABLE vm; DROP TABLE object; DROP TABLE config; DROP TABLE mode; PRAGMA user_version=0");
	/* The table `counter` is in the way of the last statements but one. */
	assert_true(store_open(b->fd, &b->store, NULL) < 0);
	raw(b, "CREATE TABLE vm (a)");
	raw(b, "DROP TABLE vm; DROP TABLE counter");
	assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
	assert_int_equal(fstatat(b->fd, "banger.db", &st, 0), 0);
}

static void no_database(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};

	b->store = store_close(b->store);
	assert_int_equal(
		io_replace_file(b->fd, "banger.db", "this is a text, nothing else, and long", 38, 0600, NULL),
		0);
	assert_int_equal(store_open(b->fd, &b->store, &e), -EUCLEAN);
	assert_non_null(strstr(err_text(&e), "damaged"));
}

/* Bytes turned over anywhere in it: found at the opening, or harmless; never a crash. */
static void damaged(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *whole = NULL;
	size_t n, found = 0;

	for (int i = 0; i < 40; i++) {
		char name[16];
		struct store_vm row = vm(name);

		snprintf(name, sizeof(name), "vm%d", i);
		assert_int_equal(store_vm_insert(b->store, &row, 1000, NULL), 0);
	}
	b->store = store_close(b->store);
	assert_int_equal(io_read_file(b->fd, "banger.db", 1 << 24, &whole, &n, NULL), 0);
	for (size_t i = 0; i < 200; i++) {
		_cleanup_free_ char *bad = malloc(n);
		_cleanup_(store_closep) struct store *s = NULL;
		size_t at = (i * 7919) % (n - 64);

		memcpy(bad, whole, n);
		memset(bad + at, (int)(0x55 + i), 64);
		assert_int_equal(io_replace_file(b->fd, "banger.db", bad, n, 0600, NULL), 0);
		if (store_open(b->fd, &s, NULL) < 0) {
			found++;
			continue;
		}
		b->rows = 0;
		b->stop = -ECHILD;
		store_vm_each(s, see, b, NULL);
		store_config_set(s, "a", "b", NULL);
	}
	print_message("# %zu of 200 were found\n", found);
	assert_true(found > 20);
	assert_int_equal(io_replace_file(b->fd, "banger.db", whole, n / 2, 0600, NULL), 0);
	assert_int_equal(store_open(b->fd, &b->store, NULL), -EUCLEAN);
}

static void concurrent_reader(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *path = NULL;
	sqlite3_stmt *stmt;
	sqlite3 *db;

	assert_int_equal(store_config_set(b->store, "a", "1", NULL), 0);
	assert_int_equal(store_config_set(b->store, "b", "1", NULL), 0);
	assert_true(asprintf(&path, "%s/banger.db", b->dir) > 0);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT value FROM config ORDER BY key", -1, &stmt, NULL), 0);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	/* In the middle of its reading; it sees the moment it began at. */
	assert_int_equal(store_config_set(b->store, "b", "2", NULL), 0);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "1");
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

/* Killed at any moment: all that was acknowledged is there, and it opens. */
static void killed(void **state)
{
	struct bench *b = *state;

	b->store = store_close(b->store);
	for (int round = 0; round < 10; round++) {
		int acks[2], status;
		char last[16] = "", name[16];
		ssize_t n;
		pid_t pid;

		assert_int_equal(pipe2(acks, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0) {
			struct store *s = NULL;

			if (store_open(b->fd, &s, NULL) < 0)
				_exit(1);
			for (int i = 0;; i++) {
				struct store_vm row = vm(name);

				snprintf(name, sizeof(name), "%d-%08u", round % 10, (unsigned)i % 100000000);
				if (store_vm_insert(s, &row, 1000000, NULL) < 0 ||
					write(acks[1], name, 10) != 10)
					_exit(1);
				/* At most two rows of a round stay. */
				if (row.id > 2)
					store_vm_delete(s, row.id - 2, NULL);
			}
		}
		close_fd(acks[1]);
		/* After some commits, at a moment that differs. */
		for (int i = 0; i < 5 + round; i++)
			assert_int_equal(io_read_full(acks[0], last, 10), 0);
		usleep((useconds_t)(round * 137));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		while ((n = read(acks[0], name, 10)) == 10)
			memcpy(last, name, 10);
		close_fd(acks[0]);
		assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
		look(b);
		n = 0;
		for (unsigned i = 0; i < b->rows; i++)
			n += strcmp(b->names[i], last) == 0;
		assert_int_equal(n, 1);
		/* One more stays of a round that was killed between its insertion and its deletion. */
		for (unsigned i = 0; i < b->rows; i++)
			assert_int_equal(store_vm_delete(b->store, b->ids[i], NULL), 0);
		b->store = store_close(b->store);
	}
}

/* In a child with a mount namespace of its own: FN's return is its exit. */
static void in_a_mount(
	struct bench *b, const char *options, bool read_only, int (*fn)(struct bench *b, int fd))
{
	int status;
	pid_t pid;

	need_root();
	b->store = store_close(b->store);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_(store_closep) struct store *s = NULL;
		int fd;

		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("tmpfs", b->dir, "tmpfs", 0, options) < 0)
			_exit(100);
		fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (store_open(fd, &s, NULL) < 0)
			_exit(101);
		s = store_close(s);
		if (read_only && mount(NULL, b->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
			_exit(102);
		_exit(fn(b, fd));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int open_read_only(struct bench *b, int fd)
{
	struct err e = {0};

	return store_open(fd, &b->store, &e) == -EROFS && e.text ? 0 : 1;
}

static void read_only(void **state)
{
	in_a_mount(*state, "size=4m", true, open_read_only);
}

static int fill_up(struct bench *b, int fd)
{
	struct err e = {0};
	struct store_vm row;
	char big[4000], key[16];
	int r = 0;

	if (store_open(fd, &b->store, NULL) < 0)
		return 1;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (int i = 0; i < 5000 && r == 0; i++) {
		snprintf(key, sizeof(key), "%d", i);
		r = store_config_set(b->store, key, big, &e);
	}
	if (r != -ENOSPC || !strstr(err_text(&e), "space"))
		return 2;
	/* Smaller ones may still fit. */
	r = 0;
	for (int i = 0; i < 5000 && r == 0; i++) {
		snprintf(key, sizeof(key), "vm%d", i);
		row = vm(key);
		r = store_vm_insert(b->store, &row, 10000, &e);
	}
	if (r != -ENOSPC || row.address_index != 0 || row.id != 0)
		return 3;
	/* When there is space again it goes on, and nothing is wrong with it. */
	if (mount(NULL, b->dir, NULL, MS_REMOUNT, "size=16m") < 0)
		return 4;
	if (store_vm_insert(b->store, &row, 100, NULL) < 0)
		return 5;
	b->store = store_close(b->store);
	return store_open(fd, &b->store, NULL) < 0 ? 6 : 0;
}

static void disk_full(void **state)
{
	in_a_mount(*state, "size=1m", false, fill_up);
}

static void memory_is_bounded(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 1000; i++) {
		char name[16];
		struct store_vm row = vm(name);

		snprintf(name, sizeof(name), "vm%d", i);
		assert_int_equal(store_vm_insert(b->store, &row, 2000, NULL), 0);
	}
	reopen(b);
	b->stop = 1;
	for (int i = 0; i < 100; i++)
		store_config_set(b->store, "a", i % 2 ? "1" : "2", NULL);
	assert_true(sqlite3_memory_used() < 1500000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(newer_version),
		TEST(migration_is_whole),
		TEST(no_database),
		TEST(damaged),
		TEST(concurrent_reader),
		TEST(killed),
		TEST(read_only),
		TEST(disk_full),
		TEST(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
