/*
 * The steps of a start, from a VM's disks to its agent's answer: what is made, and undone in reverse when one of them fails. On a worker, which has all of it
 * in a struct of its own (vm/start.c makes one, and takes over what lives).
 */
#ifndef BANGER_START_STEPS_H
#define BANGER_START_STEPS_H

#include "engine/engine.h"
#include "vm/disks.h"
#include "vm/model.h"

/* What the worker has of the VM: copies, and descriptors of its own. */
struct start {
	struct vms *vms;
	struct deed *deed;
	uint32_t id, vcpus, address;
	bool has_ip6;
	uint8_t ip6[16], token[AGENT_TOKEN];
	uint64_t memory, console_max, timeout_usec;
	struct engine_rates rates;
	bool nat, no_driver, reset;
	char *name, *want_engine, *want_accel, *want_storage, *dns, *image_file;
	struct disks disks;
	int kernel_fd, dir_fd, run_fd; /* kernel_fd: its folder */
	int fds[LAUNCH_FD_COUNT];
	enum helper_accel accel;
	const struct engine *engine;
	char *accel_why, *note, *key_why;
	struct helper_process process;
	int pidfd, agent_fd;
	char boot_id[40];
};

/* Does them all, or none; a job_work_fn of struct start. */
int start_work(void *data, struct err *e);
/* All were done, for nothing, as E says. Any thread. */
void start_undo(struct start *s, struct err *e);
/* What was not taken from it goes too. */
void start_free(struct start *s);

#endif
