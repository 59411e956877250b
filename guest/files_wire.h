/*
 * What the files' requests share: payloads taken apart, answers put together. One request is at work at a time.
 */
#ifndef BANGER_GUEST_FILES_WIRE_H
#define BANGER_GUEST_FILES_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/agent_input.h"
#include "banger/agent_proto.h"
#include "handle.h"

#define NAME_SIZE INPUT_NAME_SIZE

/* The file that is named, and an O_PATH descriptor of it, the caller's. -EINVAL, -ESTALE. */
int input_file(struct input *in, struct file_id *ret, int *ret_fd);

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
int fs_lookup(struct input *in, uint16_t flags, size_t *ret_n);
int fs_getattr(struct input *in, uint16_t flags, size_t *ret_n);
int fs_setattr(struct input *in, uint16_t flags, size_t *ret_n);
int fs_readlink(struct input *in, uint16_t flags, size_t *ret_n);
int fs_mknod(struct input *in, uint16_t flags, size_t *ret_n);
int fs_mkdir(struct input *in, uint16_t flags, size_t *ret_n);
int fs_symlink(struct input *in, uint16_t flags, size_t *ret_n);
int fs_link(struct input *in, uint16_t flags, size_t *ret_n);
int fs_unlink(struct input *in, uint16_t flags, size_t *ret_n);
int fs_rmdir(struct input *in, uint16_t flags, size_t *ret_n);
int fs_rename(struct input *in, uint16_t flags, size_t *ret_n);
int fs_open(struct input *in, uint16_t flags, size_t *ret_n);
int fs_create(struct input *in, uint16_t flags, size_t *ret_n);
int fs_release(struct input *in, uint16_t flags, size_t *ret_n);
int fs_read(struct input *in, uint16_t flags, size_t *ret_n);
int fs_write(struct input *in, uint16_t flags, size_t *ret_n);
int fs_fsync(struct input *in, uint16_t flags, size_t *ret_n);
int fs_readdir(struct input *in, uint16_t flags, size_t *ret_n);
int fs_statfs(struct input *in, uint16_t flags, size_t *ret_n);
int fs_getxattr(struct input *in, uint16_t flags, size_t *ret_n);
int fs_setxattr(struct input *in, uint16_t flags, size_t *ret_n);
int fs_listxattr(struct input *in, uint16_t flags, size_t *ret_n);
int fs_removexattr(struct input *in, uint16_t flags, size_t *ret_n);
int fs_fallocate(struct input *in, uint16_t flags, size_t *ret_n);
int fs_copy(struct input *in, uint16_t flags, size_t *ret_n);
int fs_lseek(struct input *in, uint16_t flags, size_t *ret_n);

#endif
