/* The helper's record of what it made: kept over restarts, dropped with the boot, never trusted when damaged. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../helper/journal.h"
#include "banger/cleanup.h"

#define VMS 8

struct bench {
	char path[32];
	int dir;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->path, "/tmp/banger-journal-XXXXXX", sizeof("/tmp/banger-journal-XXXXXX"));
	assert_non_null(mkdtemp(b->path));
	b->dir = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	unlinkat(b->dir, "journal", 0);
	close_fd(b->dir);
	assert_int_equal(rmdir(b->path), 0);
	free(b);
	return 0;
}

static struct journal *must_open(struct bench *b)
{
	struct journal *j = NULL;
	struct err e = {0};

	assert_int_equal(journal_open(b->dir, VMS, &j, &e), 0);
	return j;
}

static void must_refuse(struct bench *b)
{
	struct journal *j = NULL;
	_cleanup_err_ struct err e = {0};

	assert_int_equal(journal_open(b->dir, VMS, &j, &e), -EUCLEAN);
	assert_null(j);
}

static void poke(struct bench *b, off_t at, const void *data, size_t n)
{
	_cleanup_close_ int fd = openat(b->dir, "journal", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, data, n, at), n);
}

/* Two VMs and a bridge, written. */
static void fill(struct bench *b)
{
	struct journal *j = must_open(b);
	struct journal_vm *v;
	struct err e = {0};

	for (uint32_t vm = 7; vm >= 5; vm -= 2) {
		assert_int_equal(journal_take(j, vm, &v, &e), 0);
		v->tap = JOURNAL_LIVE;
		v->address = 0x0a420000 + vm;
		assert_int_equal(journal_write(j, v, &e), 0);
	}
	journal_head(j)->net = JOURNAL_LIVE;
	journal_head(j)->bridge_ifindex = 12;
	assert_int_equal(journal_write_head(j, &e), 0);
	journal_close(j);
}

static void kept(void **state)
{
	struct journal *j;

	fill(*state);
	j = must_open(*state);
	assert_int_equal(journal_head(j)->bridge_ifindex, 12);
	assert_int_equal(journal_find(j, 7)->address, 0x0a420007);
	/* In the order of numbers, not of slots. */
	assert_int_equal(journal_next(j, 0)->vm, 5);
	assert_int_equal(journal_next(j, 5)->vm, 7);
	assert_null(journal_next(j, 7));
	assert_null(journal_find(j, 6));
	journal_close(j);
}

static void slots_come_back(void **state)
{
	struct journal *j = must_open(*state);
	_cleanup_err_ struct err e = {0};
	struct journal_vm *v;

	for (uint32_t vm = 1; vm <= VMS; vm++) {
		assert_int_equal(journal_take(j, vm, &v, &e), 0);
		v->process = JOURNAL_INTENT;
		assert_int_equal(journal_write(j, v, &e), 0);
	}
	assert_int_equal(journal_take(j, 99, &v, &e), -ENOSPC);
	v = journal_find(j, 3);
	v->process = JOURNAL_NONE;
	assert_int_equal(journal_write(j, v, NULL), 0);
	assert_null(journal_find(j, 3));
	assert_int_equal(journal_take(j, 99, &v, NULL), 0);
	journal_close(j);
}

static void another_boot(void **state)
{
	struct journal *j;

	fill(*state);
	poke(*state, offsetof(struct journal_head, boot_id), "00000000", 8);
	j = must_open(*state);
	assert_null(journal_next(j, 0));
	assert_int_equal(journal_head(j)->net, JOURNAL_NONE);
	journal_close(j);
}

static void damaged(void **state)
{
	const struct {
		off_t at;
		uint8_t value;
	} pokes[] = {
		{offsetof(struct journal_head, magic) + 6, '9'}, /* another version of this boot */
		{offsetof(struct journal_head, net), 77},
		{offsetof(struct journal_head, mount), 77},
	};

	for (size_t i = 0; i < ELEMENTSOF(pokes); i++) {
		struct bench *b = *state;

		fill(b);
		poke(b, pokes[i].at, &pokes[i].value, 1);
		must_refuse(b);
		unlinkat(b->dir, "journal", 0);
	}
}

static void cut(void **state)
{
	struct bench *b = *state;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	fill(b);
	fd = openat(b->dir, "journal", O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size - 64), 0);
	must_refuse(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept, setup, teardown),
		cmocka_unit_test_setup_teardown(slots_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(another_boot, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(cut, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
