/* Threads that can be told to stop. */
#include "relay.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define WAKE_AGAIN_NSEC 10000000 /* a signal that came just before the call didn't end it */

static void on_wake(int sig)
{
	(void)sig;
}

static void *run(void *arg)
{
	struct relay *r = arg;

	r->body(r, r->arg);
	sem_post(&r->ended);
	return NULL;
}

int relay_start(struct relay *r, void (*body)(struct relay *r, void *arg), void *arg)
{
	/* Without SA_RESTART: it is to end calls. */
	const struct sigaction wake = {.sa_handler = on_wake};
	int code;

	sigaction(SIGRTMIN, &wake, NULL);
	r->body = body;
	r->arg = arg;
	atomic_store(&r->stop, false);
	sem_init(&r->ended, 0, 0);
	code = pthread_create(&r->thread, NULL, run, r);
	r->runs = code == 0;
	return -code;
}

void relay_end(struct relay *r, bool now)
{
	struct timespec until;

	if (!r->runs)
		return;
	if (now) {
		atomic_store(&r->stop, true);
		do {
			pthread_kill(r->thread, SIGRTMIN);
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_nsec += WAKE_AGAIN_NSEC;
			until.tv_sec += until.tv_nsec / 1000000000;
			until.tv_nsec %= 1000000000;
		} while (sem_clockwait(&r->ended, CLOCK_MONOTONIC, &until) < 0);
	}
	pthread_join(r->thread, NULL);
	sem_destroy(&r->ended);
	r->runs = false;
}

bool relay_stopped(struct relay *r)
{
	return atomic_load(&r->stop);
}

static int put(struct relay *r, int to, const char *data, size_t n)
{
	while (n > 0 && !relay_stopped(r)) {
		ssize_t k = write(to, data, n);

		if (k < 0 && errno != EINTR)
			return -errno;
		data += k > 0 ? k : 0;
		n -= k > 0 ? (size_t)k : 0;
	}
	return 0;
}

int relay_copy(struct relay *r, int from, int to, void *buf, size_t size)
{
	int code = 0;

	while (code == 0 && !relay_stopped(r)) {
		ssize_t n = read(from, buf, size);

		if (n == 0 || (n < 0 && errno != EINTR))
			return 0;
		if (n > 0)
			code = put(r, to, buf, (size_t)n);
	}
	return code;
}
