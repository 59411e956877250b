/* Extended attributes, holes, preallocation, copies and changes of the guest's files. */
#include <errno.h>

#include "banger/cleanup.h"
#include "guest/message.h"

int files_getxattr(struct agent *a, struct file_ref file, const char *name, uint32_t size, files_data_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};

	if (size == 0)
		return -EINVAL;
	if (size > FILES_XATTR_MAX)
		size = FILES_XATTR_MAX;
	put_file(&m, file);
	put_u32(&m, size);
	put_name(&m, name);
	return message_send(a, AGENT_FS_GETXATTR, 0, &m, CALL_FOR_DATA(fn, user, size), ret_id);
}

int files_setxattr(struct agent *a, struct file_ref file, const char *name, const void *value, uint32_t size,
	uint32_t flags, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	if (size > FILES_XATTR_MAX)
		return -E2BIG;
	put_file(&m, file);
	put_u32(&m, flags);
	put_name(&m, name);
	put_u32(&m, size);
	put(&m, value, size);
	return message_send(a, AGENT_FS_SETXATTR, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_listxattr(struct agent *a, struct file_ref file, files_data_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return message_send(a, AGENT_FS_LISTXATTR, 0, &m, CALL_FOR_DATA(fn, user, FILES_XATTR_MAX), ret_id);
}

int files_removexattr(struct agent *a, struct file_ref file, const char *name, files_done_fn fn, void *user,
	uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_name(&m, name);
	return message_send(a, AGENT_FS_REMOVEXATTR, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_fallocate(struct agent *a, struct file_ref file, uint32_t mode, uint64_t offset, uint64_t length,
	files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u32(&m, mode);
	put_u64(&m, offset);
	put_u64(&m, length);
	return message_send(a, AGENT_FS_FALLOCATE, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

int files_copy(struct agent *a, struct file_ref from, uint64_t from_offset, struct file_ref to,
	uint64_t to_offset, uint64_t size, files_count_fn fn, void *user, uint32_t *ret_id)
{
	uint32_t n = (uint32_t)(size < FILES_COPY_MAX ? size : FILES_COPY_MAX);
	struct message m = {0};

	put_file(&m, from);
	put_file(&m, to);
	put_u64(&m, from_offset);
	put_u64(&m, to_offset);
	put_u32(&m, n);
	return message_send(a, AGENT_FS_COPY, 0, &m, CALL_FOR_COUNT(fn, user, n), ret_id);
}

int files_watch(
	struct agent *a, bool fresh, agent_event_fn changed, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_u32(&m, fresh);
	agent_on_changed(a, changed, user);
	return message_send(a, AGENT_FS_WATCH, 0, &m, CALL_FOR_DONE(fn, user), ret_id);
}

static int take(const void **data, size_t *n, void *to, size_t size)
{
	if (*n == 0)
		return 0;
	if (*n < size)
		return -EPROTO;
	memcpy(to, *data, size);
	*data = (const uint8_t *)*data + size;
	*n -= size;
	return 1;
}

int files_changed_flags(const void **data, size_t *n, uint32_t *ret, struct files_names *ret_names)
{
	int r = take(data, n, ret, sizeof(*ret));
	size_t names = r > 0 ? (*ret >> AGENT_CHANGED_NAMED_SHIFT) * sizeof(struct agent_changed_name) : 0;

	if (r <= 0)
		return r;
	if (names > *n)
		return -EPROTO;
	*n -= names;
	*ret_names = (struct files_names){(const uint8_t *)*data + *n, names};
	return 1;
}

int files_changed_next(const void **data, size_t *n, struct file_ref *ret)
{
	return take(data, n, ret, sizeof(*ret));
}

int files_changed_name(struct files_names *names, struct file_ref *ret, uint64_t *ret_hash)
{
	struct agent_changed_name name;
	int r = take(&names->data, &names->n, &name, sizeof(name));

	if (r > 0) {
		*ret = (struct file_ref){name.ino, name.tag};
		*ret_hash = name.hash;
	}
	return r;
}

int files_lseek(struct agent *a, struct file_ref file, uint64_t offset, uint32_t whence, files_offset_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u64(&m, offset);
	put_u32(&m, whence);
	return message_send(a, AGENT_FS_LSEEK, 0, &m, CALL_FOR_OFFSET(fn, user), ret_id);
}
