/*
 * File operations in the tree. Paths are relative to its root.
 */
#ifndef BANGER_CTL_TREE_H
#define BANGER_CTL_TREE_H

#include "ctl.h"

enum tree_state {
	TREE_ANSWERS,
	TREE_ABSENT, /* nothing is mounted */
	TREE_SILENT, /* what is mounted gave no answer in time, or an error: its daemon has gone, or is at its end */
};

#define TREE_PATIENCE_MSEC 10000 /* a daemon that is just being started again answers by then */

/* Reads PATH, in a child: a tree that nobody serves would hold up whoever looks, until somebody does. */
enum tree_state tree_probe(const struct ctl *c, const char *path, unsigned msec);

/* C->fs, which names are looked up from and nothing else: nobody is asked. False: the mount can't be opened. */
bool tree_open_root(struct ctl *c);

/* The value of the file, without its last newline; NULL: it can't be read (errno). The caller's. */
char *tree_read(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One write of N bytes. 0 or -errno. */
int tree_write_bytes(struct ctl *c, const char *path, const void *data, size_t n);
/* TEXT and a newline, in one write. 0 or -errno. */
int tree_write(struct ctl *c, const char *text, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int tree_open(struct ctl *c, int flags, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool tree_exists(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Names of the folders and links in a folder, sorted; ended by NULL. The caller's: tree_free_names(). NULL: it can't be read (errno). */
char **tree_names(struct ctl *c, const char *path);
void tree_free_names(char **names);

/*
 * Says what failed: "banger: WHAT: TEXT", TEXT the `error` file of the VM (OBJECT "vms/NAME") where it has one for this, else the last word of the tree's
 * log, else CODE's. Returns the exit code.
 */
int tree_failure(struct ctl *c, const char *what, const char *object, int code);

/* The text of a name or value that a terminal can't be hurt with. The caller's. */
char *tree_printable(const char *s);

#endif
