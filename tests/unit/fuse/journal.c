/* What is told to guests without waiting, over the ends of daemons. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "fuse/journal.h"
#include "tests/unit/fuse/small.h"

struct bench {
	char dir[40];
	int fd;
	struct journal *j;
	struct journal_op *seen[64];
	size_t count;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-journal-XXXXXX", sizeof("/tmp/banger-journal-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(journal_open(b->fd, &b->j, NULL), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	journal_close(b->j);
	unlinkat(b->fd, "behind", 0);
	close_fd(b->fd);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static struct journal_op *add(struct bench *b, uint32_t vm, uint64_t node, const void *data, uint32_t size)
{
	struct journal_op op = {.vm = vm, .node = node, .size = size, .offset = 7 * node};

	return journal_add(b->j, &op, data);
}

static void again(struct bench *b)
{
	b->j = journal_close(b->j);
	assert_int_equal(journal_open(b->fd, &b->j, NULL), 0);
	b->count = 0;
}

static void on_left(void *user, struct journal_op *op)
{
	struct bench *b = user;

	assert_true(b->count < ELEMENTSOF(b->seen));
	b->seen[b->count++] = op;
}

static void keeps_the_order(void **state)
{
	struct bench *b = *state;
	struct journal_op *second;

	assert_non_null(add(b, 1, 10, "one", 3));
	second = add(b, 1, 11, "two", 3);
	assert_non_null(add(b, 2, 20, "other", 5));
	assert_non_null(add(b, 1, 12, NULL, 0));
	journal_done(b->j, second);
	/* One's own are not left. */
	assert_false(journal_left(b->j, 1, 0));
	again(b);
	assert_true(journal_left(b->j, 1, 0));
	assert_true(journal_left(b->j, 1, 12));
	assert_false(journal_left(b->j, 1, 11));
	assert_false(journal_left(b->j, 1, 20));
	assert_false(journal_left(b->j, 3, 0));
	journal_replay(b->j, 1, on_left, b);
	assert_int_equal(b->count, 2);
	assert_int_equal(b->seen[0]->node, 10);
	assert_int_equal(b->seen[0]->offset, 70);
	assert_memory_equal(b->seen[0]->data, "one", 3);
	assert_int_equal(b->seen[1]->node, 12);
	assert_false(journal_left(b->j, 1, 0));
	assert_true(journal_left(b->j, 2, 0));
	/* Each once. */
	journal_replay(b->j, 1, on_left, b);
	assert_int_equal(b->count, 2);
}

/* A daemon that took them up and ended in the middle. */
static void over_two_ends(void **state)
{
	struct bench *b = *state;

	assert_non_null(add(b, 1, 10, "one", 3));
	assert_non_null(add(b, 1, 11, "two", 3));
	again(b);
	journal_replay(b->j, 1, on_left, b);
	journal_done(b->j, b->seen[0]);
	assert_non_null(add(b, 1, 12, "three", 5));
	again(b);
	journal_replay(b->j, 1, on_left, b);
	assert_int_equal(b->count, 2);
	assert_int_equal(b->seen[0]->node, 11);
	assert_int_equal(b->seen[1]->node, 12);
	journal_done(b->j, b->seen[1]);
	journal_done(b->j, b->seen[0]);
	again(b);
	assert_false(journal_left(b->j, 1, 0));
}

/* It is a ring: the room of the oldest comes back, and what is passed over at its end is no operation. */
static void goes_round(void **state)
{
	static char data[1000003];
	struct bench *b = *state;
	struct journal_op *ops[64];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	while ((ops[n] = add(b, 1, 100 + n, data, sizeof(data))))
		n++;
	assert_in_range(n, 12, 17);
	journal_done(b->j, ops[1]);
	assert_null(add(b, 1, 1, data, sizeof(data)));
	journal_done(b->j, ops[0]);
	assert_non_null(add(b, 1, 200, data, sizeof(data) - 1));
	again(b);
	journal_replay(b->j, 1, on_left, b);
	assert_int_equal(b->count, n - 1);
	assert_int_equal(b->seen[0]->node, 102);
	assert_int_equal(b->seen[n - 2]->node, 200);
	for (size_t i = 0; i < b->count; i++)
		assert_memory_equal(b->seen[i]->data, data, b->seen[i]->size);
	for (size_t i = 0; i < b->count; i++)
		journal_done(b->j, b->seen[i]);
	for (size_t i = 0; i < 40; i++) {
		struct journal_op *op = add(b, 1, i, data, sizeof(data) - (uint32_t)(i * 9999));

		assert_non_null(op);
		journal_done(b->j, op);
	}
	again(b);
	assert_false(journal_left(b->j, 1, 0));
}

/* What is none of ours is begun anew, and leads nowhere outside. */
static void damage(void **state)
{
	struct bench *b = *state;
	static const struct {
		off_t at;
		uint64_t value;
	} bad[] = {{0, 0}, {8, 3}, {8, UINT64_MAX - 7}, {16, UINT64_MAX}, {16, 8}};
	int fd;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		assert_non_null(add(b, 1, 10, "one", 3));
		b->j = journal_close(b->j);
		fd = openat(b->fd, "behind", O_RDWR | O_CLOEXEC);
		assert_int_equal(pwrite(fd, &bad[i].value, sizeof(bad[i].value), bad[i].at), 8);
		close_fd(fd);
		assert_int_equal(journal_open(b->fd, &b->j, NULL), 0);
		assert_false(journal_left(b->j, 1, 0));
	}
}

static void a_number_for_each_boot(void **state)
{
	(void)state;
	assert_int_not_equal(journal_boot("3f1c0a52"), journal_boot("3f1c0a53"));
	assert_int_equal(journal_boot(NULL), journal_boot(""));
}

static void fill_up(void *user, int fd)
{
	static char data[30000];
	struct journal_op op = {.vm = 1, .size = sizeof(data)}, *kept, *first = NULL;
	struct journal *j;
	size_t count = 0;

	if (journal_open(fd, &j, NULL) < 0)
		_exit(1);
	while (count < 100 && (kept = journal_add(j, &op, data))) {
		first = first ? first : kept;
		count++;
	}
	if (count < 5 || count > 20)
		_exit(2);
	/* Again when there is room. */
	journal_done(j, first);
	journal_close(j);
	if (journal_open(fd, &j, NULL) < 0 || journal_add(j, &op, data))
		_exit(3);
	if (mount(NULL, user, NULL, MS_REMOUNT, "size=2m") < 0 || !journal_add(j, &op, data))
		_exit(4);
	journal_close(j);
}

/* No room in memory is no room in the journal: what isn't kept is asked of the guest at once. */
static void full(void **state)
{
	struct bench *b = *state;

	in_small(b->dir, "size=400k", fill_up, b->dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_the_order, setup, teardown),
		cmocka_unit_test_setup_teardown(over_two_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_round, setup, teardown),
		cmocka_unit_test_setup_teardown(damage, setup, teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test(a_number_for_each_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
