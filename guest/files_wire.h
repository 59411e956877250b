/*
 * What the files' requests share: answers put together. One request is at work at a time.
 */
#ifndef BANGER_GUEST_FILES_WIRE_H
#define BANGER_GUEST_FILES_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/agent_request.h"
#include "handle.h"

/* The answer's payload. */
extern uint8_t files_answer[AGENT_PAYLOAD_MAX];
/* Its attributes are the answer; *RET_N: the answer's length. */
int files_answer_attr(struct file_id id, int fd, size_t *ret_n);
int files_answer_attr_at(struct file_id dir, int dir_fd, const char *name, size_t *ret_n);

/* The attributes of the folder in which it was made follow. */
void files_answer_folder(struct file_id dir, int dir_fd, size_t *ret_n);

/* The group of what is made in DIR by one of group GID: as fchown(2) takes it; a folder with its set-group-ID bit hands its own down. */
uint32_t files_group(int dir, uint32_t gid);
/* What calls that take no descriptor of O_PATH are given. */
void files_proc_path(int fd, char ret[32]);

/*
 * AGENT_FS_*, one each (banger/agent_proto.h): 0 with the answer's length in *RET_N (0 before), or -errno. files_names.c, files_data.c, files_list.c and
 * files_xattr.c.
 */
typedef int request_fn(const struct file_request *q, size_t *ret_n);
request_fn fs_lookup, fs_getattr, fs_setattr, fs_readlink, fs_mknod, fs_mkdir, fs_symlink, fs_link, fs_unlink,
	fs_rmdir, fs_rename, fs_open, fs_create, fs_release, fs_read, fs_write, fs_fsync, fs_readdir,
	fs_statfs, fs_getxattr, fs_setxattr, fs_listxattr, fs_removexattr, fs_fallocate, fs_copy, fs_lseek;

#endif
