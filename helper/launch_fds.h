/*
 * The numbers that descriptors have in a reaper and in a VMM: the launcher puts them there, argv.c names a VMM's to it.
 */
#ifndef BANGER_LAUNCH_FDS_H
#define BANGER_LAUNCH_FDS_H

#include "banger/launch_disks.h"

/* A reaper's. */
enum {
	FD_REPORT = 3, /* SOCK_SEQPACKET to the helper */
	FD_EXIT,
	FD_CONSOLE,
	FD_TTY,
	FD_REAPED,  /* pidfd of the VMM, its child */
	FD_GO,      /* pipe: a byte lets the VMM run */
	FD_FAILED,  /* pipe: a struct launch_failure, or its end when the VMM's program runs */
	FD_OUTPUT,  /* the serial line */
	FD_ERRORS,  /* pipe: the VMM's stderr */
	FD_MONITOR, /* QMP, for its events; not there without QEMU */
	FD_REAPER_END,
};

/* QEMU's. One in a jail has none but its standard ones. */
enum {
	FD_KERNEL = 8,
	FD_INITRD,
	FD_DISK, /* and those after it, in the order of launch_disks() */
	FD_DISK_LAST = FD_DISK + LAUNCH_DISKS_MAX - 1,
	FD_QMP,
	FD_AGENT,  /* the port's socket, or the vsock */
	FD_TAP,    /* not there without a network */
	FD_SERIAL, /* the other end of FD_OUTPUT */
	FD_EVENTS, /* of FD_MONITOR */
	FD_END,
};

/* What of a launch failed, for the error's text. */
enum launch_step {
	STEP_PROGRAM,
	STEP_USER,
	STEP_NAMESPACE,
	STEP_CGROUP,
	STEP_KERNEL,
	STEP_INITRD,
	STEP_DISKS,
	STEP_JAIL,
	STEP_COUNT,
};

struct launch_failure {
	int code; /* -errno */
	int step;
};

/* What goes over FD_REPORT. Reaper: PID with a pidfd; helper: GO, once the journal has it; reaper: RESULT of the exec. */
struct report {
	int value; /* pid; anything; 0 or -errno */
	int step;
};

#endif
