/*
 * Jobs: work that may block, on worker threads, reported back to the loop.
 *
 * The pool makes threads as needed, up to JOB_THREADS_MAX, and lets them go after 10 s without work, so that an idle daemon
 * has the loop thread alone. Loop thread, but for what runs in a worker.
 */
#ifndef BANGER_JOB_H
#define BANGER_JOB_H

#include <systemd/sd-event.h>

#include "banger/err.h"
#include "job/op.h"

#define JOB_THREADS_MAX 64

struct jobs;

/* On a worker: does the work. Returns 0 or -errno with E set. DATA is its own while it runs. */
typedef int (*job_work_fn)(void *data, struct err *e);
/* On the loop: what came of it. E is valid during the call. Owns DATA from here. */
typedef void (*job_done_fn)(void *data, int code, struct err *e);

int jobs_new(sd_event *event, struct jobs **ret, struct err *e);
/* Waits for the work that runs (cancel it first), calls its done functions, and frees. */
struct jobs *jobs_free(struct jobs *jobs);

/* Runs WORK(DATA) on some worker, then DONE(DATA) on the loop. -ENOMEM, -EAGAIN: nothing was begun, DATA stays the caller's. */
int job_submit(struct jobs *jobs, job_work_fn work, job_done_fn done, void *data, struct err *e);
/*
 * The same on the one serial worker, in the order of submission: everything that writes to the store goes here, so that
 * transactions keep the order in which the loop decided them.
 */
int job_submit_serial(struct jobs *jobs, job_work_fn work, job_done_fn done, void *data, struct err *e);

/* From any thread: calls FN(DATA) on the loop soon. */
int job_post(struct jobs *jobs, void (*fn)(void *data), void *data);

#endif
