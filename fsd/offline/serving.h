/*
 * The requests on files (AGENT_FS_*, banger/agent_proto.h) answered from a stopped VM's disks, instead of by its guest's agent: the child's inner
 * part. Whoever asks can't tell the two apart, but for what is refused: root/ is read-only, except the work disk in it.
 *
 * Numbers are the guest's: a file of the work disk has its inode and generation. The image's and the overlay's files have a key of their inode and
 * of which disk it is.
 */
#ifndef BANGER_OFFLINE_SERVING_H
#define BANGER_OFFLINE_SERVING_H

#include <sys/queue.h>

#include "banger/agent_once.h"
#include "offline/volume.h"

#define SERVING_IMAGE 1 /* high 8 bits of keys */
#define SERVING_OVER  2

struct pin {
	LIST_ENTRY(pin) link;
	ext2_ino_t ino;
	unsigned count;
};

struct serving {
	struct volume *work;
	struct volume *image, *over; /* NULL: root/ is not served */
	ext2_ino_t upper;            /* of OVER: what is laid over the image */
	LIST_HEAD(, pin) pins[256];
	ext2_ino_t removed[AGENT_REMOVED_MAX]; /* folders without a name, pinned; 0: none */
	size_t removed_next;
	size_t unnamed; /* pinned without a name: as long as there are some the disk is not clean */
	struct once once;
	int once_fd; /* where it is written too, for the next child; 0: nowhere */
	uint8_t answer[AGENT_PAYLOAD_MAX];
};

/* Does the request H with its PAYLOAD and returns 0 with *RET_N bytes in ANSWER, or -errno. */
int serving_do(struct serving *s, const struct agent_header *h, const uint8_t *payload, size_t *ret_n);
/*
 * FD has the answers of the child before to requests that are done once, some of which nobody has heard: they are S's from here on, and S keeps its own there. FD
 * is borrowed, and above 0. What it holds is not trusted; where it can't be read, there are none.
 */
void serving_adopt(struct serving *s, int fd);
/* All that is open is no more: what has no name left goes. */
void serving_unpin_all(struct serving *s);
/* All that was changed is on the work disk, which is clean where nothing is pinned that e2fsck would have to clear away. */
int serving_settle(struct serving *s);

/* pins.c: files that are open outlive their names. */
int pin_add(struct serving *s, ext2_ino_t ino);
/* True: that was the last one. */
bool pin_drop(struct serving *s, ext2_ino_t ino);
bool pin_has(const struct serving *s, ext2_ino_t ino);
/* The folder INO is about to have no name: it stays until AGENT_REMOVED_MAX more have gone, for nobody tells who has it open. */
void pin_removed(struct serving *s, ext2_ino_t ino);

/* -ESTALE; -EOPNOTSUPP: root/ is not served. */
int serving_file(struct serving *s, struct file_id id, struct file *ret);
void serving_answer(struct serving *s, const void *data, size_t n, size_t *ret_n);
void serving_answer_attr(struct serving *s, const struct file *f, size_t *ret_n);
/* What DIR is like follows. */
void serving_answer_folder(struct serving *s, struct file *dir, size_t *ret_n);

/* dir.c: names in one folder of one disk. */
struct dir_entry {
	ext2_ino_t ino;
	uint8_t type;  /* EXT2_FT_* */
	uint64_t next; /* where the one after it begins, as dir_each() takes it */
	size_t name_size;
	const char *name; /* not NUL-terminated */
};
/* Calls FN with what DIR holds from byte FROM on, "." and ".." left out, as long as it returns 0; else returns what it returned. */
int dir_each(const struct file *dir, uint64_t from, int (*fn)(void *user, const struct dir_entry *entry),
	void *user);
/* -ENOENT. NAME ".." too. */
int dir_find(const struct file *dir, const char *name, ext2_ino_t *ret);
/* 0, -ENOTEMPTY */
int dir_is_empty(const struct file *dir);
/* The name isn't there yet. DIR is written, and read again. */
int dir_add(struct file *dir, const char *name, const struct file *f);
int dir_remove(struct file *dir, const char *name);
/* NAME, which is there, names F from now on. */
int dir_replace(struct file *dir, const char *name, const struct file *f);
int dir_set_parent(struct file *dir, const struct file *parent);

/* inode.c: made, and gone. */
/* An inode of MODE, with a type, near DIR, with no name yet; a folder has its "." and "..". */
int inode_make(struct file *dir, uint32_t mode, uint32_t uid, uint32_t gid, struct file *ret);
/* It has no name any more: it goes now, or when it is closed. */
int inode_unused(struct serving *s, struct file *f);

/* runs.c: where contents are. */
struct run {
	uint64_t block;    /* of the file */
	uint64_t count;    /* UINT64_MAX: to the end of all */
	uint64_t physical; /* 0: a hole */
	bool unwritten;    /* reads as zeros */
};
/* The run of F that BLOCK is in, from BLOCK on. */
int run_at(struct file *f, uint64_t block, struct run *ret);
int contents_read(struct file *f, uint64_t offset, void *to, size_t n);
/* N bytes AT bytes behind RUN's first, which is there and written. */
int contents_put(struct file *f, const struct run *run, uint64_t at, const void *from, size_t n);
/* Grows F; its times are the caller's. */
int contents_write(struct file *f, uint64_t offset, const void *from, size_t n);
/*
 * reserve.c: of the hole HOLE of F, which has a tree of extents, the first COUNT blocks get room; what is in them is the caller's where it is WRITTEN,
 * and reads as zeros else. All or nothing.
 */
int contents_reserve(struct file *f, const struct run *hole, uint64_t count, bool written);
/* F gets the SIZE. */
int contents_cut(struct file *f, uint64_t size);

/* merge.c: root/, the overlay over the image. */
/* NAME in the folder DIR of it. */
int merge_find(struct serving *s, struct file *dir, const char *name, struct file *ret);
int merge_each(struct serving *s, struct file *dir, uint64_t from,
	int (*fn)(void *user, struct file *at, const struct dir_entry *entry), void *user);

/* xattr.c: the attribute NAME, of at most SIZE bytes: how many, or -ENODATA, -ERANGE. */
int file_xattr(struct file *f, const char *name, char *to, size_t size);

/* The requests: names.c, data.c, list.c, xattr.c. */
typedef int serving_fn(struct serving *s, const struct file_request *q, size_t *ret_n);
serving_fn serve_lookup, serve_getattr, serve_setattr, serve_readlink, serve_mknod, serve_mkdir,
	serve_symlink, serve_link, serve_unlink, serve_rmdir, serve_rename, serve_open, serve_create,
	serve_release, serve_read, serve_write, serve_fsync, serve_readdir, serve_statfs, serve_getxattr,
	serve_setxattr, serve_listxattr, serve_removexattr, serve_fallocate, serve_lseek, serve_copy,
	serve_watch;

#endif
