/* The database: what it keeps, and what it says when it can't. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "store/schema.h"
#include "store/store.h"

struct bench {
	char dir[40];
	int fd;
	struct store *store;
	unsigned rows;
	uint32_t ids[8];
	char names[8][32];
	int stop;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-store-XXXXXX", sizeof("/tmp/banger-store-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	store_close(b->store);
	unlinkat(b->fd, "banger.db", 0);
	unlinkat(b->fd, "banger.db-wal", 0);
	unlinkat(b->fd, "banger.db-shm", 0);
	unlinkat(b->fd, "banger.reserve", 0);
	close_fd(b->fd);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static void reopen(struct bench *b)
{
	b->store = store_close(b->store);
	assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
}

static struct store_vm vm(const char *name)
{
	return (struct store_vm){
		.name = (char *)name,
		.image = (char *)"",
		.kernel = (char *)"debian",
		.engine = (char *)"",
		.storage = (char *)"",
		.vcpus = 2,
		.memory = UINT64_C(1) << 40,
		.disk = 8u << 20,
		.nat = true,
		.autostop = 900,
		.created = 1,
		.changed = 2,
		.state = (char *)"created",
		.error = (char *)"12 boot: it's \"odd\": \xc3\xa4",
		.boot_id = (char *)"",
		.accel = (char *)"",
	};
}

static int see(void *user, const struct store_vm *row)
{
	struct bench *b = user;

	assert_true(b->rows < 8);
	b->ids[b->rows] = row->id;
	snprintf(b->names[b->rows++], 32, "%s", row->name);
	return b->stop;
}

static void look(struct bench *b)
{
	b->rows = 0;
	assert_int_equal(store_vm_each(b->store, see, b, NULL), 0);
}

static int same(void *user, const struct store_vm *row)
{
	const struct store_vm *want = user;

	assert_string_equal(row->name, want->name);
	assert_string_equal(row->image, "");
	assert_string_equal(row->kernel, want->kernel);
	assert_string_equal(row->error, want->error);
	assert_string_equal(row->state, want->state);
	assert_int_equal(row->id, want->id);
	assert_int_equal(row->vcpus, want->vcpus);
	assert_int_equal(row->memory, want->memory);
	assert_int_equal(row->disk, want->disk);
	assert_true(row->nat);
	assert_int_equal(row->autostop, 900);
	assert_int_equal(row->address_index, want->address_index);
	assert_int_equal(row->changed, want->changed);
	assert_int_equal(row->started, want->started);
	return 0;
}

static void vms_are_kept(void **state)
{
	struct bench *b = *state;
	struct store_vm row = vm("a");

	assert_int_equal(store_vm_insert(b->store, &row, 100, NULL), 0);
	assert_int_equal(row.id, 1);
	assert_int_equal(row.address_index, 2);
	row.name = (char *)"renamed";
	row.memory = UINT64_MAX;
	row.started = 77;
	assert_int_equal(store_vm_update(b->store, &row, NULL), 0);
	reopen(b);
	assert_int_equal(store_vm_each(b->store, same, &row, NULL), 0);
	assert_int_equal(store_vm_delete(b->store, row.id, NULL), 0);
	assert_int_equal(store_vm_update(b->store, &row, NULL), -ENOENT);
	look(b);
	assert_int_equal(b->rows, 0);
}

static void names_and_addresses(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	struct store_vm one = vm("one"), two = vm("two"), again = vm("one"), three = vm("three");

	assert_int_equal(store_vm_insert(b->store, &one, 3, NULL), 0);
	assert_int_equal(store_vm_insert(b->store, &two, 3, NULL), 0);
	assert_int_equal(two.address_index, 3);
	assert_int_equal(store_vm_insert(b->store, &three, 3, &e), -ENOSPC);
	assert_int_equal(three.address_index, 0);
	assert_int_equal(store_vm_insert(b->store, &again, 9, &e), -EEXIST);
	assert_non_null(strstr(err_text(&e), "one"));
	assert_int_equal(again.address_index, 0);
	two.name = (char *)"one";
	assert_int_equal(store_vm_update(b->store, &two, &e), -EEXIST);
	/* Neither address nor number of a deleted one: the address is free again, the number never. */
	assert_int_equal(store_vm_delete(b->store, two.id, NULL), 0);
	assert_int_equal(store_vm_insert(b->store, &three, 3, NULL), 0);
	assert_int_equal(three.address_index, 3);
	assert_int_equal(three.id, 3);
	reopen(b);
	assert_int_equal(store_vm_delete(b->store, three.id, NULL), 0);
	reopen(b);
	two.name = (char *)"two";
	assert_int_equal(store_vm_insert(b->store, &two, 3, NULL), 0);
	assert_int_equal(two.id, 4);
	two.name = NULL;
	assert_int_equal(store_vm_update(b->store, &two, NULL), -EINVAL);
	look(b);
	assert_int_equal(b->rows, 2);
	assert_int_equal(b->ids[1], 4);
	b->rows = 0;
	b->stop = -ECHILD;
	assert_int_equal(store_vm_each(b->store, see, b, NULL), -ECHILD);
	assert_int_equal(b->rows, 1);
}

static int see_object(void *user, const struct store_object *row)
{
	assert_string_equal(row->name, "x");
	assert_string_equal(row->digest, "sha256:1");
	assert_int_equal(row->size, 5);
	++*(unsigned *)user;
	return 0;
}

static void objects_by_kind(void **state)
{
	struct bench *b = *state;
	struct store_object row = {.name = (char *)"x",
		.ref = (char *)"",
		.digest = (char *)"sha256:1",
		.arch = (char *)"",
		.kernel = (char *)"",
		.file = (char *)"x.ext4",
		.size = 5};
	unsigned n = 0;

	assert_int_equal(store_object_insert(b->store, "image", &row, NULL), 0);
	assert_int_equal(store_object_insert(b->store, "image", &row, NULL), -EEXIST);
	assert_int_equal(store_object_insert(b->store, "kernel", &row, NULL), 0);
	assert_int_equal(store_object_delete(b->store, "image", row.id, NULL), 0);
	assert_int_equal(store_object_each(b->store, "image", see_object, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_object_delete(b->store, "kernel", row.id, NULL), 0);
	assert_int_equal(store_object_each(b->store, "kernel", see_object, &n, NULL), 0);
	assert_int_equal(n, 1);
}

struct replaced {
	unsigned rows;
	uint32_t id;
	bool old, young;
};

static int see_replaced(void *user, const struct store_object *row)
{
	struct replaced *seen = user;

	seen->rows++;
	if (strcmp(row->name, "x-old") == 0 && strcmp(row->digest, "sha256:1") == 0)
		seen->old = true;
	if (strcmp(row->name, "x") == 0 && strcmp(row->digest, "sha256:2") == 0 &&
		strcmp(row->platform, "linux/amd64") == 0 && *row->config == '\0') {
		seen->young = true;
		seen->id = row->id;
	}
	return 0;
}

static int see_image_of_vm(void *user, const struct store_vm *row)
{
	(void)user;
	assert_string_equal(row->image, "x-old");
	return 0;
}

static void object_is_replaced(void **state)
{
	struct bench *b = *state;
	struct store_vm vm_row = vm("user");
	struct store_object row = {.name = (char *)"x",
		.ref = (char *)"",
		.digest = (char *)"sha256:1",
		.arch = (char *)"",
		.kernel = (char *)"",
		.file = (char *)"1.ext4"};
	struct replaced seen = {0};
	uint32_t old;

	assert_int_equal(store_object_insert(b->store, "image", &row, NULL), 0);
	assert_int_equal(store_vm_insert(b->store, &vm_row, 100, NULL), 0);
	old = row.id;
	row.digest = (char *)"sha256:2";
	row.file = (char *)"2.ext4";
	row.platform = (char *)"linux/amd64";
	assert_int_equal(
		store_object_replace(b->store, "image", &row, old, "x-old", "r", &vm_row.id, 1, NULL), 0);
	assert_int_equal(store_object_each(b->store, "image", see_replaced, &seen, NULL), 0);
	assert_true(seen.rows == 2 && seen.old && seen.young && seen.id == row.id && row.id != old);
	assert_int_equal(store_vm_each(b->store, see_image_of_vm, NULL, NULL), 0);
	/* The old name is taken: nothing of it is done. */
	old = row.id;
	row.digest = (char *)"sha256:3";
	assert_int_equal(
		store_object_replace(b->store, "image", &row, old, "x-old", "r", NULL, 0, NULL), -EEXIST);
	seen = (struct replaced){0};
	assert_int_equal(store_object_each(b->store, "image", see_replaced, &seen, NULL), 0);
	assert_true(seen.rows == 2 && seen.old && seen.young);
	/* Nobody uses it: it goes. */
	assert_int_equal(store_object_replace(b->store, "image", &row, old, NULL, NULL, NULL, 0, NULL), 0);
	seen = (struct replaced){0};
	assert_int_equal(store_object_each(b->store, "image", see_replaced, &seen, NULL), 0);
	assert_true(seen.rows == 2 && seen.old && !seen.young);
}

static int see_config(void *user, const char *key, const char *value)
{
	fprintf(user, "%s=%s;", key, value);
	return 0;
}

static void config(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(store_config_set(b->store, "b", "1", NULL), 0);
	assert_int_equal(store_config_set(b->store, "a", "x'; DROP TABLE vm; --", NULL), 0);
	assert_int_equal(store_config_set(b->store, "b", "2", NULL), 0);
	assert_int_equal(store_config_set(b->store, "c", "3", NULL), 0);
	assert_int_equal(store_config_set(b->store, "c", NULL, NULL), 0);
	assert_int_equal(store_config_set(b->store, "never", NULL, NULL), 0);
	reopen(b);
	assert_int_equal(store_config_each(b->store, see_config, out, NULL), 0);
	fclose(out);
	assert_string_equal(text, "a=x'; DROP TABLE vm; --;b=2;");
}

static int see_mode(void *user, const struct store_mode *row)
{
	fprintf(user, "%" PRIx64 ":%o:%u:%u;", row->node, row->mode, row->uid, row->gid);
	return 0;
}

static void modes(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	const struct store_mode rows[] = {
		{5, 0600, 1, 2}, {5, 0640, 1, UINT32_MAX}, {6, 0444, 0, 0}, {UINT64_MAX - 1, 0400, 0, 0}};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		assert_int_equal(store_mode_set(b->store, &rows[i], NULL), 0);
	assert_int_equal(store_mode_forget(b->store, 6, 10, NULL), 0);
	assert_int_equal(store_mode_each(b->store, see_mode, out, NULL), 0);
	fclose(out);
	assert_string_equal(text, "fffffffffffffffe:400:0:0;5:640:1:4294967295;");
	assert_int_equal(store_mode_forget(b->store, UINT64_MAX - 9, UINT64_MAX, NULL), 0);
}

static void operation_numbers(void **state)
{
	struct bench *b = *state;
	uint64_t first = 0, second = 0;

	assert_int_equal(store_reserve_ops(b->store, 1000000, &first, NULL), 0);
	reopen(b);
	assert_int_equal(store_reserve_ops(b->store, 1, &second, NULL), 0);
	assert_int_equal(first, 1);
	assert_int_equal(second, 1000001);
}

/* Files are the owner's alone, whatever the umask. */
static void only_the_owners(void **state)
{
	struct bench *b = *state;
	static const char *const names[] = {"banger.db", "banger.db-wal", "banger.db-shm"};
	struct stat st;

	b->store = store_close(b->store);
	assert_int_equal(fchmodat(b->fd, "banger.db", 0666, 0), 0);
	umask(0);
	assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
	assert_int_equal(store_config_set(b->store, "a", "b", NULL), 0);
	umask(022);
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		assert_int_equal(fstatat(b->fd, names[i], &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
}

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

	if (geteuid() != 0) {
		print_message("# needs root\n");
		skip();
	}
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(vms_are_kept),
		TEST(names_and_addresses),
		TEST(objects_by_kind),
		TEST(object_is_replaced),
		TEST(config),
		TEST(modes),
		TEST(operation_numbers),
		TEST(only_the_owners),
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

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
