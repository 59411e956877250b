/* A database in a folder of its own. */
#ifndef BANGER_TESTS_STORE_H
#define BANGER_TESTS_STORE_H

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

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

static inline void reopen(struct bench *b)
{
	b->store = store_close(b->store);
	assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
}

static inline struct store_vm vm(const char *name)
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
		.disk_rate = 1 << 20,
		.disk_ops = 400,
		.net_rate = 3 << 20,
		.publish = (char *)"8080 80\n9000 9000",
		.created = 1,
		.changed = 2,
		.state = (char *)"created",
		.error = (char *)"12 boot: it's \"odd\": \xc3\xa4",
		.boot_id = (char *)"",
		.accel = (char *)"",
	};
}

static inline int see(void *user, const struct store_vm *row)
{
	struct bench *b = user;

	assert_true(b->rows < 8);
	b->ids[b->rows] = row->id;
	snprintf(b->names[b->rows++], 32, "%s", row->name);
	return b->stop;
}

static inline void look(struct bench *b)
{
	b->rows = 0;
	assert_int_equal(store_vm_each(b->store, see, b, NULL), 0);
}

static inline int same(void *user, const struct store_vm *row)
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
	assert_int_equal(row->disk_rate, 1 << 20);
	assert_int_equal(row->disk_ops, 400);
	assert_int_equal(row->net_rate, 3 << 20);
	assert_string_equal(row->publish, "8080 80\n9000 9000");
	assert_int_equal(row->address_index, want->address_index);
	assert_int_equal(row->changed, want->changed);
	assert_int_equal(row->started, want->started);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
