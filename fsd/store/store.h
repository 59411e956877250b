/*
 * The database: what banger must still know after a restart. SQLite in WAL mode, synchronous=FULL, numbered migrations
 * (promise H6), one file PLACE_STATE/banger.db.
 *
 * Blocking (a commit is an fsync): start-up, or the serial worker (job_submit_serial). One connection, used by one
 * thread at a time; every function is one transaction. Strings in returned rows are the row's and freed with it.
 */
#ifndef BANGER_STORE_H
#define BANGER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"

struct store;

/*
 * Opens (makes, migrates) the database below the directory STATE_FD. -EUCLEAN: quick_check failed; -EOVERFLOW: written by a
 * newer banger; -EROFS, -ENOSPC, -EACCES, ... what the system says. DEFENSIVE, foreign_keys on, trusted_schema off.
 */
int store_open(int state_fd, struct store **ret, struct err *e);
struct store *store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close)

/* Takes N ids for operations; *RET_FIRST is the first. Never the same ones again. */
int store_reserve_ops(struct store *s, uint64_t n, uint64_t *ret_first, struct err *e);

/* What a VM is. Numbers are bytes, counts, flags; moments are CLOCK_REALTIME usec, 0: never. */
struct store_vm {
	uint32_t id; /* never used again */
	char *name;
	char *image, *kernel, *engine, *storage; /* "" : the default */
	uint32_t vcpus;
	uint64_t memory, disk;
	bool nat;
	uint32_t autostop;                      /* seconds; 0: never */
	uint64_t disk_rate, disk_ops, net_rate; /* bytes, operations, bytes a second; 0: no limit */
	char *publish;                          /* lines, as net/port_map.h has them; NULL is stored as "" */
	uint32_t address_index; /* host part of its address in the instance's subnet, unique among VMs, 2.. */
	uint64_t created;
	uint64_t changed;
	/* The run: */
	char *state;      /* "created", "starting", "running", "paused", "stopping", "stopped", "failed" */
	char *error;      /* last failure, "" */
	char *boot_id;    /* the guest's, "" */
	uint64_t started; /* of the run; 0 while stopped */
	char *accel;      /* of the run: "kvm", "tcg", "" */
};
void store_vm_clear(struct store_vm *row);

/* Inserts; gives the row its id and a free address_index (2..ADDRESS_MAX; -ENOSPC when all are taken). -EEXIST the name. */
int store_vm_insert(struct store *s, struct store_vm *row, uint32_t address_max, struct err *e);
/* Writes every column of the row with ROW's id. -EEXIST a name that another has, -ENOENT no such row. */
int store_vm_update(struct store *s, const struct store_vm *row, struct err *e);
int store_vm_delete(struct store *s, uint32_t id, struct err *e);
/* FN for each row in order of id; its row is borrowed. A negative return of FN ends it and is returned. */
int store_vm_each(
	struct store *s, int (*fn)(void *user, const struct store_vm *row), void *user, struct err *e);

/* An image or a kernel: KIND is "image" or "kernel". FILE is the base name of its file or directory in the store. */
struct store_object {
	uint32_t id;
	char *name, *ref, *digest, *arch, *kernel, *file;
	uint64_t size, created;
	/* Of an image that came as an OCI image; "" of others, NULL is stored as that. */
	char *ref_digest; /* what the reference led to: the index's, where there is one */
	char *platform;   /* "linux/amd64" */
	char *layers;     /* "DIGEST SIZE MEDIA-TYPE", a line each, the lowest first */
	char *config;     /* its configuration, JSON */
};
void store_object_clear(struct store_object *row);
int store_object_insert(struct store *s, const char *kind, struct store_object *row, struct err *e);
int store_object_delete(struct store *s, const char *kind, uint32_t id, struct err *e);
/*
 * ROW takes the place (and the name) of row OLD, all in one transaction. OLD_NAME: the old one stays, under that name, with the reference
 * OLD_REF, and the N VMs of IDS go on with it; NULL: it goes.
 */
int store_object_replace(struct store *s, const char *kind, struct store_object *row, uint32_t old,
	const char *old_name, const char *old_ref, const uint32_t *ids, size_t n, struct err *e);
int store_object_each(struct store *s, const char *kind,
	int (*fn)(void *user, const struct store_object *row), void *user, struct err *e);

/* config/KEY: set (VALUE NULL: removed, so the default holds) and read all. */
int store_config_set(struct store *s, const char *key, const char *value, struct err *e);
int store_config_each(struct store *s, int (*fn)(void *user, const char *key, const char *value), void *user,
	struct err *e);

/* Modes of nodes that a user changed (rule 8): NODE is the node number. */
struct store_mode {
	uint64_t node;
	uint32_t mode, uid, gid;
};
int store_mode_set(struct store *s, const struct store_mode *row, struct err *e);
int store_mode_each(
	struct store *s, int (*fn)(void *user, const struct store_mode *row), void *user, struct err *e);
/* Forgets the modes of nodes in [FIRST, LAST]. */
int store_mode_forget(struct store *s, uint64_t first, uint64_t last, struct err *e);

#endif
