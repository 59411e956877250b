/*
 * The owner's side of the helper's protocol (helper_proto.h).
 *
 * One connection, one request at a time: calls from several threads wait for each other on a mutex. A connection that
 * was lost (helper restarted) is made anew, once a call, before the request is sent; a request whose answer was
 * lost is not sent again but fails with -EPIPE. Calls block for at most 30 s (-ETIMEDOUT, and the connection is closed).
 * Every function: 0 or -errno, E then the helper's own text.
 */
#ifndef BANGER_HELPER_CLIENT_H
#define BANGER_HELPER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "banger/helper_proto.h"

struct helper;

/* Makes a client of the socket at PATH (copied); connects at the first call. */
int helper_new(const char *path, struct helper **ret, struct err *e);
struct helper *helper_free(struct helper *h);
DEFINE_CLEANUP(struct helper *, helper_free)
/* Calls block for at most MSEC instead, connecting included; before the first call. */
void helper_set_patience(struct helper *h, unsigned msec);

struct helper_hello {
	uint32_t network, gateway; /* host byte order */
	uint32_t prefix;
	bool mount_held;
	int pid;
	uint32_t owner;
	char version[32];
	char bridge[16];
	bool has_ip6;       /* this host has IPv6; else PREFIX6 is zeros */
	uint8_t prefix6[8]; /* the instance's /64 (helper_vm_ip6()) */
};
int helper_hello(struct helper *h, struct helper_hello *ret, struct err *e);

/* *RET_FD: /dev/fuse of the mount, the caller's. *RET_ADOPTED: it was mounted and initialised before. */
int helper_mount(struct helper *h, int *ret_fd, bool *ret_adopted, struct err *e);
/* FD is the mount that this daemon serves: given, now and whenever a helper was started anew, to that helper to keep (a duplicate is made). */
int helper_keep_mount(struct helper *h, int fd, struct err *e);
int helper_unmount(struct helper *h, struct err *e);

int helper_net_up(struct helper *h, struct err *e);
int helper_net_down(struct helper *h, struct err *e);
int helper_tap(struct helper *h, uint64_t op, uint32_t vm, uint32_t address, struct err *e);
int helper_nat(struct helper *h, uint64_t op, uint32_t vm, uint32_t address, bool on, struct err *e);
/* Of VM's tap, bytes a second each way; 0: no limit. -EOPNOTSUPP: what the kernel lacks; -ESRCH: VM has no tap. */
int helper_rate(struct helper *h, uint64_t op, uint32_t vm, uint64_t rate, struct err *e);

struct helper_launch {
	uint64_t memory, tsc_khz, console_max;
	uint64_t disk_rate, disk_ops; /* helper_proto.h */
	uint32_t vcpus;
	enum helper_accel accel;
	enum helper_engine engine;
	bool no_network;
	enum helper_storage storage;
	bool vsock;
	int fds[LAUNCH_FD_COUNT]; /* borrowed */
};
struct helper_process {
	int pid, reaper_pid;
	uint64_t starttime;
	char tap[16]; /* of helper_launch(): the interface's name, or "" */
	uint32_t cid; /* of helper_launch(): the vsock's number; 0: it has none of the kernel's */
};
/* Makes VM's jail, and gives it this process's mount namespace, in which the files of the LAUNCH that follows are open. */
int helper_jail(struct helper *h, uint64_t op, uint32_t vm, struct err *e);
/* *RET_PIDFD is the caller's. */
int helper_launch(struct helper *h, uint64_t op, uint32_t vm, const struct helper_launch *what,
	struct helper_process *ret, int *ret_pidfd, struct err *e);
/* Of a VMM that lives already; -ESRCH when VM has none. */
int helper_pidfd(struct helper *h, uint32_t vm, struct helper_process *ret, int *ret_pidfd, struct err *e);
int helper_signal(struct helper *h, uint64_t op, uint32_t vm, enum helper_signal sig, struct err *e);
/* -ENODEV: this kernel can't, E says why; HELPER_STORAGE_OVERLAY is what is left. */
int helper_storage(struct helper *h, struct err *e);
/* WHAT: READ or WRITE. SIZE: bytes, of the device. *RET_FD: it, open, the caller's: until it is closed the device can't be removed. */
int helper_disk(struct helper *h, uint64_t op, uint32_t vm, enum helper_disk_what what, uint64_t size,
	const int fds[DISK_FD_COUNT], int *ret_fd, struct err *e);
/* None is fine. -EBUSY: somebody has it open. */
int helper_disk_off(struct helper *h, uint64_t op, uint32_t vm, struct err *e);

struct helper_disk_use {
	enum helper_disk_state state;
	uint64_t used, size; /* bytes of the cow */
};
/* -ENODEV: VM has none. */
int helper_disk_status(struct helper *h, uint32_t vm, struct helper_disk_use *ret, struct err *e);
int helper_release(struct helper *h, uint64_t op, uint32_t vm, struct err *e);

struct helper_entry {
	uint32_t vm;
	bool has_tap, has_nat, has_process, alive;
	int pid;
	uint64_t starttime;
};
/* The first VM of the journal with a number above AFTER; -ENOENT: none. */
int helper_list(struct helper *h, uint32_t after, struct helper_entry *ret, struct err *e);

#endif
