/* What the files of this room share. No other room includes it. */
#ifndef BANGER_FUSE_STATE_H
#define BANGER_FUSE_STATE_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "fuse/asked.h"
#include "fuse/inodes.h"
#include "fuse/server.h"

#define HANDLE_BUCKETS 1024
#define CACHE_BUCKETS  64
#define HANDLES_MAX    65536
#define REMOVERS       32

/* A handle of the tree under the number that the kernel knows it by. */
struct open_file {
	struct handle h;
	uint64_t fh;
	LIST_ENTRY(open_file) bucket;
};

enum reply_kind {
	REPLY_CODE,
	REPLY_DATA,
	REPLY_WRITTEN,
	REPLY_ENTRY,
};

/* A request that the tree answers. */
struct request {
	struct call call; /* the first member: a call is its request */
	struct server *s;
	fuse_req_t req;
	enum reply_kind kind;
	size_t size;
	sd_event_source *look; /* for a signal that means it (signals.h) */
	/* Answered, but what it tells of is not invalidated yet: */
	bool answered;
	uint64_t after;
	int code;
	void *data;
	size_t n;
	TAILQ_ENTRY(request) link;
	LIST_ENTRY(request) live;
};

/* Told to the kernel by a thread of its own. */
struct notice {
	STAILQ_ENTRY(notice) link;
	uint64_t node;
	struct fuse_pollhandle *poll; /* NULL: NODE is stale */
	bool attributes;              /* of it alone, pages are left to themselves */
};

STAILQ_HEAD(notice_list, notice);

struct server {
	struct server_config config;
	struct tree *tree;
	struct fuse_session *session;
	sd_event_source *io;
	struct fuse_buf buf;
	bool stopped;
	uint64_t early_until; /* CLOCK_MONOTONIC usec: guests that run are awaited; 0: none are */
	sd_event_source *early_timer;
	STAILQ_HEAD(, early) early;
	size_t early_count;
	const struct fuse_buf *now; /* the request at work, while it is taken apart */
	bool late;                  /* it has waited (early_wait()) */
	bool adopted;               /* the mount is an earlier daemon's: what was open is open */
	struct asked *asked;        /* NULL: the kernel asks again by itself */
	sd_event_source *asked_source;
	uint64_t unique; /* of the request at work; one that was asked of an earlier daemon has the same */
	bool again;      /* it was asked of one */
	bool spins;      /* more than one CPU: looking again beats sleeping */
	uint64_t requests;
	uint64_t asked_guests; /* for so many of them */
	uint64_t aliases;      /* given out (node_alias()) */
	bool epochs;           /* the kernel has FUSE_NOTIFY_INC_EPOCH */
	LIST_HEAD(, guest_cache) caches[CACHE_BUCKETS];
	/* Who removed an attribute of which VM lately: it is removing the VM, and all that is below it (rm -r). */
	struct remover {
		uint32_t vm;
		pid_t pid;
		uint64_t usec; /* when it was seen to last */
	} removers[REMOVERS];
	unsigned remover;        /* the next */
	struct behinds *behinds; /* NULL: nothing is written behind */
	struct inodes *inodes;   /* NULL: nothing is known */
	uid_t owner;
	gid_t group;

	LIST_HEAD(, open_file) files[HANDLE_BUCKETS];
	size_t file_count;
	uint64_t first_fh, next_fh;

	struct request *current;
	TAILQ_HEAD(, request) held;
	LIST_HEAD(, request) live; /* all that are not answered yet */

	pthread_t notifier;
	bool has_notifier;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* What is stale goes first: answers wait for that, and for no number of pollers. */
	struct notice_list notices, polls;
	bool ending;
	uint64_t told;          /* notices given out; loop thread */
	_Atomic uint64_t heard; /* of them, taken by the kernel */
	_Atomic uint64_t
		awaited; /* so many have to be, before the first of HELD goes out; UINT64_MAX: it is empty */
	_Atomic bool posted;
};

/* notify.c */
int notify_start(struct server *s, struct err *e);
void notify_stop(struct server *s);
/*
 * The kernel looks NAME (constant) of the folder PARENT up anew. Not by the notifier: it takes the folder's lock, which an rmdir holds whose answer may be
 * held back until the notifier is through.
 */
void notify_renumber(struct server *s, uint64_t parent, const char *name);
void notify_stale(void *user, uint64_t node);
/* Of NODE's attributes alone; takes no lock of the kernel's that a request of a guest's may hold. False: too much to be told so. */
bool notify_attributes(struct server *s, uint64_t node);
/* NODE's pages too: of a folder, what was listed. */
void notify_pages(struct server *s, uint64_t node);
/* No name that was ever looked up may be taken for granted. Any kernel that knows `epochs`. */
void notify_names(struct server *s);
void notify_pollable(void *user, struct handle *h);

/* request.c */
/* Around the call of the tree that answers what is returned: behind it a parked one can be interrupted. NULL: there was no memory, and REQ is answered. */
struct request *request_begin(struct server *s, fuse_req_t req, enum reply_kind kind);
void request_end(struct server *s, struct request *r);
/*
 * Answers REQ, which lists the folder NODE and is behind its last name. By then the kernel has no page of what it listed: with that answer it would list the
 * folder by itself from the pages the next time.
 */
void request_listed(struct server *s, fuse_req_t req, uint64_t node);
/* Forgets those that nobody has answered. */
void requests_free(struct server *s);
/* The kernel has heard of more. */
void request_release_held(struct server *s);

/* files.c */
struct open_file *file_new(struct server *s, const struct target *at, const struct fuse_file_info *fi);
/* FH as the kernel has it; a handle of an earlier daemon's is made again. NULL: no memory, or its node is gone. */
struct open_file *file_get(struct server *s, uint64_t node, struct fuse_file_info *fi);
/* One that an earlier daemon had, under the number that it gave it. */
struct open_file *file_again(struct server *s, const struct target *at, uint64_t fh, int flags);
void file_free(struct server *s, uint64_t fh);
void files_free(struct server *s);

/*
 * held.c: what is open and means something by that (ATTR_HELD) is written down, for the next daemon on this mount: it hears of a descriptor that
 * nobody uses only when it is closed.
 */
void held_note(struct server *s, const struct open_file *f);
void held_forget(struct server *s, const struct open_file *f);
/* At the start: ADOPTED: those written down are open again; else they are forgotten. */
void held_restore(struct server *s, bool adopted);

/* guest.c: the requests on files of guests. True: it was one, and is answered. */
extern const struct fuse_lowlevel_ops guest_ops;
bool guest_is(struct server *s, uint64_t node);
/* REQ's caller has removed an attribute in the folder NODE, or wanted to, by which nothing happens: is it on its way to remove VM? */
void guest_note_remover(struct server *s, fuse_req_t req, uint64_t node);
bool guest_has_remover(struct server *s, fuse_req_t req, uint32_t vm);
/* Anybody has. */
bool guest_has_removers(struct server *s, uint32_t vm);
/*
 * REQ's caller is removing the VM whose workspace/ or root/ NODE is: to be removed with it, whole, not a guest's file after the other; of one that runs, which is not
 * removed, nothing is.
 */
bool guest_is_removed(struct server *s, fuse_req_t req, uint64_t node);

/* guest_cache.c: what the kernel may keep of guests' files. */
struct guest_cache;
/* VM has changed: what was kept of a guest that is no longer there is dropped. */
void guest_cache_check(struct server *s, struct vm *vm);
/* An earlier daemon has let the kernel list workspaces by itself: no more, before anything is answered. */
void guest_caches_adopt(struct server *s, struct vms *vms);
void guest_cache_forget(struct server *s, uint32_t vm);
void guest_caches_free(struct server *s);

/* guest_behind.c: what guests are told without waiting. RUN_FD as server_config's. */
struct behinds;
int behinds_new(int run_fd, struct behinds **ret, struct err *e);
/* No answer of a guest's that comes from now on is an answer. */
void behinds_end(struct behinds *all);
struct behinds *behinds_free(struct behinds *all);
void behinds_forget(struct server *s, uint32_t vm);

/* early.c: requests that come too early: about guests that are not found again yet, from now on, for a while: */
void early_begin(struct server *s);
/* AGAIN as server_process() is told. True: it waits; its buffer was copied. */
bool early_keep(struct server *s, const struct fuse_buf *buf, bool again);
/* REQ is about files of the VM, which nobody serves. True: it is on its way up or down, and REQ, which is gone, is taken up again when it is there, or after a minute. */
bool early_wait(struct server *s, fuse_req_t req, uint32_t vm);
void early_end(struct server *s);

/* server.c: AGAIN: an earlier daemon may have done it already. The kernel marks what it sends again by itself; nothing else does. */
void server_process(struct server *s, const struct fuse_buf *buf, bool again);

/* ops.c */
extern const struct fuse_lowlevel_ops server_ops;

/* names.c: REQ, about folders of the tree's own, is answered, or (mkdir, rmdir, rename) parked. */
void names_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void names_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned flags);
void names_list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus);
/* What the kernel is told of AT, which was looked up or made. */
int entry_fill(struct server *s, const struct target *at, struct fuse_entry_param *ret);
void entry_reply(struct server *s, fuse_req_t req, const struct fuse_entry_param *entry);

#endif
