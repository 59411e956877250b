/*
 * What a Firecracker is told between its start and its guest's: the VM, as a sequence of calls (facts-vmm 1.2).
 */
#ifndef BANGER_FC_MACHINE_H
#define BANGER_FC_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/fc_api.h"

/* A token bucket: SIZE tokens (bytes, operations), filled up again within REFILL_MSEC, and BURST more once. SIZE or REFILL_MSEC 0: no limit. */
struct fc_bucket {
	uint64_t size, burst, refill_msec;
};
struct fc_limit {
	struct fc_bucket bandwidth, ops;
};

struct fc_disk {
	const char *id;   /* letters, digits, '_' */
	const char *path; /* as are all here: as Firecracker sees it */
	bool readonly;
	struct fc_limit limit;
};

/* Texts that may be NULL leave their part out. */
struct fc_machine {
	uint64_t memory; /* bytes; a part of a MiB is left out */
	unsigned vcpus;  /* 1 to 32 */
	const char *kernel /* ELF */, *initrd /* may be NULL */;
	const struct fc_disk *disks; /* the guest has them in this order: /dev/vda, ... */
	size_t disk_count;
	const char *tap;                   /* may be NULL: its name, in Firecracker's network namespace */
	const char *mac;                   /* with TAP */
	struct fc_limit receive, transmit; /* as the guest sees it */
	const char *vsock;          /* may be NULL: the socket that Firecracker makes; must not be there */
	uint32_t cid;               /* the guest's, 3 or more */
	uint32_t balloon_stats_sec; /* how often the guest tells of its memory; 0: never */
	const char *log, *metrics, *serial; /* may be NULL: files, there already */
};

/* Tells A all of M. As fc_api_call(); no guest has run when it fails, and the process is of no further use. */
int fc_machine_configure(
	struct fc_api *a, const struct fc_version *v, const struct fc_machine *m, struct err *e);
/* Lets the guest run: comes back when it does. */
int fc_machine_start(struct fc_api *a, struct err *e);

/* Of a machine that runs: from now on disk ID, or the network, has LIMIT, and no other. */
int fc_machine_limit_disk(struct fc_api *a, const char *id, const struct fc_limit *limit, struct err *e);
int fc_machine_limit_network(struct fc_api *a, const struct fc_limit *limit, struct err *e);

#endif
