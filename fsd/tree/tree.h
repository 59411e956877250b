/*
 * The served tree: what nodes there are, what they say, and what writing to them does. Knows nothing of FUSE.
 *
 * A node is named by its number (tree/node.h), so nothing is kept in memory for it. What a node is stands in a row of a
 * table (tree/attr.h). Loop thread only.
 */
#ifndef BANGER_TREE_H
#define BANGER_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "banger/err.h"
#include "tree/attr.h"
#include "vm/config.h"
#include "vm/objects.h"
#include "vm/vm.h"

struct tree_config {
	const char *instance; /* "": the default */
	const char *command;  /* `banger`, by its path or to be looked for in PATH; outlives the tree */
	sd_event *event;
	struct jobs *jobs;
	struct ops *ops;
	struct store *store;
	struct settings *settings;
	struct objects *images, *kernels;
	int state_fd; /* PLACE_STATE: the root's log is kept there */
	/* host/NAME: its value, or NULL where it is not known (the node is absent then). Borrowed until the next call. */
	const char *(*host_fact)(void *user, const char *name);
	/* The verb `shutdown` has stopped every VM. */
	void (*shutdown)(void *user);
	void *user;
};

/* What the tree tells the one who serves it. */
struct tree_listener {
	void (*stale)(void *user, uint64_t node);       /* size, times and contents of NODE have changed */
	void (*pollable)(void *user, struct handle *h); /* whoever polls H should look again */
	uint64_t (*requests)(void *user);               /* served so far */
	uint64_t (*asked)(void *user);                  /* for so many of them a guest had to be asked */
};

int tree_new(const struct tree_config *config, const struct tree_listener *listener, void *user,
	struct tree **ret, struct err *e);
struct tree *tree_free(struct tree *t);
/* The model, once it is there; NULL: it is about to go. */
void tree_set_vms(struct tree *t, struct vms *vms);
/* The daemon ends: nothing is listened to any more, and handles that go mean nothing for what they were open on. */
void tree_stop(struct tree *t);
/* The model's events, with a struct tree as their user. */
extern const struct vm_watch tree_vm_watch;

/* What NODE is: 0; -ESTALE: it was, or never was. */
int tree_target(struct tree *t, uint64_t node, struct target *ret);
int tree_stat(struct tree *t, const struct target *at, struct stat *ret);
/* -ENOENT, -ESTALE, -ENOTDIR. */
int tree_lookup(struct tree *t, const struct target *dir, const char *name, struct target *ret);
/* The first entry behind COOKIE (0: the first). False: no more. The name is borrowed until the next call. */
bool tree_list(struct tree *t, const struct target *dir, uint64_t cookie, struct target *ret,
	const char **ret_name, uint64_t *ret_cookie);
uint64_t tree_parent(struct tree *t, const struct target *at);
int tree_readlink(struct tree *t, const struct target *at, char **ret);
/* Seconds for which what tree_stat() and tree_lookup() say may be kept; changes within are told by `stale`. */
double tree_entry_timeout(const struct target *at);
double tree_attr_timeout(const struct target *at);

/* The text of a node that is rendered at once. Borrowed until the next call. -EOPNOTSUPP: it has handle operations, or is asked. */
int tree_render(struct tree *t, const struct target *at, const char **ret, size_t *ret_size);

/* Handles: what is open. H->target, H->access and H->nonblock are set; 0 or -errno. */
int tree_open(struct tree *t, struct handle *h);
void tree_release(struct tree *t, struct handle *h);
/* Answered through CALL, perhaps before the return. */
void tree_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call);
void tree_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call);
unsigned tree_poll(struct tree *t, struct handle *h);

void tree_mkdir(struct tree *t, const struct target *dir, const char *name, struct call *call);
void tree_rmdir(struct tree *t, const struct target *dir, const char *name, struct call *call);
void tree_rename(struct tree *t, const struct target *dir, const char *name, const struct target *new_dir,
	const char *new_name, struct call *call);
/* Accepted, without effect, as a part of rm -r of a VM that can be deleted: 0 or -errno. */
int tree_unlink(struct tree *t, const struct target *dir, const char *name);
/* MASK: of 1 mode, 2 uid, 4 gid. Kept over restarts. */
int tree_chmod(struct tree *t, const struct target *at, unsigned mask, mode_t mode, uid_t uid, gid_t gid);

/* One line for the root's log and stream/log. */
void tree_log(struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* NULL: no such VM, or the model has gone. */
struct vm *tree_vm(struct tree *t, uint32_t id);
/* A use of the VM ROW begins or ends (vm_use()); nothing, where it has gone. */
void tree_use(struct tree *t, uint64_t row, bool begins);
/* It was used just now (vm_touch()). */
void tree_touch(struct tree *t, uint64_t row);

#endif
