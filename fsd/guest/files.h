/*
 * Files in the guest: a typed call per AGENT_FS_* request. Asynchronous; each callback is called exactly once, on the loop, with 0
 * or -errno (the guest's, or as in agent.h). What the guest answers is checked before a callback sees it. Every call: 0 or -errno when
 * nothing was sent (no callback then). *RET_ID (may be NULL) is for agent_forget().
 */
#ifndef BANGER_FILES_H
#define BANGER_FILES_H

#include <sys/types.h>

#include "guest/agent.h"

/* Bytes in one READ, WRITE or READDIR at most (-EMSGSIZE); larger ones are the caller's to split. */
#define FILES_IO_MAX (AGENT_PAYLOAD_MAX - 64)

struct file_ref {
	uint32_t ino, tag; /* as in agent_proto.h: {0, 0} the workspace */
};

/* With AGENT_ATTR_FOLDER in ATTR's flags, ATTR[1] is what the folder is like in which a name was made. */
typedef void (*files_attr_fn)(void *user, int code, const struct agent_attr *attr);
typedef void (*files_done_fn)(void *user, int code);
typedef void (*files_data_fn)(void *user, int code, const void *data, size_t n); /* borrowed for the call */

int files_lookup(struct agent *a, struct file_ref dir, const char *name, files_attr_fn fn, void *user,
	uint32_t *ret_id);
int files_getattr(struct agent *a, struct file_ref file, files_attr_fn fn, void *user, uint32_t *ret_id);

struct files_change {
	uint32_t valid; /* AGENT_SET_* */
	uint32_t mode, uid, gid;
	uint64_t size;
	struct timespec atime, mtime; /* tv_nsec may be UTIME_NOW or UTIME_OMIT */
};
int files_setattr(struct agent *a, struct file_ref file, const struct files_change *change, files_attr_fn fn,
	void *user, uint32_t *ret_id);
/* The target: 1 to 4095 bytes, no NUL; never to be resolved on the host. */
int files_readlink(struct agent *a, struct file_ref file, files_data_fn fn, void *user, uint32_t *ret_id);

/* Owner of what is made. */
struct files_owner {
	uint32_t uid, gid;
};
int files_mknod(struct agent *a, struct file_ref dir, const char *name, uint32_t mode, uint32_t rdev,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id);
int files_mkdir(struct agent *a, struct file_ref dir, const char *name, uint32_t mode,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id);
int files_symlink(struct agent *a, struct file_ref dir, const char *name, const char *target,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id);
int files_link(struct agent *a, struct file_ref file, struct file_ref dir, const char *name, files_attr_fn fn,
	void *user, uint32_t *ret_id);
int files_unlink(struct agent *a, struct file_ref dir, const char *name, files_done_fn fn, void *user,
	uint32_t *ret_id);
int files_rmdir(struct agent *a, struct file_ref dir, const char *name, files_done_fn fn, void *user,
	uint32_t *ret_id);
int files_rename(struct agent *a, struct file_ref dir, const char *name, struct file_ref newdir,
	const char *newname, uint32_t flags, files_done_fn fn, void *user, uint32_t *ret_id);

/* FLAGS as of open(2); a pin that files_release() takes away. */
int files_open(struct agent *a, struct file_ref file, uint32_t flags, files_attr_fn fn, void *user,
	uint32_t *ret_id);
int files_create(struct agent *a, struct file_ref dir, const char *name, uint32_t flags, uint32_t mode,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id);
int files_release(struct agent *a, struct file_ref file, files_done_fn fn, void *user, uint32_t *ret_id);

/* SIZE at most FILES_IO_MAX. Fewer bytes than asked: the end of the file. */
int files_read(struct agent *a, struct file_ref file, uint64_t offset, uint32_t size, files_data_fn fn,
	void *user, uint32_t *ret_id);
typedef void (*files_count_fn)(void *user, int code, uint32_t n);
int files_write(struct agent *a, struct file_ref file, uint64_t offset, const void *data, uint32_t size,
	bool append, files_count_fn fn, void *user, uint32_t *ret_id);
int files_fsync(
	struct agent *a, struct file_ref file, bool datasync, files_done_fn fn, void *user, uint32_t *ret_id);

/* A folder's entries from COOKIE on (0: the first); the data is walked with files_dirent_next(). Empty data: the end. */
int files_readdir(struct agent *a, struct file_ref dir, uint64_t cookie, uint32_t size, bool plus,
	files_data_fn fn, void *user, uint32_t *ret_id);
struct files_dirent {
	uint64_t next; /* cookie to go on after this entry */
	struct file_ref file;
	uint8_t type;     /* DT_* */
	const char *name; /* not NUL-terminated */
	size_t name_size;
	struct agent_attr attr; /* with PLUS */
};
/* 1: *RET is the entry at *DATA, which is moved on; 0: no more; -EPROTO: garbage. */
int files_dirent_next(const void **data, size_t *n, bool plus, struct files_dirent *ret);

struct files_statfs {
	uint64_t blocks, bfree, bavail, files, ffree;
	uint32_t bsize, namelen;
};
typedef void (*files_statfs_fn)(void *user, int code, const struct files_statfs *st);
int files_statfs(struct agent *a, struct file_ref file, files_statfs_fn fn, void *user, uint32_t *ret_id);

/* Extended attributes: user.* only are written (-EPERM). Values and lists are FILES_XATTR_MAX at most, as the kernel's. */
#define FILES_XATTR_MAX 65536
/* SIZE: 1 or more bytes that may come; -ERANGE when the value is longer. */
int files_getxattr(struct agent *a, struct file_ref file, const char *name, uint32_t size, files_data_fn fn,
	void *user, uint32_t *ret_id);
int files_setxattr(struct agent *a, struct file_ref file, const char *name, const void *value, uint32_t size,
	uint32_t flags, files_done_fn fn, void *user, uint32_t *ret_id);
/* NUL-terminated names, as the guest says them: not checked. */
int files_listxattr(struct agent *a, struct file_ref file, files_data_fn fn, void *user, uint32_t *ret_id);
int files_removexattr(struct agent *a, struct file_ref file, const char *name, files_done_fn fn, void *user,
	uint32_t *ret_id);

int files_fallocate(struct agent *a, struct file_ref file, uint32_t mode, uint64_t offset, uint64_t length,
	files_done_fn fn, void *user, uint32_t *ret_id);
/* At most FILES_COPY_MAX at a time: the guest has other things to do. */
#define FILES_COPY_MAX (8u << 20)
int files_copy(struct agent *a, struct file_ref from, uint64_t from_offset, struct file_ref to,
	uint64_t to_offset, uint64_t size, files_count_fn fn, void *user, uint32_t *ret_id);
/* WHENCE: SEEK_DATA, SEEK_HOLE. */
typedef void (*files_offset_fn)(void *user, int code, uint64_t offset);
int files_lseek(struct agent *a, struct file_ref file, uint64_t offset, uint32_t whence, files_offset_fn fn,
	void *user, uint32_t *ret_id);

/*
 * FRESH: nothing that was opened earlier is open any more. CHANGED is called with what others change on the work disk (files_changed_next()), until the agent goes. FN: -EOPNOTSUPP: the guest's kernel does not
 * tell, and CHANGED is not called.
 */
int files_watch(
	struct agent *a, bool fresh, agent_event_fn changed, files_done_fn fn, void *user, uint32_t *ret_id);
/*
 * Of what CHANGED is given: flags (AGENT_CHANGED_*); then a file each; with AGENT_CHANGED_NAMED from *NAMES, which the flags set, a folder and the
 * agent_name_hash() of what has come or gone in it. -EPROTO: garbage. 1: *RET is set; 0: no more.
 */
struct files_names {
	const void *data;
	size_t n;
};
int files_changed_flags(const void **data, size_t *n, uint32_t *ret, struct files_names *ret_names);
int files_changed_next(const void **data, size_t *n, struct file_ref *ret);
int files_changed_name(struct files_names *names, struct file_ref *ret, uint64_t *ret_hash);

#endif
