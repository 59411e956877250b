/*
 * What agent.c and jobs.c share: the channel's insides. No other file includes this.
 */
#ifndef BANGER_GUEST_CHANNEL_H
#define BANGER_GUEST_CHANNEL_H

#include <sys/queue.h>

#include "guest/agent.h"

struct agent_request_row {
	uint32_t id;
	uint64_t deadline; /* CLOCK_MONOTONIC usec; 0: none */
	agent_reply_fn fn;
	void *user;
	LIST_ENTRY(agent_request_row) link;
};

struct agent_job {
	struct agent *agent;
	uint32_t id;
	const struct agent_job_events *events;
	void *user;
	bool started;
	bool attaching;    /* it is being taken up: not answered yet */
	bool stalled;      /* stdin or credit could not be sent: the queue was full */
	bool resume;       /* was stalled, to be told */
	size_t room;       /* credit for stdin */
	size_t owed[2];    /* stdout, stderr: consumed, not yet given back to the guest */
	size_t allowed[2]; /* what the guest may still send */
	bool ended[2];
	uint64_t have[2]; /* of one that is being taken up */
	LIST_ENTRY(agent_job) link;
};

struct agent_out {
	STAILQ_ENTRY(agent_out) link;
	size_t size;
	uint8_t data[];
};

#define AGENT_BUCKETS 64

struct agent {
	int fd;
	sd_event *event;
	sd_event_source *io, *timer, *dead, *more;
	agent_lost_fn lost;
	void *user;
	uint64_t once;          /* of the next request; 0: none */
	agent_event_fn changed; /* NULL: nobody wants to know */
	void *changed_user;
	agent_event_fn ports_changed; /* likewise */
	void *ports_user;
	uint32_t next_id;
	bool broken;
	bool ending;    /* nothing more is asked */
	bool stalled;   /* a job is */
	bool corked;    /* frames are being handled: what is said waits for their end */
	bool freed;     /* by its owner, while a callback of its own was running */
	unsigned depth; /* callbacks that are running */
	struct err why;
	LIST_HEAD(, agent_request_row) requests[AGENT_BUCKETS]; /* by id */
	LIST_HEAD(, agent_job) jobs;
	uint64_t timer_at; /* 0: not armed */
	uint8_t *in;       /* frame being received: header and payload */
	size_t in_have;
	STAILQ_HEAD(, agent_out) out; /* frames not yet sent, */
	size_t out_at, out_bytes;     /* of the first of them sent; unsent in all */
};

/* Queues a frame. -ENOTCONN when broken, -ENOBUFS when the guest takes nothing and too much waits. */
int agent_send(struct agent *a, enum agent_type type, uint16_t code, uint32_t id,
	const struct agent_part *parts, size_t n);

/* As agent_request(), with the ID of a job that is known already. -EBUSY: something is under way with it. */
int agent_request_as(struct agent *a, enum agent_type type, uint32_t id, const struct agent_part *parts,
	size_t n, unsigned timeout_msec, agent_reply_fn fn, void *user, struct err *e);

/* Nobody waits for request ID any more, and nobody is told. */
void agent_request_drop(struct agent *a, uint32_t id);

/* A frame of a job's came: 0, or -EPROTO. */
int agent_job_frame(struct agent *a, const struct agent_header *h, const uint8_t *payload);

/* All jobs end as lost. */
void agent_jobs_lost(struct agent *a);

/* A job could not say what it has to: it is told by agent_jobs_drained() when the queue has room again. */
void agent_stall(struct agent *a);

void agent_jobs_drained(struct agent *a);

/* A job has this number. */
bool agent_job_has(struct agent *a, uint32_t id);

#endif
