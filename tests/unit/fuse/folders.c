/* Folders that are open and that their guest was not told of, over the ends of daemons. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "fuse/folders.h"

struct bench {
	char dir[32];
	int fd;
	struct folders *f;
	size_t told;
	uint64_t refuses;
};

static void again(struct bench *b, bool fresh)
{
	b->f = folders_free(b->f);
	assert_int_equal(folders_new(b->fd, fresh, &b->f, NULL), 0);
	b->told = 0;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-folders-XXXXXX", sizeof("/tmp/banger-folders-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	again(b, true);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	folders_free(b->f);
	unlinkat(b->fd, "folders", 0);
	close_fd(b->fd);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static bool tell(void *user, uint64_t node)
{
	struct bench *b = user;

	if (node == b->refuses)
		return false;
	b->told++;
	return true;
}

static void told_once_and_of_the_last_end(void **state)
{
	struct bench *b = *state;

	assert_true(folders_opened(b->f, 5));
	assert_true(folders_opened(b->f, 5));
	assert_true(folders_opened(b->f, 6));
	assert_true(folders_opened(b->f, 7));
	assert_false(folders_closed(b->f, 6));
	b->refuses = 7;
	folders_tell(b->f, tell, b);
	folders_tell(b->f, tell, b);
	assert_int_equal(b->told, 1);
	/* Opened since: of it too. */
	assert_true(folders_opened(b->f, 8));
	folders_tell(b->f, tell, b);
	assert_int_equal(b->told, 2);
	assert_false(folders_closed(b->f, 5));
	assert_true(folders_closed(b->f, 5));
	assert_true(folders_closed(b->f, 8));
	assert_false(folders_closed(b->f, 7));
	/* That it isn't there. */
	assert_false(folders_closed(b->f, 7));
}

static void over_the_end_of_a_daemon(void **state)
{
	struct bench *b = *state;

	folders_opened(b->f, 5);
	folders_tell(b->f, tell, b);
	folders_opened(b->f, 6);
	again(b, false);
	folders_tell(b->f, tell, b);
	assert_int_equal(b->told, 1);
	assert_true(folders_closed(b->f, 5));
	assert_true(folders_closed(b->f, 6));
	folders_opened(b->f, 5);
	again(b, true);
	folders_tell(b->f, tell, b);
	assert_int_equal(b->told, 0);
}

static void no_room_and_damage(void **state)
{
	struct bench *b = *state;
	uint32_t damaged[2];
	uint64_t node = 1;
	int fd;

	assert_false(folders_opened(NULL, 5));
	assert_false(folders_closed(NULL, 5));
	folders_tell(NULL, tell, b);
	while (folders_opened(b->f, node))
		node++;
	assert_in_range(node, 100, 100000);
	folders_closed(b->f, 1);
	assert_true(folders_opened(b->f, node));
	/* More than there can be. */
	fd = openat(b->fd, "folders", O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, damaged, sizeof(damaged), 0), sizeof(damaged));
	damaged[1] = UINT32_MAX;
	assert_int_equal(pwrite(fd, damaged, sizeof(damaged), 0), sizeof(damaged));
	close_fd(fd);
	again(b, false);
	folders_tell(b->f, tell, b);
	assert_int_equal(b->told, 0);
	assert_true(folders_opened(b->f, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(told_once_and_of_the_last_end, setup, teardown),
		cmocka_unit_test_setup_teardown(over_the_end_of_a_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room_and_damage, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
