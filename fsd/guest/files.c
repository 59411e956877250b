#include <errno.h>

#include "banger/cleanup.h"
#include "guest/message.h"

#define TARGET_MAX 4095

int files_lookup(struct agent *a, struct file_ref dir, const char *name, files_attr_fn fn, void *user,
	uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_name(&m, name);
	return message_send(a, AGENT_FS_LOOKUP, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_getattr(struct agent *a, struct file_ref file, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return message_send(a, AGENT_FS_GETATTR, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_setattr(struct agent *a, struct file_ref file, const struct files_change *change, files_attr_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[4] = {change->valid, change->mode, change->uid, change->gid};

	put_file(&m, file);
	put_copy(&m, v, sizeof(v));
	put_u64(&m, change->size);
	put_u64(&m, (uint64_t)change->atime.tv_sec);
	put_u32(&m, (uint32_t)change->atime.tv_nsec);
	put_u64(&m, (uint64_t)change->mtime.tv_sec);
	put_u32(&m, (uint32_t)change->mtime.tv_nsec);
	return message_send(a, AGENT_FS_SETATTR, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_readlink(struct agent *a, struct file_ref file, files_data_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return message_send(a, AGENT_FS_READLINK, 0, &m, CALL_FOR_TEXT(fn, user, TARGET_MAX), ret_id);
}

int files_mknod(struct agent *a, struct file_ref dir, const char *name, uint32_t mode, uint32_t rdev,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[4] = {mode, rdev, owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	return message_send(a, AGENT_FS_MKNOD, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_mkdir(struct agent *a, struct file_ref dir, const char *name, uint32_t mode,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[3] = {mode, owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	return message_send(a, AGENT_FS_MKDIR, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_symlink(struct agent *a, struct file_ref dir, const char *name, const char *target,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[2] = {owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	put_text(&m, target, TARGET_MAX);
	return message_send(a, AGENT_FS_SYMLINK, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_link(struct agent *a, struct file_ref file, struct file_ref dir, const char *name, files_attr_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_file(&m, dir);
	put_name(&m, name);
	return message_send(a, AGENT_FS_LINK, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

static int remove_name(struct agent *a, enum agent_type type, struct file_ref dir, const char *name,
	files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_name(&m, name);
	return message_send(a, type, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_unlink(struct agent *a, struct file_ref dir, const char *name, files_done_fn fn, void *user,
	uint32_t *ret_id)
{
	return remove_name(a, AGENT_FS_UNLINK, dir, name, fn, user, ret_id);
}

int files_rmdir(struct agent *a, struct file_ref dir, const char *name, files_done_fn fn, void *user,
	uint32_t *ret_id)
{
	return remove_name(a, AGENT_FS_RMDIR, dir, name, fn, user, ret_id);
}

int files_rename(struct agent *a, struct file_ref dir, const char *name, struct file_ref newdir,
	const char *newname, uint32_t flags, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_file(&m, newdir);
	put_u32(&m, flags);
	put_name(&m, name);
	put_name(&m, newname);
	return message_send(a, AGENT_FS_RENAME, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_open(
	struct agent *a, struct file_ref file, uint32_t flags, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u32(&m, flags);
	return message_send(a, AGENT_FS_OPEN, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_create(struct agent *a, struct file_ref dir, const char *name, uint32_t flags, uint32_t mode,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[4] = {flags, mode, owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	return message_send(a, AGENT_FS_CREATE, 0, &m, CALL_FOR_ATTR(fn, user), ret_id);
}

int files_release(struct agent *a, struct file_ref file, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return message_send(a, AGENT_FS_RELEASE, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_read(struct agent *a, struct file_ref file, uint64_t offset, uint32_t size, files_data_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};

	if (size > FILES_IO_MAX)
		return -EMSGSIZE;
	put_file(&m, file);
	put_u64(&m, offset);
	put_u32(&m, size);
	return message_send(a, AGENT_FS_READ, 0, &m, CALL_FOR_DATA(fn, user, size), ret_id);
}

int files_write(struct agent *a, struct file_ref file, uint64_t offset, const void *data, uint32_t size,
	bool append, files_count_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	if (size > FILES_IO_MAX)
		return -EMSGSIZE;
	put_file(&m, file);
	put_u64(&m, offset);
	put_u32(&m, append ? AGENT_WRITE_APPEND : 0);
	put(&m, data, size);
	return message_send(a, AGENT_FS_WRITE, 0, &m, CALL_FOR_COUNT(fn, user, size), ret_id);
}

int files_fsync(
	struct agent *a, struct file_ref file, bool datasync, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u32(&m, datasync);
	return message_send(a, AGENT_FS_FSYNC, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_readdir(struct agent *a, struct file_ref dir, uint64_t cookie, uint32_t size, bool plus,
	files_data_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_u64(&m, cookie);
	put_u32(&m, size);
	return message_send(a, AGENT_FS_READDIR, plus ? AGENT_READDIR_PLUS : 0, &m,
		CALL_FOR_DATA(fn, user, size), ret_id);
}

int files_dirent_next(const void **data, size_t *n, bool plus, struct files_dirent *ret)
{
	const uint8_t *p = *data;
	const size_t fixed = 8 + 4 + 4 + 1 + 1 + 2;
	struct files_dirent d = {0};
	uint16_t length;
	size_t size;

	if (*n == 0)
		return 0;
	if (*n < fixed)
		return -EPROTO;
	memcpy(&d.next, p, 8);
	memcpy(&d.file.ino, p + 8, 4);
	memcpy(&d.file.tag, p + 12, 4);
	d.type = p[16];
	memcpy(&length, p + 18, 2);
	size = fixed + length + (plus ? sizeof(d.attr) : 0);
	if (size > *n || length == 0 || length > MESSAGE_NAME_MAX)
		return -EPROTO;
	d.name = (const char *)p + fixed;
	d.name_size = length;
	if (memchr(d.name, '/', length) || memchr(d.name, '\0', length) ||
		(d.name[0] == '.' && (length == 1 || (length == 2 && d.name[1] == '.'))))
		return -EPROTO;
	if (plus) {
		memcpy(&d.attr, p + fixed + length, sizeof(d.attr));
		if (!attr_valid(&d.attr))
			return -EPROTO;
	}
	*data = p + size;
	*n -= size;
	*ret = d;
	return 1;
}

int files_statfs(struct agent *a, struct file_ref file, files_statfs_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return message_send(a, AGENT_FS_STATFS, 0, &m, CALL_FOR_STATFS(fn, user), ret_id);
}
