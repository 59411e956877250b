/*
 * What runs a VM: a table of functions per engine, over a VMM that the helper launched. Everything blocks: workers only.
 * Engines keep no state of their own: all they need of a running VM is its directory of sockets, so that a new
 * daemon goes on where the old one was.
 */
#ifndef BANGER_ENGINE_H
#define BANGER_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/agent_proto.h"
#include "banger/err.h"
#include "banger/helper_client.h"
#include "engine/counters.h"
#include "job/op.h"

/* In PLACE_FSD_DIR a folder a VM, called by its number; and names in that. */
#define ENGINE_RUNS         "vm"
#define ENGINE_QMP_SOCKET   "qmp.sock"
#define ENGINE_AGENT_SOCKET "agent.sock"
#define ENGINE_TTY_SOCKET   "tty.sock"
/* A link there to the folder of a jailed VMM's own sockets (helper/jail.h), which is that VMM's: nothing in it is to be followed. */
#define ENGINE_JAIL       "jail"
#define ENGINE_API_SOCKET ENGINE_JAIL "/" HELPER_JAIL_API
/* Fifos in there, of what it tells by itself: lines of a log, and of metrics. Not every engine's VMM has them. */
#define ENGINE_LOG     HELPER_JAIL_LOG
#define ENGINE_METRICS HELPER_JAIL_METRICS
#define ENGINE_VSOCK_SOCKET                                                                                  \
	ENGINE_JAIL "/" HELPER_JAIL_VSOCK /* the guest's vsock, in the agent's socket's stead */

/* Files there. The model's: what ENGINE_METRICS has counted so far. */
#define ENGINE_SUMS "counters"
/* AGENT_TOKEN bytes that the agent knows us by; not there: the VM was started by a banger that had none. */
#define ENGINE_TOKEN "token"
/* The number of the guest's vsock, which is the host's own (vhost-vsock), in the agent's socket's stead; not there: it has none. */
#define ENGINE_CID "cid"

#define ENGINE_STATS_MSEC 2000

/* A fifo of ENGINE_JAIL's for reading, non-blocking; -ENOENT: there is none. *RET_FD: the caller's. */
int engine_open_fifo(int vm_dir_fd, const char *name, int *ret_fd);

enum engine_status {
	ENGINE_RUNNING,
	ENGINE_PAUSED,
	ENGINE_OTHER, /* neither: shut down, panicked, still loading */
};

/* What a guest may do a second, on each disk and each way; 0: no limit. */
struct engine_rates {
	uint64_t disk, ops, net;
};

/* What a VM is to be, for an engine that is told so after its launch. */
struct engine_machine {
	uint64_t memory;
	uint32_t vcpus, vm;
	enum helper_storage storage;
	struct engine_rates rates;
	const char *tap; /* "": neither network nor disks, a probe */
};

struct engine {
	const char *name; /* "qemu" */
	enum helper_engine id;
	bool jailed;        /* HELPER_JAIL comes before its launch, and its sockets are in ENGINE_JAIL */
	bool makes_serials; /* of its own for the disks: the guest is told their order (banger/guest_config.h) */
	bool needs_kvm;
	bool limits_net; /* it holds a guest to a net_rate; of the others the helper does (HELPER_RATE) */
	/* Which programs the helper would run, in words that change when they do; the caller's. -ENOENT, -EPERM. */
	int (*programs)(char **ret, struct err *e);
	/* Runs them, to see whether they are of use: -EPROTONOSUPPORT. NULL: any are. */
	int (*check)(struct op *op, struct err *e);
	/*
	 * After its launch: configures it and lets the guest run; NULL: it does by itself. *RET_NOTE: what is to be said about it, or NULL; the
	 * caller's. -ESRCH when the process PIDFD ended over it, -EINTR cancelled.
	 */
	int (*boot)(int vm_dir_fd, int pidfd, const struct engine_machine *m, struct op *op, char **ret_note,
		struct err *e);
	/* From now on, of a VM that runs or is paused; the net's is ignored without limits_net. */
	int (*set_rates)(int vm_dir_fd, enum helper_storage storage, const struct engine_rates *rates,
		struct op *op, struct err *e);
	int (*pause)(int vm_dir_fd, struct op *op, struct err *e);
	int (*resume)(int vm_dir_fd, struct op *op, struct err *e);
	/* The power button: asks the guest's kernel, returns at once. */
	int (*powerdown)(int vm_dir_fd, struct op *op, struct err *e);
	int (*status)(int vm_dir_fd, enum engine_status *ret, struct err *e);
	/* Asks for what it counts: lines of `stats` (engine/counters.h) to OUT, what there is of them; bounded by ENGINE_STATS_MSEC. */
	int (*stats)(int vm_dir_fd, FILE *out, struct err *e);
	/* Adds what LINE, of ENGINE_METRICS, counts since the one before it. Any thread, doesn't block. NULL: there are none, stats() has it all. */
	void (*count)(const char *line, struct disk_counters *c);
};
/* NULL: no such engine. */
const struct engine *engine_find(const char *name);
/* The one whose VMM has the folder VM_DIR_FD (engine_make_folder()). */
const struct engine *engine_of(int vm_dir_fd);
/* The Ith, the first to be preferred where it can run; NULL: no more. */
const struct engine *engine_each(size_t i);

/*
 * Listening stream socket NAME in the directory DIR_FD, mode 0600; a leftover is replaced. Bound through /proc/self/fd, so no path is too long.
 */
int engine_listen(int dir_fd, const char *name, int *ret_fd, struct err *e);
/*
 * Socket NAME of DIR_FD as an O_PATH descriptor, so that what is connected to is a socket and is there, not where a link leads. -ENOENT; -ENOTSOCK
 */
int engine_find_socket(int dir_fd, const char *name, int *ret_fd, struct err *e);
/* Connects to it; non-blocking descriptor. -ECONNREFUSED, -ENOENT: nobody there. */
int engine_connect(int dir_fd, const char *name, int *ret_fd, struct err *e);

/*
 * Waits for the agent: on the vsock ENGINE_CID, on ENGINE_AGENT_SOCKET, or where neither is there on ENGINE_VSOCK_SOCKET. Connects, says HELLO with
 * ENGINE_TOKEN, returns the descriptor on which the agent has answered (its HELLO consumed). PIDFD: the VMM; -ESRCH, -EPIPE when it ends first. -ETIMEDOUT after TIMEOUT_MSEC, -EINTR when CANCEL_FD (negative:
 * none) becomes readable.
 */
int engine_wait_agent(int vm_dir_fd, int pidfd, unsigned timeout_msec, int cancel_fd, int *ret_fd,
	char ret_boot_id[40], struct err *e);

/* What that is for a VM, in words: "vsock 12345", "vsock", "virtio-serial". */
#define ENGINE_CHANNEL 24
void engine_channel(int vm_dir_fd, char ret[ENGINE_CHANNEL]);
/* Whether a vsock of the host's kernel can be reached from here at all. Any thread. */
bool engine_has_vsock(void);

/* The host's TSC in kHz, measured once (facts-vmm 4.3); 0 where there is none to measure. */
uint64_t engine_tsc_khz(void);

/* A token that nobody else has. */
int engine_make_token(uint8_t ret[AGENT_TOKEN], struct err *e);
/*
 * The folder VM of RUNS_FD, with ENGINE_TOKEN, the sockets that a launch takes listening in RET_FDS (of LAUNCH), and ENGINE_JAIL. *RET_DIR_FD: the
 * caller's.
 */
int engine_make_folder(const struct engine *engine, int runs_fd, const char *name,
	const uint8_t token[AGENT_TOKEN], int ret_fds[LAUNCH_FD_COUNT], int *ret_dir_fd, struct err *e);
/* Keeps what the launch said of it there: ENGINE_CID; 0: nothing. */
int engine_keep_cid(int vm_dir_fd, uint32_t cid, struct err *e);
/* The folder with all that it may have in it; none is fine. */
void engine_remove_folder(int runs_fd, const char *name);

/* The wishes of a VM and of its host. */
struct engine_wish {
	const char *engine; /* a name, or "auto": the first that is there and has KVM, else the last */
	const char *accel;  /* "auto"; "kvm": fail without it; "tcg": no proof */
	int kernel_dir_fd;  /* the guest's kernel, with its initramfs's base */
	int cache_dir_fd; /* "accel" in it keeps what was proven on this boot with this kernel and these programs */
	unsigned
		timeout_msec; /* for a proof: a VM of an engine, without network and disks, whose agent answers */
};

/* The number of the VM that proves. */
#define ENGINE_PROBE_VM HELPER_VM_MAX

/*
 * Finds engine and accelerator. *RET_WHY: why it isn't a better one, or ""; the caller's. -ENODEV: not what was wished, -EPROTONOSUPPORT a
 * version of no use, -ENOENT, -EPERM no program; -EINTR.
 */
int engine_choose(struct helper *h, const struct engine_wish *wish, struct op *op, const struct engine **ret,
	enum helper_accel *ret_accel, char **ret_why, struct err *e);

/* What CACHE_DIR_FD keeps of proofs: "" (KVM is proven) or why it isn't, the caller's; NULL: nothing was proven yet. Any thread. */
char *engine_said(int cache_dir_fd);

/* What the reaper wrote when a VMM ended. */
struct engine_exit {
	bool known;
	int code, signal; /* of wait(2): one of them */
	char *reason;     /* "guest-shutdown", "guest-panic", "guest-reset", "host-signal", ... or "" */
	char *text;       /* the VMM's last lines of stderr, or "" */
};
int engine_read_exit(int fd, struct engine_exit *ret, struct err *e);
/* Likewise when the VMM has just gone: the reaper writes it a moment later. That is waited for, a second at most; then it isn't KNOWN. */
int engine_await_exit(int fd, struct engine_exit *ret, struct err *e);
void engine_exit_clear(struct engine_exit *x);
/* What an exit code of Firecracker's is about, for people (src/vmm/src/lib.rs, FcExitCode); "": none that is known. */
const char *engine_exit_words(int code);

#endif
