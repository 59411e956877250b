/*
 * The numbers that descriptors have in a reaper and in its VMM: the launcher puts them there, argv.c names them to the VMM.
 */
#ifndef BANGER_LAUNCH_FDS_H
#define BANGER_LAUNCH_FDS_H

#include "launch_disks.h"

enum {
	/* The reaper's own; closed in the VMM. */
	FD_REPORT = 3, /* SOCK_SEQPACKET to the helper */
	FD_PROGRAM,    /* O_PATH of the VMM's program */
	FD_EXIT,
	FD_CONSOLE,
	FD_TTY,
	/* The VMM's. */
	FD_KERNEL,
	FD_INITRD,
	FD_DISK, /* and those after it, in the order of launch_disks() */
	FD_DISK_LAST = FD_DISK + LAUNCH_DISKS_MAX - 1,
	FD_QMP,
	FD_AGENT,
	FD_TAP, /* not there without a network */
	/* Made by the reaper for the VMM. */
	FD_SERIAL, /* the console's other end */
	FD_EVENTS, /* a second QMP monitor, for its events */
	FD_END,
};

/* What goes over FD_REPORT. Reaper: PID with a pidfd; helper: GO, once the journal has it; reaper: RESULT of the exec. */
struct report {
	int value; /* pid; anything; 0 or -errno */
};

#endif
