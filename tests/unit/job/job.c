/* Jobs: run beside each other, reported on the loop; the serial ones in order; draining at the end. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "banger/io.h"
#include "job/job.h"

struct bench {
	sd_event *event;
	struct jobs *jobs;
	pthread_t loop;
	pthread_barrier_t barrier;
	unsigned done, posted, chained, wrong;
	int last_code;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(jobs_new(b->event, &b->jobs, NULL), 0);
	b->loop = pthread_self();
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	jobs_free(b->jobs);
	sd_event_unref(b->event);
	free(b);
	return 0;
}

static void run_until(struct bench *b, const unsigned *count, unsigned want)
{
	uint64_t end = io_now_usec() + 20 * 1000000;

	while (*count < want && io_now_usec() < end)
		assert_true(sd_event_run(b->event, 1000000) >= 0);
	assert_int_equal(*count, want);
}

static void finished(void *data, int code, struct err *e)
{
	struct bench *b = data;

	b->wrong += !pthread_equal(pthread_self(), b->loop);
	b->last_code = code;
	b->wrong += code < 0 && e->code != code;
	b->done++;
}

static int meet(void *data, struct err *e)
{
	struct bench *b = data;

	(void)e;
	pthread_barrier_wait(&b->barrier);
	return 0;
}

/* All at once, or the barrier would never open. */
static void beside_each_other(void **state)
{
	struct bench *b = *state;

	for (unsigned round = 1; round <= 3; round++) {
		pthread_barrier_init(&b->barrier, NULL, JOB_THREADS_MAX);
		for (unsigned i = 0; i < JOB_THREADS_MAX; i++)
			assert_int_equal(job_submit(b->jobs, meet, finished, b, NULL), 0);
		run_until(b, &b->done, round * JOB_THREADS_MAX);
		pthread_barrier_destroy(&b->barrier);
	}
	assert_int_equal(b->wrong, 0);
}

static int refuse(void *data, struct err *e)
{
	(void)data;
	return err_set(e, -ENOSPC, "no");
}

static void failure_is_reported(void **state)
{
	struct bench *b = *state;

	assert_int_equal(job_submit(b->jobs, refuse, finished, b, NULL), 0);
	run_until(b, &b->done, 1);
	assert_int_equal(b->last_code, -ENOSPC);
	assert_int_equal(b->wrong, 0);
}

struct numbered {
	struct bench *b;
	unsigned number;
};
static atomic_uint at_work;

static int alone(void *data, struct err *e)
{
	struct numbered *n = data;

	(void)e;
	if (atomic_fetch_add(&at_work, 1) != 0)
		return -EIO;
	if (n->number % 50 == 0)
		usleep(2000);
	atomic_fetch_sub(&at_work, 1);
	return 0;
}

static void in_order(void *data, int code, struct err *e)
{
	struct numbered *n = data;

	n->b->wrong += code != 0 || n->b->done != n->number;
	n->b->done++;
	(void)e;
	free(n);
}

static void submit_serial(struct bench *b, unsigned number)
{
	struct numbered *n = malloc(sizeof(*n));

	assert_non_null(n);
	*n = (struct numbered){b, number};
	assert_int_equal(job_submit_serial(b->jobs, alone, in_order, n, NULL), 0);
}

static void serial_keeps_order(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 200; i++)
		submit_serial(b, i);
	run_until(b, &b->done, 200);
	assert_int_equal(b->wrong, 0);
}

static void posted(void *data)
{
	struct bench *b = data;

	b->wrong += !pthread_equal(pthread_self(), b->loop);
	b->posted++;
}

static int post_some(void *data, struct err *e)
{
	struct bench *b = data;

	(void)e;
	for (unsigned i = 0; i < 100; i++)
		if (job_post(b->jobs, posted, b) < 0)
			return -ENOMEM;
	return 0;
}

static void posts_arrive(void **state)
{
	struct bench *b = *state;

	assert_int_equal(job_submit(b->jobs, post_some, finished, b, NULL), 0);
	run_until(b, &b->posted, 100);
	run_until(b, &b->done, 1);
	assert_int_equal(b->wrong, 0);
}

static void again(void *data, int code, struct err *e)
{
	struct bench *b = data;

	finished(data, code, e);
	if (++b->chained < 3)
		assert_int_equal(job_submit(b->jobs, refuse, again, b, NULL), 0);
}

/* Nothing of what was submitted is lost, also when a done submits more. */
static void free_drains(void **state)
{
	struct bench *b = *state;

	assert_int_equal(job_submit(b->jobs, refuse, again, b, NULL), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(job_submit_serial(b->jobs, refuse, finished, b, NULL), 0);
	b->jobs = jobs_free(b->jobs);
	assert_int_equal(b->chained, 3);
	assert_int_equal(b->done, 3 + 5);
	assert_int_equal(b->wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(beside_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(failure_is_reported, setup, teardown),
		cmocka_unit_test_setup_teardown(serial_keeps_order, setup, teardown),
		cmocka_unit_test_setup_teardown(posts_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(free_drains, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
