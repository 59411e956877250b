/* What is written before the guest has said so, against a guest that answers when the test says. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "fuse/journal.h"

#define NODE 77
#define VM   3
#define BOOT 5

/* What was sent to the guest, and is not answered. */
static struct sent {
	files_count_fn written;
	files_attr_fn set;
	void *user;
	uint64_t offset;
	uint32_t size;
	char first;
} sent[64];
static size_t sent_count;
/* What the kernel was told last. */
static struct {
	int count, code;
	size_t written;
	off_t size;
} told;
static bool live;
static int refuse; /* what sending says */
static int errors; /* that the VM was given */
#define AGENT ((struct agent *)&sent)

struct bench {
	char dir[40];
	int fd;
	struct server s;
};

bool guest_is_live(const struct guest_cache *c)
{
	(void)c;
	return live;
}

uint32_t guest_boot(const struct guest_cache *c)
{
	(void)c;
	return BOOT;
}

struct vm *tree_vm(struct tree *t, uint32_t id)
{
	(void)t;
	return id == VM ? (struct vm *)&sent : NULL;
}

struct agent *vm_files(struct vm *vm)
{
	(void)vm;
	return live ? AGENT : NULL;
}

void vm_set_error(struct vm *vm, int code, uint64_t op, const char *text)
{
	(void)vm;
	(void)op;
	assert_int_equal(code, -ETIMEDOUT);
	assert_non_null(strstr(text, "is not confirmed"));
	errors++;
}

int files_write(struct agent *a, struct file_ref file, uint64_t offset, const void *data, uint32_t size,
	bool append, files_count_fn fn, void *user, uint32_t *ret_id)
{
	(void)file;
	(void)ret_id;
	assert_ptr_equal(a, AGENT);
	assert_false(append);
	if (refuse < 0)
		return refuse;
	sent[sent_count++] = (struct sent){
		.written = fn, .user = user, .offset = offset, .size = size, .first = *(const char *)data};
	return 0;
}

int files_setattr(struct agent *a, struct file_ref file, const struct files_change *change, files_attr_fn fn,
	void *user, uint32_t *ret_id)
{
	(void)a;
	(void)file;
	(void)change;
	(void)ret_id;
	if (refuse == 0)
		sent[sent_count++] = (struct sent){.set = fn, .user = user};
	return refuse;
}

void ask_free(struct ask *a)
{
	free(a);
}

int ask_code(const struct ask *a, int code)
{
	(void)a;
	return -code;
}

void ask_fail(struct ask *a, int code)
{
	told.count++;
	told.code = code;
	free(a);
}

void ask_on_code(void *user, int code)
{
	ask_fail(user, code);
}

void ask_sent(struct ask *a, int r)
{
	(void)a;
	assert_int_equal(r, 0);
}

void ask_stat(const struct ask *a, const struct agent_attr *attr, struct stat *ret)
{
	(void)a;
	*ret = (struct stat){.st_size = (off_t)attr->size, .st_mode = attr->mode};
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	(void)req;
	told.count++;
	told.code = 0;
	told.written = count;
	return 0;
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	(void)req;
	told.count++;
	told.code = 0;
	told.size = attr->st_size;
	assert_true(timeout == 0);
	return 0;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-behind-XXXXXX", sizeof("/tmp/banger-behind-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(behinds_new(b->fd, &b->s.behinds, NULL), 0);
	errors = 0;
	memset(&told, 0, sizeof(told));
	sent_count = 0;
	live = true;
	refuse = 0;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	behinds_free(b->s.behinds);
	/* What was never answered. */
	for (size_t i = 0; i < sent_count; i++)
		free(sent[i].user);
	unlinkat(b->fd, "behind", 0);
	close_fd(b->fd);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static struct ask *ask(struct bench *b)
{
	struct ask *a = calloc(1, sizeof(*a));

	assert_non_null(a);
	a->s = &b->s;
	a->vm = VM;
	a->node = NODE;
	a->fi.flags = O_RDWR;
	return a;
}

static void opened(struct bench *b)
{
	struct agent_attr attr = {.size = 10, .mode = S_IFREG | 0644};
	struct ask *a = ask(b);

	behind_opened(a, NODE, &attr);
	free(a);
}

static bool try_write(struct bench *b, const void *data, size_t size, uint64_t offset)
{
	struct ask *a = ask(b);

	a->size = size;
	a->offset = offset;
	if (behind_write(a, AGENT, data))
		return true;
	free(a);
	return false;
}

/* What is known afterwards of what was sent as number N: CODE, or WRITTEN bytes. */
static void answer(size_t n, int code, uint32_t written)
{
	struct sent one = sent[n];

	sent[n].user = NULL;
	if (one.written)
		one.written(one.user, code, written);
	else
		one.set(one.user, code, NULL);
}

static void next_daemon(struct bench *b)
{
	size_t first = sent_count;

	behinds_end(b->s.behinds);
	for (size_t i = 0; i < first; i++)
		if (sent[i].user)
			answer(i, -ECANCELED, 0);
	b->s.behinds = behinds_free(b->s.behinds);
	assert_int_equal(behinds_new(b->fd, &b->s.behinds, NULL), 0);
	sent_count = 0;
}

static void is_told_before_the_guest_says_so(void **state)
{
	struct bench *b = *state;
	struct agent_attr attr;

	/* Nobody has it open for writing. */
	assert_false(try_write(b, "x", 1, 0));
	opened(b);
	assert_false(behind_attr(&b->s, NODE, &attr));
	assert_true(try_write(b, "abc", 3, 20));
	assert_int_equal(told.count, 1);
	assert_int_equal(told.written, 3);
	assert_true(behind_is_busy(&b->s, NODE));
	assert_true(behind_attr(&b->s, NODE, &attr));
	assert_int_equal(attr.size, 23);
	answer(0, 0, 3);
	assert_false(behind_is_busy(&b->s, NODE));
	assert_false(behind_attr(&b->s, NODE, &attr));
	assert_int_equal(behind_error(&b->s, NODE), 0);
	behind_released(&b->s, NODE);
	assert_false(try_write(b, "x", 1, 0));
}

static void a_close_waits_for_the_rest(void **state)
{
	struct bench *b = *state;
	struct ask *a;

	opened(b);
	assert_true(try_write(b, "abcdef", 6, 0));
	assert_int_equal(behind_sent(&b->s, NODE), 1);
	a = ask(b);
	behind_flush(a);
	/* Not taken whole: what is behind it is asked for, and waited for. */
	answer(0, 0, 2);
	sent[0].user = NULL;
	assert_int_equal(told.count, 1);
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent[1].offset, 2);
	assert_int_equal(sent[1].size, 4);
	assert_int_equal(sent[1].first, 'c');
	assert_true(behind_waits(&b->s, NODE, 1));
	answer(1, 0, 4);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.code, 0);
	assert_false(behind_waits(&b->s, NODE, 1));
	assert_false(behind_is_busy(&b->s, NODE));
}

static void what_goes_wrong_is_told_once(void **state)
{
	struct bench *b = *state;

	opened(b);
	assert_true(try_write(b, "abc", 3, 0));
	assert_true(try_write(b, "abc", 3, 3));
	answer(0, -ENOSPC, 0);
	answer(1, -EIO, 0);
	/* By the next write, */
	assert_true(try_write(b, "x", 1, 6));
	assert_int_equal(told.code, -ENOSPC);
	assert_int_equal(sent_count, 2);
	assert_true(try_write(b, "x", 1, 6));
	assert_int_equal(told.code, 0);
	answer(2, -EDQUOT, 0);
	/* or by the close; */
	assert_int_equal(behind_error(&b->s, NODE), -EDQUOT);
	assert_int_equal(behind_error(&b->s, NODE), 0);
	/* also by one that waits. */
	assert_true(try_write(b, "x", 1, 6));
	behind_flush(ask(b));
	answer(3, -EIO, 0);
	assert_int_equal(told.code, -EIO);
	/* A guest that takes nothing, and says that it went well. */
	assert_true(try_write(b, "x", 1, 6));
	answer(4, 0, 0);
	assert_int_equal(behind_error(&b->s, NODE), -EIO);
}

static void nobody_waits_any_more(void **state)
{
	struct bench *b = *state;
	struct ask *a = ask(b);

	opened(b);
	assert_true(try_write(b, "x", 1, 0));
	behind_flush(a);
	behind_unpark(a);
	assert_int_equal(told.count, 2);
	assert_int_equal(told.code, -ECANCELED);
	behind_released(&b->s, NODE);
	answer(0, 0, 1);
	assert_int_equal(told.count, 2);
	assert_false(behind_is_busy(&b->s, NODE));
}

/* Who closes is told; that the guest is silent is said once. */
static void a_guest_that_says_nothing(void **state)
{
	struct bench *b = *state;

	opened(b);
	assert_true(try_write(b, "abc", 3, 0));
	assert_true(try_write(b, "def", 3, 3));
	behind_flush(ask(b));
	answer(0, -ETIMEDOUT, 0);
	answer(1, -ETIMEDOUT, 0);
	assert_int_equal(told.count, 3);
	assert_int_equal(told.code, -ETIMEDOUT);
	assert_int_equal(errors, 1);
	assert_true(try_write(b, "ghi", 3, 6));
	answer(2, 0, 3);
	assert_true(try_write(b, "jkl", 3, 9));
	answer(3, -ETIMEDOUT, 0);
	assert_int_equal(errors, 2);
}

static void what_is_not_put_off(void **state)
{
	static char data[1 << 20];
	struct bench *b = *state;
	struct files_change change = {.valid = AGENT_SET_MODE, .mode = 0600, .atime = {0}, .mtime = {0}};
	struct ask *a = ask(b);

	opened(b);
	/* The end of the file is the guest's to know. */
	a->size = 1;
	a->fi.flags |= O_APPEND;
	assert_false(behind_write(a, AGENT, "x"));
	assert_true(behind_setattr(a, AGENT, &change));
	assert_int_equal(told.size, 10);
	a = ask(b);
	change.valid |= AGENT_SET_SIZE;
	assert_false(behind_setattr(a, AGENT, &change));
	change.valid = AGENT_SET_MTIME;
	change.mtime.tv_nsec = UTIME_NOW;
	assert_false(behind_setattr(a, AGENT, &change));
	change.mtime.tv_nsec = 0;
	/* A count of links that may be no more. */
	behind_names(&b->s);
	assert_false(behind_setattr(a, AGENT, &change));
	free(a);
	/* So much waits for a writer, and not the other way round. */
	for (int i = 0; i < 4; i++)
		assert_true(try_write(b, data, sizeof(data), (uint64_t)i * sizeof(data)));
	assert_false(try_write(b, data, 1, 0));
	live = false;
	assert_false(try_write(b, data, 1, 0));
}

static void the_next_daemon_asks_again(void **state)
{
	struct bench *b = *state;

	opened(b);
	assert_true(try_write(b, "one", 3, 0));
	assert_true(try_write(b, "two", 3, 3));
	answer(0, 0, 3);
	sent[0].user = NULL;
	assert_false(behind_left(&b->s, VM, 0));
	next_daemon(b);
	assert_true(behind_left(&b->s, VM, 0));
	assert_true(behind_left(&b->s, VM, NODE));
	assert_false(behind_left(&b->s, VM, NODE + 1));
	assert_false(behind_left(&b->s, VM + 1, 0));
	behinds_replay(&b->s, VM, BOOT, AGENT);
	assert_false(behind_left(&b->s, VM, 0));
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].offset, 3);
	assert_int_equal(sent[0].first, 't');
	assert_true(behind_is_busy(&b->s, NODE));
	behind_flush(ask(b));
	answer(0, 0, 3);
	sent[0].user = NULL;
	assert_int_equal(told.code, 0);
	next_daemon(b);
	assert_false(behind_left(&b->s, VM, 0));
}

/* To a guest that was started anew it never happened; a VM that has gone has none. */
static void another_guest_is_not_asked(void **state)
{
	struct bench *b = *state;

	opened(b);
	assert_true(try_write(b, "one", 3, 0));
	next_daemon(b);
	behinds_replay(&b->s, VM, BOOT + 1, AGENT);
	assert_int_equal(sent_count, 0);
	assert_false(behind_left(&b->s, VM, 0));
	opened(b);
	assert_true(try_write(b, "one", 3, 0));
	next_daemon(b);
	behinds_forget(&b->s, VM);
	assert_false(behind_left(&b->s, VM, 0));
}

static void a_channel_that_takes_nothing(void **state)
{
	struct bench *b = *state;

	opened(b);
	refuse = -ENOBUFS;
	assert_false(try_write(b, "x", 1, 0));
	refuse = 0;
	next_daemon(b);
	assert_false(behind_left(&b->s, VM, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_told_before_the_guest_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(a_close_waits_for_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(what_goes_wrong_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_waits_any_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_says_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_put_off, setup, teardown),
		cmocka_unit_test_setup_teardown(the_next_daemon_asks_again, setup, teardown),
		cmocka_unit_test_setup_teardown(another_guest_is_not_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_channel_that_takes_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
