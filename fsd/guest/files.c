#include <errno.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "guest/files.h"

#define FILES_TIMEOUT_MSEC 30000
#define FILES_NAME_MAX     255
#define FILES_PARTS        12

/* What is to be done with an answer. */
struct call {
	enum { CALL_ATTR, CALL_DONE, CALL_DATA, CALL_COUNT, CALL_STATFS } kind;
	union {
		files_attr_fn attr;
		files_done_fn done;
		files_data_fn data;
		files_count_fn count;
		files_statfs_fn statfs;
	} fn;
	void *user;
};

/* A payload under way: little values are copied into ROOM, large ones are pointed at. */
struct message {
	struct agent_part parts[FILES_PARTS];
	size_t n;
	uint8_t room[128];
	size_t used;
	int error;
};

static void put(struct message *m, const void *data, size_t size)
{
	m->parts[m->n++] = (struct agent_part){data, size};
}

static void put_copy(struct message *m, const void *value, size_t size)
{
	memcpy(m->room + m->used, value, size);
	put(m, m->room + m->used, size);
	m->used += size;
}

static void put_u32(struct message *m, uint32_t v)
{
	put_copy(m, &v, sizeof(v));
}

static void put_u64(struct message *m, uint64_t v)
{
	put_copy(m, &v, sizeof(v));
}

static void put_file(struct message *m, struct file_ref file)
{
	uint32_t v[2] = {file.ino, file.tag};

	put_copy(m, v, sizeof(v));
}

static void put_text(struct message *m, const char *text, size_t max)
{
	size_t size = strlen(text);
	uint16_t length = (uint16_t)size;

	if (size > max) {
		m->error = -ENAMETOOLONG;
		return;
	}
	put_copy(m, &length, sizeof(length));
	put(m, text, size);
}

static void put_name(struct message *m, const char *name)
{
	put_text(m, name, FILES_NAME_MAX);
}

static bool attr_valid(const struct agent_attr *attr)
{
	switch (attr->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return attr->ino != 0 && attr->size <= INT64_MAX && attr->atime_nsec < 1000000000 &&
		       attr->mtime_nsec < 1000000000 && attr->ctime_nsec < 1000000000;
	default:
		return false;
	}
}

static void on_reply(void *user, int code, const void *data, size_t n)
{
	struct call *call = user;
	struct agent_attr attr;
	struct files_statfs st;
	uint32_t count;

	switch (call->kind) {
	case CALL_ATTR:
		if (code == 0 && n != sizeof(attr))
			code = -EPROTO;
		if (code == 0) {
			memcpy(&attr, data, sizeof(attr));
			code = attr_valid(&attr) ? 0 : -EPROTO;
		}
		call->fn.attr(call->user, code, code == 0 ? &attr : NULL);
		break;
	case CALL_DONE:
		call->fn.done(call->user, code);
		break;
	case CALL_DATA:
		call->fn.data(call->user, code, data, code == 0 ? n : 0);
		break;
	case CALL_COUNT:
		if (code == 0 && n != sizeof(count))
			code = -EPROTO;
		if (code == 0)
			memcpy(&count, data, sizeof(count));
		call->fn.count(call->user, code, code == 0 ? count : 0);
		break;
	case CALL_STATFS:
		if (code == 0 && n != sizeof(st))
			code = -EPROTO;
		if (code == 0)
			memcpy(&st, data, sizeof(st));
		call->fn.statfs(call->user, code, code == 0 ? &st : NULL);
		break;
	}
	free(call);
}

static int request(struct agent *a, enum agent_type type, uint16_t flags, const struct message *m,
	struct call what, uint32_t *ret_id)
{
	struct call *call;
	int r;

	if (m->error)
		return m->error;
	call = malloc(sizeof(*call));
	if (!call)
		return -ENOMEM;
	*call = what;
	r = agent_request(a, type, flags, m->parts, m->n, FILES_TIMEOUT_MSEC, on_reply, call, ret_id, NULL);
	if (r < 0)
		free(call);
	return r;
}

#define ATTR(f, u)   ((struct call){.kind = CALL_ATTR, .fn.attr = (f), .user = (u)})
#define DONE(f, u)   ((struct call){.kind = CALL_DONE, .fn.done = (f), .user = (u)})
#define DATA(f, u)   ((struct call){.kind = CALL_DATA, .fn.data = (f), .user = (u)})
#define COUNT(f, u)  ((struct call){.kind = CALL_COUNT, .fn.count = (f), .user = (u)})
#define STATFS(f, u) ((struct call){.kind = CALL_STATFS, .fn.statfs = (f), .user = (u)})

int files_lookup(struct agent *a, struct file_ref dir, const char *name, files_attr_fn fn, void *user,
	uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_name(&m, name);
	return request(a, AGENT_FS_LOOKUP, 0, &m, ATTR(fn, user), ret_id);
}

int files_getattr(struct agent *a, struct file_ref file, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return request(a, AGENT_FS_GETATTR, 0, &m, ATTR(fn, user), ret_id);
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
	return request(a, AGENT_FS_SETATTR, 0, &m, ATTR(fn, user), ret_id);
}

int files_readlink(struct agent *a, struct file_ref file, files_data_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return request(a, AGENT_FS_READLINK, 0, &m, DATA(fn, user), ret_id);
}

int files_mknod(struct agent *a, struct file_ref dir, const char *name, uint32_t mode, uint32_t rdev,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[4] = {mode, rdev, owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	return request(a, AGENT_FS_MKNOD, 0, &m, ATTR(fn, user), ret_id);
}

int files_mkdir(struct agent *a, struct file_ref dir, const char *name, uint32_t mode,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[3] = {mode, owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	return request(a, AGENT_FS_MKDIR, 0, &m, ATTR(fn, user), ret_id);
}

int files_symlink(struct agent *a, struct file_ref dir, const char *name, const char *target,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[2] = {owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	put_text(&m, target, 4095);
	return request(a, AGENT_FS_SYMLINK, 0, &m, ATTR(fn, user), ret_id);
}

int files_link(struct agent *a, struct file_ref file, struct file_ref dir, const char *name, files_attr_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_file(&m, dir);
	put_name(&m, name);
	return request(a, AGENT_FS_LINK, 0, &m, ATTR(fn, user), ret_id);
}

static int remove_name(struct agent *a, enum agent_type type, struct file_ref dir, const char *name,
	files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_name(&m, name);
	return request(a, type, 0, &m, DONE(fn, user), ret_id);
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
	return request(a, AGENT_FS_RENAME, 0, &m, DONE(fn, user), ret_id);
}

int files_open(
	struct agent *a, struct file_ref file, uint32_t flags, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u32(&m, flags);
	return request(a, AGENT_FS_OPEN, 0, &m, ATTR(fn, user), ret_id);
}

int files_create(struct agent *a, struct file_ref dir, const char *name, uint32_t flags, uint32_t mode,
	struct files_owner owner, files_attr_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};
	uint32_t v[4] = {flags, mode, owner.uid, owner.gid};

	put_file(&m, dir);
	put_copy(&m, v, sizeof(v));
	put_name(&m, name);
	return request(a, AGENT_FS_CREATE, 0, &m, ATTR(fn, user), ret_id);
}

int files_release(struct agent *a, struct file_ref file, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	return request(a, AGENT_FS_RELEASE, 0, &m, DONE(fn, user), ret_id);
}

int files_read(struct agent *a, struct file_ref file, uint64_t offset, uint32_t size, files_data_fn fn,
	void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u64(&m, offset);
	put_u32(&m, size);
	return request(a, AGENT_FS_READ, 0, &m, DATA(fn, user), ret_id);
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
	return request(a, AGENT_FS_WRITE, 0, &m, COUNT(fn, user), ret_id);
}

int files_fsync(
	struct agent *a, struct file_ref file, bool datasync, files_done_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, file);
	put_u32(&m, datasync);
	return request(a, AGENT_FS_FSYNC, 0, &m, DONE(fn, user), ret_id);
}

int files_readdir(struct agent *a, struct file_ref dir, uint64_t cookie, uint32_t size, bool plus,
	files_data_fn fn, void *user, uint32_t *ret_id)
{
	struct message m = {0};

	put_file(&m, dir);
	put_u64(&m, cookie);
	put_u32(&m, size);
	return request(a, AGENT_FS_READDIR, plus ? AGENT_READDIR_PLUS : 0, &m, DATA(fn, user), ret_id);
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
	if (size > *n || length == 0 || length > FILES_NAME_MAX)
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
	return request(a, AGENT_FS_STATFS, 0, &m, STATFS(fn, user), ret_id);
}
