/* What was asked and not answered outlives the daemon, and nothing else does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "fuse/asked.h"
#include "tests/unit/fuse/small.h"

#define LARGE (1u << 20)

struct bench {
	char dir[32];
	int fd;
	struct asked *asked;
	size_t n;
	uint64_t numbers[32];
	uint32_t opcodes[32];
	size_t sizes[32];
};

static void open_it(struct bench *b, bool fresh)
{
	b->asked = asked_close(b->asked);
	assert_int_equal(asked_open(b->fd, fresh, &b->asked, NULL), 0);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-asked-XXXXXX", sizeof("/tmp/banger-asked-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	open_it(b, true);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	asked_close(b->asked);
	unlinkat(b->fd, "asked", 0);
	close_fd(b->fd);
	rmdir(b->dir);
	free(b);
	return 0;
}

/* A request of SIZE bytes in all, each of the rest the number's lowest. */
static void ask(struct bench *b, uint32_t opcode, uint64_t unique, size_t size)
{
	_cleanup_free_ char *data = malloc(size);
	struct fuse_in_header in = {.len = (uint32_t)size, .opcode = opcode, .unique = unique};

	assert_non_null(data);
	memset(data, (int)unique, size);
	memcpy(data, &in, sizeof(in));
	asked_keep(b->asked, data, size);
}

static void interrupt(struct bench *b, uint64_t unique)
{
	struct {
		struct fuse_in_header in;
		struct fuse_interrupt_in what;
	} q = {.in = {.len = sizeof(q), .opcode = FUSE_INTERRUPT, .unique = unique | 1},
		.what.unique = unique};

	asked_keep(b->asked, &q, sizeof(q));
}

static void take(void *user, void *data, size_t n)
{
	struct bench *b = user;
	struct fuse_in_header in;

	assert_true(b->n < ELEMENTSOF(b->numbers) && n >= sizeof(in));
	memcpy(&in, data, sizeof(in));
	b->numbers[b->n] = in.unique;
	b->opcodes[b->n] = in.opcode;
	b->sizes[b->n++] = n;
	for (size_t i = sizeof(in); in.opcode != FUSE_INTERRUPT && i < n; i++)
		assert_int_equal(((uint8_t *)data)[i], (uint8_t)in.unique);
}

/* What another daemon finds. */
static void again(struct bench *b)
{
	open_it(b, false);
	b->n = 0;
	asked_replay(b->asked, take, b);
}

static void what_is_not_answered_is_asked_again(void **state)
{
	struct bench *b = *state;

	ask(b, FUSE_READ, 30, 80);
	ask(b, FUSE_WRITE, 10, LARGE);
	ask(b, FUSE_LOOKUP, 20, sizeof(struct fuse_in_header) + 4);
	ask(b, FUSE_READ, 40, 80);
	asked_done(b->asked, 40);
	asked_done(b->asked, 12);
	asked_done(NULL, 10);
	for (int daemon = 0; daemon < 3; daemon++) {
		again(b);
		assert_int_equal(b->n, 3);
		for (uint64_t i = 0; i < 3; i++)
			assert_int_equal(b->numbers[i], (i + 1) * 10);
		assert_int_equal(b->sizes[0], LARGE);
		assert_int_equal(b->sizes[1], sizeof(struct fuse_in_header) + 4);
	}
	asked_done(b->asked, 10);
	asked_done(b->asked, 30);
	again(b);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->opcodes[0], FUSE_LOOKUP);
	open_it(b, true);
	again(b);
	assert_int_equal(b->n, 0);
}

static void an_interrupt_goes_with_what_it_interrupts(void **state)
{
	struct bench *b = *state;

	ask(b, FUSE_READ, 2, 80);
	ask(b, FUSE_READ, 4, 80);
	interrupt(b, 2);
	interrupt(b, 6);
	again(b);
	assert_int_equal(b->n, 3);
	assert_int_equal(b->numbers[0], 2);
	assert_int_equal(b->opcodes[1], FUSE_INTERRUPT);
	assert_int_equal(b->numbers[1], 3);
	assert_int_equal(b->numbers[2], 4);
	/* Its place is another's, who was not interrupted. */
	asked_done(b->asked, 2);
	ask(b, FUSE_READ, 8, 80);
	again(b);
	assert_int_equal(b->n, 2);
}

static void what_wants_no_answer_is_not_kept(void **state)
{
	static const uint32_t opcodes[] = {FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INIT, FUSE_DESTROY};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(opcodes); i++)
		ask(b, opcodes[i], 2 * (i + 1), 80);
	ask(b, FUSE_WRITE, 20, 2 * LARGE);
	asked_keep(b->asked, "short", 5);
	again(b);
	assert_int_equal(b->n, 0);
}

static void more_than_there_is_room_for(void **state)
{
	struct bench *b = *state;

	for (uint64_t i = 1; i <= 100000; i++)
		ask(b, FUSE_READ, 2 * i, 80);
	for (uint64_t i = 1; i <= 100000; i++)
		asked_done(b->asked, 2 * i);
	again(b);
	assert_int_equal(b->n, 0);
	for (uint64_t i = 1; i <= 100; i++)
		ask(b, FUSE_WRITE, 2 * i, LARGE);
	again(b);
	assert_int_equal(b->n, 16);
}

static void a_damaged_file_is_nothing(void **state)
{
	struct bench *b = *state;
	_cleanup_close_ int fd = openat(b->fd, "asked", O_RDWR | O_CLOEXEC);
	uint32_t size = UINT32_MAX;

	ask(b, FUSE_READ, 2, 80);
	b->asked = asked_close(b->asked);
	/* Of the first place, behind four words. */
	assert_int_equal(pwrite(fd, &size, sizeof(size), 16), sizeof(size));
	again(b);
	assert_int_equal(b->n, 0);
	ask(b, FUSE_READ, 2, 80);
	b->asked = asked_close(b->asked);
	assert_int_equal(pwrite(fd, &size, sizeof(size), 0), sizeof(size));
	again(b);
	assert_int_equal(b->n, 0);
}

static void count_one(void *user, void *data, size_t n)
{
	(void)data;
	(void)n;
	++*(int *)user;
}

static void fill_up(void *user, int fd)
{
	static char data[LARGE];
	struct fuse_in_header in = {.len = sizeof(data), .opcode = FUSE_WRITE};
	struct asked *a;
	int kept = 0;

	(void)user;
	if (asked_open(fd, true, &a, NULL) < 0)
		_exit(1);
	for (in.unique = 2; in.unique <= 16; in.unique += 2) {
		memcpy(data, &in, sizeof(in));
		asked_keep(a, data, sizeof(data));
	}
	asked_replay(a, count_one, &kept);
	asked_close(a);
	_exit(kept == 2 ? 0 : 2);
}

/* No room in memory is no room for requests. */
static void full(void **state)
{
	struct bench *b = *state;

	in_small(b->dir, "size=3m", fill_up, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_answered_is_asked_again),
		TEST(an_interrupt_goes_with_what_it_interrupts),
		TEST(what_wants_no_answer_is_not_kept),
		TEST(more_than_there_is_room_for),
		TEST(a_damaged_file_is_nothing),
		TEST(full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
