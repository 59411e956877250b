#include "banger/agent_request.h"

#include <errno.h>
#include <string.h>

#include "banger/cleanup.h"

#define FIELDS_MAX 8

/* How a field is written. */
enum form {
	FORM_ID,
	FORM_U32,
	FORM_WIDE, /* u32, kept in 64 bits */
	FORM_U64,
	FORM_OFFSET, /* u64, in a file */
	FORM_TIME,   /* s64 seconds, u32 nanoseconds */
	FORM_NAME,
	FORM_TARGET,
	FORM_VALUE, /* u32 length, and as many bytes to the end */
	FORM_REST,
};

enum field {
	NONE,
	ID,
	TO,
	HOW,
	MODE,
	RDEV,
	UID,
	GID,
	OFFSET,
	COOKIE,
	TO_OFFSET,
	SIZE,
	LENGTH,
	ATIME,
	MTIME,
	NAME,
	TO_NAME,
	TARGET,
	VALUE,
	REST,
};

#define AT(member) offsetof(struct file_request, member)
static const struct {
	enum form form;
	size_t at;
} fields[] = {
	[ID] = {FORM_ID, AT(file)},
	[TO] = {FORM_ID, AT(to)},
	[HOW] = {FORM_U32, AT(how)},
	[MODE] = {FORM_U32, AT(mode)},
	[RDEV] = {FORM_U32, AT(rdev)},
	[UID] = {FORM_U32, AT(uid)},
	[GID] = {FORM_U32, AT(gid)},
	[OFFSET] = {FORM_OFFSET, AT(offset)},
	[COOKIE] = {FORM_U64, AT(offset)},
	[TO_OFFSET] = {FORM_OFFSET, AT(to_offset)},
	[SIZE] = {FORM_WIDE, AT(size)},
	[LENGTH] = {FORM_U64, AT(size)},
	[ATIME] = {FORM_TIME, AT(times[0])},
	[MTIME] = {FORM_TIME, AT(times[1])},
	[NAME] = {FORM_NAME, AT(name)},
	[TO_NAME] = {FORM_NAME, AT(to_name)},
	[TARGET] = {FORM_TARGET, AT(target)},
	[VALUE] = {FORM_VALUE, AT(data)},
	[REST] = {FORM_REST, AT(data)},
};

static const uint8_t layouts[][FIELDS_MAX] = {
	[AGENT_FS_LOOKUP] = {ID, NAME},
	[AGENT_FS_GETATTR] = {ID},
	[AGENT_FS_SETATTR] = {ID, HOW, MODE, UID, GID, LENGTH, ATIME, MTIME},
	[AGENT_FS_READLINK] = {ID},
	[AGENT_FS_MKNOD] = {ID, MODE, RDEV, UID, GID, NAME},
	[AGENT_FS_MKDIR] = {ID, MODE, UID, GID, NAME},
	[AGENT_FS_SYMLINK] = {ID, UID, GID, NAME, TARGET},
	[AGENT_FS_LINK] = {ID, TO, NAME},
	[AGENT_FS_UNLINK] = {ID, NAME},
	[AGENT_FS_RMDIR] = {ID, NAME},
	[AGENT_FS_RENAME] = {ID, TO, HOW, NAME, TO_NAME},
	[AGENT_FS_OPEN] = {ID, HOW},
	[AGENT_FS_CREATE] = {ID, HOW, MODE, UID, GID, NAME},
	[AGENT_FS_RELEASE] = {ID},
	[AGENT_FS_READ] = {ID, OFFSET, SIZE},
	[AGENT_FS_WRITE] = {ID, OFFSET, HOW, REST},
	[AGENT_FS_FSYNC] = {ID, HOW},
	[AGENT_FS_READDIR] = {ID, COOKIE, SIZE},
	[AGENT_FS_STATFS] = {ID},
	[AGENT_FS_GETXATTR] = {ID, SIZE, NAME},
	[AGENT_FS_SETXATTR] = {ID, HOW, NAME, VALUE},
	[AGENT_FS_LISTXATTR] = {ID},
	[AGENT_FS_REMOVEXATTR] = {ID, NAME},
	[AGENT_FS_FALLOCATE] = {ID, MODE, OFFSET, LENGTH},
	[AGENT_FS_LSEEK] = {ID, COOKIE, HOW},
	[AGENT_FS_COPY] = {ID, TO, OFFSET, TO_OFFSET, SIZE},
	[AGENT_FS_WATCH] = {HOW},
};

struct input {
	const uint8_t *at;
	size_t left;
};

static int take(struct input *in, void *to, size_t n)
{
	if (in->left < n)
		return -EINVAL;
	memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
	return 0;
}

/* u16 length and bytes, to a string with a NUL. */
static int take_text(struct input *in, char *to, size_t size)
{
	uint16_t n;

	if (take(in, &n, sizeof(n)) < 0 || n == 0 || n >= size || n > in->left || memchr(in->at, '\0', n))
		return -EINVAL;
	to[n] = '\0';
	return take(in, to, n);
}

static int take_name(struct input *in, char *to)
{
	int r = take_text(in, to, REQUEST_NAME_SIZE);

	return r < 0 || strchr(to, '/') || strcmp(to, ".") == 0 || strcmp(to, "..") == 0 ? -EINVAL : 0;
}

static int take_offset(struct input *in, uint64_t *to)
{
	return take(in, to, sizeof(*to)) < 0 || *to > INT64_MAX ? -EINVAL : 0;
}

static int take_wide(struct input *in, uint64_t *to)
{
	uint32_t v = 0;
	int r = take(in, &v, sizeof(v));

	*to = v;
	return r;
}

static int take_time(struct input *in, struct timespec *to)
{
	int64_t seconds = 0;
	uint32_t nsec = 0;
	int r = take(in, &seconds, sizeof(seconds));

	if (r == 0)
		r = take(in, &nsec, sizeof(nsec));
	*to = (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)nsec};
	return r;
}

/* FNV-1a */
static uint64_t sum_of(const uint8_t *data, size_t n)
{
	uint64_t sum = 0xcbf29ce484222325;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ data[i]) * 0x100000001b3;
	return sum;
}

static int take_rest(struct input *in, struct file_request *q)
{
	q->data = in->at;
	q->data_size = in->left;
	in->left = 0;
	return 0;
}

static int take_value(struct input *in, struct file_request *q)
{
	uint32_t n;

	return take(in, &n, sizeof(n)) < 0 || n != in->left ? -EINVAL : take_rest(in, q);
}

static int take_field(struct input *in, enum field field, struct file_request *q)
{
	void *to = (char *)q + fields[field].at;

	switch (fields[field].form) {
	case FORM_ID:
		return take(in, to, sizeof(struct file_id));
	case FORM_U32:
		return take(in, to, sizeof(uint32_t));
	case FORM_WIDE:
		return take_wide(in, to);
	case FORM_U64:
		return take(in, to, sizeof(uint64_t));
	case FORM_OFFSET:
		return take_offset(in, to);
	case FORM_TIME:
		return take_time(in, to);
	case FORM_NAME:
		return take_name(in, to);
	case FORM_TARGET:
		return take_text(in, to, REQUEST_TARGET_SIZE);
	case FORM_VALUE:
		return take_value(in, q);
	case FORM_REST:
		return take_rest(in, q);
	}
	return -EINVAL;
}

int request_decode(const struct agent_header *h, const uint8_t *payload, struct file_request *ret)
{
	struct input in = {.at = payload, .left = h->length};
	int r = 0;

	if (h->type >= ELEMENTSOF(layouts) || layouts[h->type][0] == NONE)
		return -EOPNOTSUPP;
	*ret = (struct file_request){.type = h->type, .flags = h->code & (uint16_t)~AGENT_ONCE};
	if (h->code & AGENT_ONCE) {
		if (in.left < sizeof(ret->token))
			return -EINVAL;
		in.left -= sizeof(ret->token);
		memcpy(&ret->token, in.at + in.left, sizeof(ret->token));
		ret->sum = sum_of(payload, h->length);
		ret->once = true;
	}
	for (size_t i = 0; r == 0 && i < FIELDS_MAX && layouts[h->type][i] != NONE; i++)
		r = take_field(&in, layouts[h->type][i], ret);
	return r;
}
