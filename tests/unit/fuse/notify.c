/* An answer that tells of a change waits until the kernel has heard of it, and for nothing that is told later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>

#include "banger/cleanup.h"
#include "fuse/state.h"
#include "tree/node.h"

static sem_t go, done, posts; /* the kernel takes one; has taken it; the loop was asked for */
static pthread_t loop;
static uint64_t at_once; /* what it was told of by the loop itself */
static void (*posted)(void *data);
static int replies;

int fuse_lowlevel_notify_inval_inode(struct fuse_session *se, fuse_ino_t ino, off_t off, off_t len)
{
	(void)se;
	(void)len;
	if (pthread_equal(pthread_self(), loop)) {
		/* The kernel may wait for pages. */
		assert_int_equal(off, -1);
		at_once = ino;
		return 0;
	}
	sem_wait(&go);
	sem_post(&done);
	return 0;
}

int job_post(struct jobs *j, void (*fn)(void *data), void *data)
{
	(void)j;
	(void)data;
	posted = fn;
	sem_post(&posts);
	return 0;
}

int job_submit(struct jobs *jobs, job_work_fn work, job_done_fn work_done, void *data, struct err *e)
{
	(void)jobs;
	(void)work;
	(void)work_done;
	(void)data;
	(void)e;
	return -ENOMEM;
}

int tree_target(struct tree *t, uint64_t node, struct target *ret)
{
	(void)t;
	(void)node;
	(void)ret;
	return -ESTALE;
}

int entry_fill(struct server *s, const struct target *at, struct fuse_entry_param *ret)
{
	(void)s;
	(void)at;
	(void)ret;
	return -ESTALE;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	static const struct fuse_ctx ctx;

	(void)req;
	return &ctx;
}

void entry_reply(struct server *s, fuse_req_t req, const struct fuse_entry_param *entry)
{
	(void)s;
	(void)req;
	(void)entry;
}

int fuse_reply_err(fuse_req_t req, int err)
{
	(void)req;
	assert_int_equal(err, 0);
	replies++;
	return 0;
}

/* libfuse's own: those of requests that are not there. */
int fuse_req_interrupted(fuse_req_t req)
{
	(void)req;
	return 0;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t fn, void *data)
{
	(void)req;
	(void)fn;
	(void)data;
}

static int setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	sem_init(&posts, 0, 0);
	replies = 0;
	loop = pthread_self();
	at_once = 0;
	TAILQ_INIT(&s->held);
	LIST_INIT(&s->live);
	STAILQ_INIT(&s->notices);
	STAILQ_INIT(&s->polls);
	atomic_init(&s->awaited, UINT64_MAX);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	assert_int_equal(notify_start(s, NULL), 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct server *s = *state;

	for (int i = 0; i < 1000; i++)
		sem_post(&go);
	notify_stop(s);
	requests_free(s);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return 0;
}

/* The kernel takes COUNT of what it is told. */
static void take(int count)
{
	for (int i = 0; i < count; i++) {
		sem_post(&go);
		while (sem_wait(&done) < 0)
			;
	}
}

static void answer(struct server *s)
{
	struct request *r = request_begin(s, NULL, REPLY_CODE);

	assert_non_null(r);
	call_done(&r->call, 0);
	request_end(s, r);
}

static bool was_posted(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	return sem_timedwait(&posts, &until) == 0;
}

static void waits_for_what_was_told_before(void **state)
{
	struct server *s = *state;

	answer(s);
	assert_int_equal(replies, 1);
	notify_stale(s, 7);
	notify_stale(s, 8);
	answer(s);
	assert_int_equal(replies, 1);
	take(1);
	assert_int_equal(replies, 1);
	take(1);
	assert_true(was_posted());
	posted(s);
	assert_int_equal(replies, 2);
	/* All is heard: at once. */
	answer(s);
	assert_int_equal(replies, 3);
}

static void not_for_what_is_told_later(void **state)
{
	struct server *s = *state;

	notify_stale(s, 1);
	answer(s);
	for (uint64_t node = 2; node < 100; node++)
		notify_stale(s, node);
	answer(s);
	take(2);
	assert_true(was_posted());
	posted(s);
	assert_int_equal(replies, 1);
	take(97);
	assert_true(was_posted());
	posted(s);
	assert_int_equal(replies, 2);
}

/* What is heard between the answer and its being held. */
static void is_not_forgotten(void **state)
{
	struct server *s = *state;

	for (int i = 0; i < 500; i++) {
		notify_stale(s, 1);
		sem_post(&go);
		answer(s);
		while (sem_wait(&done) < 0)
			;
		if (replies == i) {
			assert_true(was_posted());
			posted(s);
		}
		assert_int_equal(replies, i + 1);
		/* Posted for nothing, perhaps. */
		while (sem_trywait(&posts) == 0)
			posted(s);
	}
}

/* Of NODE the kernel is told WHAT, at once; 0: nothing. */
static void told_at_once(struct server *s, uint64_t node, uint64_t what)
{
	int before = replies;

	at_once = 0;
	notify_stale(s, node);
	assert_int_equal(at_once, what);
	answer(s);
	assert_int_equal(replies, before + 1);
}

static void told_by_the_notifier(struct server *s, uint64_t node)
{
	int before = replies;

	at_once = 0;
	notify_stale(s, node);
	assert_int_equal(at_once, 0);
	answer(s);
	assert_int_equal(replies, before);
	take(1);
	assert_true(was_posted());
	posted(s);
	assert_int_equal(replies, before + 1);
}

/* Where the kernel has no pages nobody waits for anything, and what it doesn't have it isn't told of. */
static void by_what_the_kernel_has(void **state)
{
	struct server *s = *state;

	s->inodes = inodes_new(true);
	assert_non_null(s->inodes);
	told_at_once(s, NODE_ROOT, NODE_ROOT);
	told_at_once(s, 7 << 12, 0);
	inodes_given(s->inodes, 7 << 12);
	told_at_once(s, 7 << 12, 7 << 12);
	told_at_once(s, 8 << 12, 0);
	inodes_paged(s->inodes, 7 << 12);
	told_by_the_notifier(s, 7 << 12);
	/* Given twice. */
	inodes_given(s->inodes, 7 << 12);
	inodes_forgotten(s->inodes, 7 << 12, 1);
	told_by_the_notifier(s, 7 << 12);
	inodes_forgotten(s->inodes, 7 << 12, 1);
	told_at_once(s, 7 << 12, 0);
	/* One that comes again has no pages of before. */
	inodes_given(s->inodes, 7 << 12);
	told_at_once(s, 7 << 12, 7 << 12);
	/* What was given to an earlier daemon nobody knows here. */
	s->inodes = inodes_free(s->inodes);
	s->inodes = inodes_new(false);
	assert_non_null(s->inodes);
	inodes_given(s->inodes, 7 << 12);
	told_by_the_notifier(s, 7 << 12);
	told_by_the_notifier(s, 8 << 12);
	s->inodes = inodes_free(s->inodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(waits_for_what_was_told_before, setup, teardown),
		cmocka_unit_test_setup_teardown(not_for_what_is_told_later, setup, teardown),
		cmocka_unit_test_setup_teardown(is_not_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(by_what_the_kernel_has, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
