#include <errno.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "guest/message.h"

#define TIMEOUT_MSEC 30000

void put(struct message *m, const void *data, size_t size)
{
	m->parts[m->n++] = (struct agent_part){data, size};
}

void put_copy(struct message *m, const void *value, size_t size)
{
	memcpy(m->room + m->used, value, size);
	put(m, m->room + m->used, size);
	m->used += size;
}

void put_u32(struct message *m, uint32_t v)
{
	put_copy(m, &v, sizeof(v));
}

void put_u64(struct message *m, uint64_t v)
{
	put_copy(m, &v, sizeof(v));
}

void put_file(struct message *m, struct file_ref file)
{
	uint32_t v[2] = {file.ino, file.tag};

	put_copy(m, v, sizeof(v));
}

void put_text(struct message *m, const char *text, size_t max)
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

void put_name(struct message *m, const char *name)
{
	put_text(m, name, MESSAGE_NAME_MAX);
}

bool attr_valid(const struct agent_attr *attr)
{
	switch (attr->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return attr->ino != 0 && attr->space <= AGENT_SPACE_TREE && attr->size <= INT64_MAX &&
		       attr->atime_nsec < 1000000000 && attr->mtime_nsec < 1000000000 &&
		       attr->ctime_nsec < 1000000000;
	default:
		return false;
	}
}

static void on_reply(void *user, int code, const void *data, size_t n)
{
	struct call *call = user;
	struct agent_attr attr[2];
	struct files_statfs st;
	uint64_t offset;
	uint32_t count;

	switch (call->kind) {
	case CALL_ATTR:
		if (code == 0 && n != sizeof(attr[0]) && n != sizeof(attr))
			code = -EPROTO;
		if (code == 0) {
			memcpy(attr, data, n);
			if (!attr_valid(&attr[0]) || (n == sizeof(attr) && !attr_valid(&attr[1])))
				code = -EPROTO;
			if (n != sizeof(attr))
				attr[0].flags &= ~AGENT_ATTR_FOLDER;
		}
		call->fn.attr(call->user, code, code == 0 ? attr : NULL);
		break;
	case CALL_DONE:
		call->fn.done(call->user, code);
		break;
	case CALL_TEXT:
		if (code == 0 && (n == 0 || memchr(data, '\0', n)))
			code = -EPROTO;
		/* fall through */
	case CALL_DATA:
		if (code == 0 && n > call->max)
			code = -EPROTO;
		call->fn.data(call->user, code, data, code == 0 ? n : 0);
		break;
	case CALL_COUNT:
		if (code == 0 && n != sizeof(count))
			code = -EPROTO;
		if (code == 0) {
			memcpy(&count, data, sizeof(count));
			code = count <= call->max ? 0 : -EPROTO;
		}
		call->fn.count(call->user, code, code == 0 ? count : 0);
		break;
	case CALL_STATFS:
		if (code == 0 && n != sizeof(st))
			code = -EPROTO;
		if (code == 0)
			memcpy(&st, data, sizeof(st));
		call->fn.statfs(call->user, code, code == 0 ? &st : NULL);
		break;
	case CALL_OFFSET:
		if (code == 0 && n != sizeof(offset))
			code = -EPROTO;
		if (code == 0) {
			memcpy(&offset, data, sizeof(offset));
			code = offset <= INT64_MAX ? 0 : -EPROTO;
		}
		call->fn.offset(call->user, code, code == 0 ? offset : 0);
		break;
	}
	free(call);
}

int message_send(struct agent *a, enum agent_type type, uint16_t flags, const struct message *m,
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
	r = agent_request(a, type, flags, m->parts, m->n, TIMEOUT_MSEC, on_reply, call, ret_id, NULL);
	if (r < 0)
		free(call);
	return r;
}
