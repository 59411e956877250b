/*
 * Threads that wait where only an answer or a signal ends the wait (a read of a job's stream, a write to a pipe that nobody reads), and can be told to stop
 * all the same. Not pthread_cancel(3): what a thread owns would be lost with it.
 *
 * One thread owns a relay, starts and ends it; relay_stopped() and relay_copy() are for its body. SIGRTMIN is what wakes them: nobody else uses it.
 */
#ifndef BANGER_CTL_RELAY_H
#define BANGER_CTL_RELAY_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct relay {
	void (*body)(struct relay *r, void *arg);
	void *arg;
	pthread_t thread;
	sem_t ended;
	atomic_bool stop;
	bool runs;
};

/* BODY runs with ARG in a thread of its own, with the caller's signal mask. 0; -EAGAIN: no more threads. */
int relay_start(struct relay *r, void (*body)(struct relay *r, void *arg), void *arg);

/* Waits for its end. NOW: it is told to stop first, and whatever call it is in comes back with EINTR. Nothing where it wasn't started. */
void relay_end(struct relay *r, bool now);

/* It was told to stop: a call that came back with EINTR is not begun again. */
bool relay_stopped(struct relay *r);

/* FROM to TO by BUF of SIZE bytes until FROM ends or fails, or it is told to stop: 0. -errno: TO takes no more. */
int relay_copy(struct relay *r, int from, int to, void *buf, size_t size);

#endif
