#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "banger/cleanup.h"
#include "banger/wait.h"
#include "job/job.h"

#define JOB_STACK    (1u << 20)
#define JOB_IDLE_SEC 10

struct job {
	STAILQ_ENTRY(job) link;
	job_work_fn work;
	job_done_fn done;
	void (*post)(void *data); /* instead of work and done: job_post() */
	void *data;
	int code;
	struct err err;
};

STAILQ_HEAD(job_list, job);

/* Threads that take from one queue. */
struct pool {
	struct jobs *jobs;
	struct job_list queue;
	pthread_cond_t wake;
	unsigned threads, idle, threads_max;
};

struct jobs {
	pthread_mutex_t lock; /* over both pools and the list of what is done */
	pthread_cond_t gone;  /* a thread or a job has ended */
	struct pool shared, serial;
	struct job_list finished;
	size_t unfinished; /* submitted, their work not yet done */
	bool closing;
	int wake_fd;
	sd_event_source *source;
};

static void finish(struct jobs *jobs, struct job *job)
{
	STAILQ_INSERT_TAIL(&jobs->finished, job, link);
	(void)!eventfd_write(jobs->wake_fd, 1);
}

static void *worker(void *arg)
{
	struct pool *pool = arg;
	struct jobs *jobs = pool->jobs;

	pthread_mutex_lock(&jobs->lock);
	for (;;) {
		struct job *job = STAILQ_FIRST(&pool->queue);

		if (!job) {
			struct timespec until;
			int r;

			if (jobs->closing)
				break;
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_sec += JOB_IDLE_SEC;
			pool->idle++;
			r = pthread_cond_timedwait(&pool->wake, &jobs->lock, &until);
			pool->idle--;
			if (r == ETIMEDOUT && STAILQ_EMPTY(&pool->queue))
				break;
			continue;
		}
		STAILQ_REMOVE_HEAD(&pool->queue, link);
		pthread_mutex_unlock(&jobs->lock);
		job->code = job->work(job->data, &job->err);
		pthread_mutex_lock(&jobs->lock);
		jobs->unfinished--;
		finish(jobs, job);
		pthread_cond_signal(&jobs->gone);
	}
	pool->threads--;
	pthread_cond_signal(&jobs->gone);
	pthread_mutex_unlock(&jobs->lock);
	return NULL;
}

/* With the lock held. 0 or -errno. */
static int thread_start(struct pool *pool)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int r;

	r = pthread_attr_init(&attr);
	if (r != 0)
		return -r;
	pthread_attr_setstacksize(&attr, JOB_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, &attr, worker, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (r == 0)
		pool->threads++;
	return -r;
}

static void run_finished(struct jobs *jobs)
{
	struct job_list list = STAILQ_HEAD_INITIALIZER(list);
	struct job *job;

	pthread_mutex_lock(&jobs->lock);
	STAILQ_CONCAT(&list, &jobs->finished);
	pthread_mutex_unlock(&jobs->lock);
	while ((job = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, link);
		if (job->post)
			job->post(job->data);
		else if (job->done)
			job->done(job->data, job->code, &job->err);
		err_clear(&job->err);
		free(job);
	}
}

static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	eventfd_t count;

	(void)s;
	(void)revents;
	(void)!eventfd_read(fd, &count);
	run_finished(user);
	return 0;
}

static void pool_init(struct pool *pool, struct jobs *jobs, unsigned threads_max)
{
	pool->jobs = jobs;
	pool->threads_max = threads_max;
	STAILQ_INIT(&pool->queue);
	wait_init(&pool->wake);
}

int jobs_new(sd_event *event, struct jobs **ret, struct err *e)
{
	struct jobs *jobs = calloc(1, sizeof(*jobs));
	int r;

	if (!jobs)
		return err_sys(e, -ENOMEM, "jobs");
	jobs->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (jobs->wake_fd < 0) {
		r = -errno;
		free(jobs);
		return err_sys(e, r, "jobs");
	}
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->gone, NULL);
	pool_init(&jobs->shared, jobs, JOB_THREADS_MAX);
	pool_init(&jobs->serial, jobs, 1);
	STAILQ_INIT(&jobs->finished);
	r = sd_event_add_io(event, &jobs->source, jobs->wake_fd, POLLIN, on_wake, jobs);
	if (r < 0) {
		jobs_free(jobs);
		return err_sys(e, r, "jobs");
	}
	*ret = jobs;
	return 0;
}

struct jobs *jobs_free(struct jobs *jobs)
{
	if (!jobs)
		return NULL;
	pthread_mutex_lock(&jobs->lock);
	/* What a done function submits is run too: it may be the write that keeps what was just found out. */
	while (jobs->unfinished > 0 || !STAILQ_EMPTY(&jobs->finished)) {
		if (STAILQ_EMPTY(&jobs->finished)) {
			pthread_cond_wait(&jobs->gone, &jobs->lock);
			continue;
		}
		pthread_mutex_unlock(&jobs->lock);
		run_finished(jobs);
		pthread_mutex_lock(&jobs->lock);
	}
	jobs->closing = true;
	pthread_cond_broadcast(&jobs->shared.wake);
	pthread_cond_broadcast(&jobs->serial.wake);
	while (jobs->shared.threads + jobs->serial.threads > 0)
		pthread_cond_wait(&jobs->gone, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
	sd_event_source_disable_unref(jobs->source);
	close_fd(jobs->wake_fd);
	pthread_cond_destroy(&jobs->shared.wake);
	pthread_cond_destroy(&jobs->serial.wake);
	pthread_cond_destroy(&jobs->gone);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
	return NULL;
}

static int submit(struct pool *pool, job_work_fn work, job_done_fn done, void *data, struct err *e)
{
	struct jobs *jobs = pool->jobs;
	struct job *job = calloc(1, sizeof(*job));
	unsigned waiting = 1;
	struct job *other;
	int r = 0;

	if (!job)
		return err_sys(e, -ENOMEM, "job");
	job->work = work;
	job->done = done;
	job->data = data;
	pthread_mutex_lock(&jobs->lock);
	STAILQ_FOREACH (other, &pool->queue, link)
		waiting++;
	if (jobs->closing)
		r = -ESHUTDOWN;
	else if (waiting > pool->idle && pool->threads < pool->threads_max)
		r = thread_start(pool);
	/* Without a new thread the old ones do: only a pool of none cannot go on. */
	if (r < 0 && (jobs->closing || pool->threads == 0)) {
		pthread_mutex_unlock(&jobs->lock);
		free(job);
		return err_sys(e, r, "job");
	}
	STAILQ_INSERT_TAIL(&pool->queue, job, link);
	jobs->unfinished++;
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&jobs->lock);
	return 0;
}

int job_submit(struct jobs *jobs, job_work_fn work, job_done_fn done, void *data, struct err *e)
{
	return submit(&jobs->shared, work, done, data, e);
}

int job_submit_serial(struct jobs *jobs, job_work_fn work, job_done_fn done, void *data, struct err *e)
{
	return submit(&jobs->serial, work, done, data, e);
}

int job_post(struct jobs *jobs, void (*fn)(void *data), void *data)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->post = fn;
	job->data = data;
	pthread_mutex_lock(&jobs->lock);
	finish(jobs, job);
	pthread_mutex_unlock(&jobs->lock);
	return 0;
}
