/*
 * Jobs: programs that the host asked for. Part of the agent's loop.
 */
#ifndef BANGER_GUEST_JOB_H
#define BANGER_GUEST_JOB_H

#include <poll.h>

#include "channel.h"

#define JOBS_MAX     256
#define JOB_POLL_MAX (3 * JOBS_MAX)

/* Starts what an EXEC frame asks for and answers it. */
void job_exec(struct channel *c, uint32_t id, const uint8_t *payload, size_t n);
/* STDIN, CREDIT, SIGNAL, WINSIZE: no answer; nonsense is passed over. */
void job_frame(struct channel *c, const struct agent_header *h, const uint8_t *payload);

/* What the loop shall poll for, written to P (room for JOB_POLL_MAX); returns how many. Output is only wanted while MORE_OUT. */
size_t job_poll(struct pollfd *p, bool more_out);
/* After poll: moves bytes and ends jobs. */
void job_turn(struct channel *c);
/* When the loop must look again although nothing happens: CLOCK_MONOTONIC usec, 0: never. */
uint64_t job_deadline(void);

/* Another host: jobs run on, and wait for it to take them up (ATTACH; id 0: the rest is nobody's). */
void job_new_host(void);
void job_attach(struct channel *c, uint32_t id, const uint8_t *payload, size_t n);
/* REAP: the host has kept how it ended. */
void job_reap_told(uint32_t id);
/* Jobs that have a signal to stop by are told so; whether there are any. */
bool job_stop_first(void);
/* Whether one of them still runs. */
bool job_first_runs(void);
/* All jobs are told to end (power-off). */
void job_kill_all(int sig);
/* How many have not ended. */
unsigned job_running(void);
/* The children that have ended. */
void job_reap(void);

#endif
