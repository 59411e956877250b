/*
 * The rows of which the tree is made: `struct attr` is a node in a directory, `struct dir_type` a kind of directory.
 * One row gives a node its lookup, listing, size, reading, writing, polling and reference page. Loop thread.
 */
#ifndef BANGER_TREE_ATTR_H
#define BANGER_TREE_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "banger/err.h"
#include "tree/node.h"

struct tree;
struct attr;
struct dir_type;
struct input;

/* A node that is known to exist. ATTR NULL: the directory itself. */
struct target {
	const struct dir_type *dir;
	const struct attr *attr;
	uint64_t row;
	uint64_t node;
};

/* Somebody who waits for an answer. Given by the server, answered exactly once with call_done() or call_data(). */
struct call {
	void (*done)(struct call *c, int code, const void *data, size_t n);
	/* Set by who parks it: somebody pressed Ctrl-C. Leads to done(), perhaps later. NULL: it is over in an instant. */
	void (*cancel)(struct call *c);
	void *parked;           /* of who parks it */
	TAILQ_ENTRY(call) link; /* likewise */
	size_t size;            /* of a read: bytes asked for */
	uint32_t uid, pid;      /* who asks */
	uint64_t node;          /* what mkdir made */
	bool again;             /* an earlier daemon was asked the same, and may have done it */
};
TAILQ_HEAD(call_list, call);

static inline void call_done(struct call *c, int code)
{
	c->done(c, code, NULL, 0);
}

static inline void call_data(struct call *c, const void *data, size_t n)
{
	c->done(c, 0, data, n);
}

/* An open file. */
struct handle {
	struct target at;
	bool reading, writing, nonblock;
	bool opened; /* the row's open was called */
	bool again;  /* an earlier daemon opened it */
	uint64_t id; /* no other handle of this mount has it, before or after */
	char *text;  /* as rendered for this handle, NULL: not yet */
	size_t size;
	void *state; /* of the row's operations */
	void *poll;  /* of the server */
	struct call_list parked;
	LIST_ENTRY(handle) link; /* of the row's operations */
};

/* Of files that are more than a text. Every member may be NULL. */
struct file_ops {
	int (*open)(struct tree *t, struct handle *h);
	void (*release)(struct tree *t, struct handle *h);
	void (*read)(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call);
	void (*write)(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call);
	unsigned (*poll)(struct tree *t, struct handle *h);
	uint64_t (*size)(struct tree *t, const struct target *at);
};

enum {
	ATTR_STORED =
		1, /* exact size, kept by the kernel until it changes: every change is told with tree_stale() */
	ATTR_LOG = 2,        /* true size, which grows by itself */
	ATTR_TOLD = 32,      /* a log whose every growth is told with tree_stale() */
	ATTR_LATE = 64,      /* a log whose size may be a second old */
	ATTR_STREAM = 4,     /* blocks: reachable, not listed, not seekable */
	ATTR_HIDDEN = 8,     /* reachable, not listed */
	ATTR_WORKSPACE = 16, /* a directory that the guest serves: its workspace, */
	ATTR_ROOT = 256,     /* or its whole tree */
	ATTR_APART =
		128, /* writes wait: another inode to each who opens it, so that they don't wait for each other */
	ATTR_HELD = 1024, /* that it is open means something: the next daemon opens it again at once */
};

struct attr {
	uint16_t id; /* 1..NODE_ATTR_MAX, never changed, never given to another */
	const char *name;
	mode_t mode; /* S_IFREG is meant when there is no type; a directory has a kind */
	unsigned flags;
	enum node_kind child; /* of a directory: it has the same row */
	const char *doc;
	void (*show)(struct tree *t, const struct target *at, FILE *out);
	/* What was written, checked for length and NUL, as lines. */
	void (*store)(struct tree *t, const struct target *at, const struct input *in, struct call *call);
	/* Instead of SHOW: text that others must be asked for; ends with handle_answer() or call_done(). */
	void (*ask)(struct tree *t, struct handle *h, struct call *call);
	bool (*present)(struct tree *t, const struct target *at);
	const struct file_ops *ops;
	const void *data;
};

struct dir_type {
	enum node_kind kind;
	mode_t mode;
	bool is_link;     /* the node is a symbolic link, not a directory */
	bool fleeting;    /* children come and go by themselves */
	bool moves;       /* a row's name may become another row's by itself: it is looked up each time */
	const char *path; /* for the reference page */
	const char *doc;
	const struct attr *attrs;
	size_t attr_count;
	/* Rows made of another table: writes at most MAX rows, returns how many there are. */
	size_t (*more)(struct attr *ret, size_t max);
	bool (*exists)(struct tree *t, uint64_t row);
	uint64_t (*changed)(struct tree *t, uint64_t row); /* CLOCK_REALTIME usec */
	uint64_t (*parent)(struct tree *t, uint64_t row);  /* node number */
	/* Children that are rows: */
	enum node_kind child;
	bool (*next)(struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name);
	bool (*find)(struct tree *t, uint64_t row, const char *name, uint64_t *ret);
	void (*make)(struct tree *t, uint64_t row, const char *name, struct call *call);
	void (*remove)(struct tree *t, uint64_t row, uint64_t child, struct call *call);
	void (*rename)(struct tree *t, uint64_t row, uint64_t child, const char *name, struct call *call);
	/* May its attributes be unlinked, without effect, as a part of rm -r? 0 or -errno. */
	int (*removable)(struct tree *t, uint64_t row);
	int (*readlink)(struct tree *t, uint64_t row, char **ret);
};

extern const struct dir_type *const dir_types[KIND_COUNT];
/* All rows of a directory. */
const struct attr *dir_attrs(const struct dir_type *dir, size_t *ret_count);

/* Renders what ASK has found: H gets TEXT (taken), CALL the part it asked for. */
void handle_answer(struct handle *h, char *text, size_t n, struct call *call);

#endif
