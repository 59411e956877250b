/*
 * Waiting for a condition with a limit, by a clock that nobody sets. Any thread.
 */
#ifndef BANGER_WAIT_H
#define BANGER_WAIT_H

#include <pthread.h>

/* Makes COND one of CLOCK_MONOTONIC; ended by pthread_cond_destroy(). */
void wait_init(pthread_cond_t *cond);
/* Until COND (of wait_init()) is told, or MSEC later, or sooner for no reason: who calls it looks again. LOCK is held. */
void wait_msec(pthread_cond_t *cond, pthread_mutex_t *lock, unsigned msec);

#endif
