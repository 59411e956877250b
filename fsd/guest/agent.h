/*
 * The host's end of the agent's protocol (banger/agent_proto.h), on the loop.
 *
 * Requests are asynchronous: each takes a callback that is called exactly once, on the loop, with 0 or -errno (the agent's
 * errno; -ENOTCONN when the channel broke, -EPROTO when the guest broke the protocol, -ECANCELED after agent_forget()).
 * What the guest sends is bounded: payloads by AGENT_PAYLOAD_MAX, job output by credit, requests in flight by the callers.
 * Loop thread only.
 */
#ifndef BANGER_AGENT_H
#define BANGER_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "banger/agent_proto.h"
#include "banger/err.h"

struct agent;

/* The channel broke (guest gone, protocol violated); the agent is dead, agent_free() it. Not called from agent_free(). */
typedef void (*agent_lost_fn)(void *user, const struct err *why);

/* FD: connected, HELLO done (engine_wait_agent()); owned by the agent from here, also on failure. */
int agent_new(sd_event *event, int fd, agent_lost_fn lost, void *user, struct agent **ret, struct err *e);
/*
 * No more is asked (-ENOTCONN): what was is answered still, if the other end goes on, and then the channel ends as if it had broken.
 */
void agent_end(struct agent *a);
/* Every request in flight gets CODE. */
void agent_fail(struct agent *a, int code);
/* Something is asked, and not answered yet. */
bool agent_busy(const struct agent *a);
/* Every request in flight gets -ECANCELED, every job `lost`. May be called from any of the callbacks. */
struct agent *agent_free(struct agent *a);

/* DATA is borrowed for the call. */
typedef void (*agent_reply_fn)(void *user, int code, const void *data, size_t n);

/*
 * Sends a request of TYPE with the payload IOV (N parts, copied) and FLAGS; *RET_ID (may be NULL) names it for agent_forget().
 * TIMEOUT_MSEC 0: none; else the callback gets -ETIMEDOUT then. -ENOBUFS: 64 MiB wait for the guest already; -EMSGSIZE: more than
 * AGENT_PAYLOAD_MAX; -ENOTCONN.
 */
struct agent_part {
	const void *data;
	size_t size;
};
int agent_request(struct agent *a, enum agent_type type, uint16_t flags, const struct agent_part *parts,
	size_t n, unsigned timeout_msec, agent_reply_fn fn, void *user, uint32_t *ret_id, struct err *e);
/* The next request on files has the number TOKEN (AGENT_ONCE); 0: it has none after all. */
void agent_once(struct agent *a, uint64_t token);
/* Nobody waits for it any more: the callback gets -ECANCELED now, a late answer is dropped. */
void agent_forget(struct agent *a, uint32_t id);

/* FN is called with the payload of each AGENT_FS_CHANGED from here on; NULL: nobody any more. */
typedef void (*agent_event_fn)(void *user, const void *data, size_t n);
void agent_on_changed(struct agent *a, agent_event_fn fn, void *user);
/* Likewise of each AGENT_PORTS_CHANGED, without a payload. */
void agent_on_ports(struct agent *a, agent_event_fn fn, void *user);

/* Jobs. */
struct agent_job;
struct agent_job_events {
	/* It runs, or could not be started (code -errno; no further calls then, the job is gone). */
	void (*started)(void *user, int code);
	/* STREAM 1 or 2; n 0: end of file. Returns nothing: give the credit back with agent_job_consumed() when it is used up. */
	void (*output)(void *user, int stream, const void *data, size_t n);
	/* More stdin may be written, perhaps. */
	void (*writable)(void *user);
	/* Of agent_attach(): it is taken up; its output comes from these bytes of its streams on. */
	void (*attached)(void *user, uint64_t from_out, uint64_t from_err);
	/* Last call: it ended. KIND 0 exited with CODE, 1 killed by signal CODE, 2 lost (channel gone). The job is gone after it. */
	void (*ended)(void *user, uint32_t kind, uint32_t code);
};
struct agent_exec {
	const char *const *argv; /* NULL-terminated */
	const char *const *env;  /* NULL-terminated "K=V", or NULL */
	const char *cwd, *user;  /* NULL or "": the default */
	bool tty, want_stdin;
	bool by_mise; /* AGENT_EXEC_MISE */
	uint16_t rows, cols;
	uint32_t
		stop_signal; /* what it is told first when the guest goes down, with time to end; 0: it ends with all others */
};
int agent_exec(struct agent *a, const struct agent_exec *what, const struct agent_job_events *events,
	void *user, struct agent_job **ret, struct err *e);
/*
 * A connection to PORT of the guest's loopback, by the same events: `started` when it is connected; output of stream 1; n 0: the port has closed its half, as
 * agent_job_stdin() of 0 bytes closes ours. Ended: KIND 0: both are closed; 2: it was reset, or is lost. Released with KILL it is reset.
 */
int agent_connect(struct agent *a, uint16_t port, const struct agent_job_events *events, void *user,
	struct agent_job **ret, struct err *e);
/*
 * Takes up job ID of an earlier daemon, of whose streams HAVE bytes are kept here: `attached`, or `ended` as lost. When all that are known were,
 * agent_attached_all(): what others there are goes on without input, and what it writes is thrown away.
 */
int agent_attach(struct agent *a, uint32_t id, const uint64_t have[2], const struct agent_job_events *events,
	void *user, struct agent_job **ret, struct err *e);
void agent_attached_all(struct agent *a);
/* By which the next daemon can take it up. */
uint32_t agent_job_id(const struct agent_job *j);
void agent_job_consumed(struct agent_job *j, int stream, size_t n);
/* How many bytes of stdin may be written now. */
size_t agent_job_room(const struct agent_job *j);
/* At most agent_job_room() bytes; n 0: end of file. -EAGAIN: none taken, `writable` will be called. -ENOTCONN. */
int agent_job_stdin(struct agent_job *j, const void *data, size_t n);
int agent_job_signal(struct agent_job *j, uint32_t sig);
int agent_job_winsize(struct agent_job *j, uint16_t rows, uint16_t cols);
/*
 * Nobody wants to hear of it any more: no further calls, J is gone. KILL: it is killed; else it runs on, and what it still
 * writes is thrown away.
 */
void agent_job_release(struct agent_job *j, bool kill);

#endif
