/*
 * The helper's own record of what it made: the only thing that it deletes by.
 *
 * A file of fixed size (journal, in the root-only folder): a head and a slot a VM, preallocated, so that a deletion can be recorded
 * on a full disk too. A thing's state is written before it is made (INTENT), with its identity when it is there (LIVE), before it
 * is removed (DELETING), and NONE when it has gone. It lives in /run, with what it speaks of: after a power cut both are gone; a file of
 * another boot is dropped whole.
 */
#ifndef BANGER_JOURNAL_H
#define BANGER_JOURNAL_H

#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"

enum journal_state {
	JOURNAL_NONE,
	JOURNAL_INTENT,
	JOURNAL_LIVE,
	JOURNAL_DELETING,
};

struct journal_vm {
	uint32_t vm; /* 0: slot is free */
	uint8_t tap, nat, process, disk;
	uint32_t address; /* what NAT was set for, host byte order */
	uint32_t ifindex; /* of the tap */
	int32_t pid, reaper_pid;
	uint64_t starttime;          /* of PID: /proc/PID/stat field 22 */
	uint64_t root_dev, base_dev; /* of the disk: device-mapper's two devices; 0: not known */
	uint64_t cow_ino;            /* what the disk is made of, and nothing else's is */
	uint8_t jail;
	uint8_t spare[7];
};

struct journal_head {
	char magic[8];
	char boot_id[40];
	uint8_t mount, net, reserved[6];
	uint64_t mount_dev; /* st_dev of the mount */
	uint32_t bridge_ifindex;
	uint32_t network; /* host byte order; 0: not yet chosen */
	uint64_t site;    /* the Global ID of our IPv6 prefix, 40 bits; 0: not yet chosen */
	uint64_t spare[15];
};

struct journal;

/*
 * Opens the journal of the folder DIR_FD, begins one where there is none of this boot. -EUCLEAN: there is one of this boot that can't be used;
 * it is left as it is. One thread.
 */
int journal_open(int dir_fd, unsigned vms_max, struct journal **ret, struct err *e);
struct journal *journal_close(struct journal *j);
DEFINE_CLEANUP(struct journal *, journal_close)

/* The head, to be changed in place and then written. */
struct journal_head *journal_head(struct journal *j);
int journal_write_head(struct journal *j, struct err *e);

/* VM's slot, or NULL. */
struct journal_vm *journal_find(struct journal *j, uint32_t vm);
/* VM's slot, a free one where it has none: for a state that is set and written now, or given back by journal_settle(). -ENOSPC */
int journal_take(struct journal *j, uint32_t vm, struct journal_vm **ret, struct err *e);
/* The slot with the lowest VM number above AFTER, or NULL. */
struct journal_vm *journal_next(struct journal *j, uint32_t after);
/* After a change: on disk when it returns. A slot in which nothing is left (all NONE) becomes free. */
int journal_write(struct journal *j, struct journal_vm *slot, struct err *e);

/* One that was taken and in which nothing came to be is free again; nothing of it is on disk. */
void journal_settle(struct journal_vm *slot);

/* Nothing is recorded at all. */
int journal_empty(struct journal *j);

#endif
