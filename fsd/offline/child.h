/*
 * The child that serves a stopped VM's files: it speaks the agent's protocol (banger/agent_proto.h) on a socket, as the agent in the guest would, and has
 * nothing but that socket, the disks and its own answers (Landlock, seccomp, bounded memory and time). What it reads is a guest's, and hostile. It ends when
 * the socket does, and leaves a disk that says it is clean; so does one that nobody has asked for a second. Its exit code is an errno: why it could not serve the
 * work disk, or not write it down at the end.
 */
#ifndef BANGER_OFFLINE_CHILD_H
#define BANGER_OFFLINE_CHILD_H

#include <sys/types.h>

#include "banger/err.h"

struct offline_disks {
	int work;        /* read-write */
	int over, image; /* to be read; -1: root/ isn't served */
	int answers;     /* a file of the children's own (serving_adopt()); -1: none */
};

/*
 * Starts one: SOCK is its end of a stream socket; all are borrowed. It is the running program once more, whose main() has to know
 * offline_main(). *RET_PID is the caller's to wait for. Blocks shortly.
 */
int offline_spawn(int sock, const struct offline_disks *disks, pid_t *ret_pid, int *ret_pidfd, struct err *e);

#define OFFLINE_ARGUMENT "--files-worker"
int offline_main(int argc, char **argv);

#endif
