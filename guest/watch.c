#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fanotify.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "handle.h"

/* A file changed through a shared mapping is not seen before it is closed. */
#define CONTENTS (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE)
#define NAMES    (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_DELETE_SELF | FAN_MOVE_SELF)
#define GONE     (FAN_DELETE | FAN_MOVED_FROM)
#define COME     (FAN_CREATE | FAN_MOVED_TO)

#define TOLD_MAX  4096 /* files a frame */
#define NAMES_MAX 1024 /* names */

/* Between two looks at what nobody waits for: else each of a thousand files that are unpacked costs a change to the agent and back. */
#define QUIET_USEC 10000

static int fan = -EBADF;
static uint64_t quiet_until;

static struct {
	uint32_t flags;
	struct file_id files[TOLD_MAX];
} told;
static size_t told_count;
static struct agent_changed_name names[NAMES_MAX];
static size_t name_count;
static bool unnamed; /* a name has come or gone that isn't among them */

static int init(unsigned report)
{
	return (int)syscall(
		SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | report, O_RDONLY);
}

int watch_begin(int root_fd)
{
	_cleanup_close_ int fd = -EBADF;

	if (fan >= 0)
		return 0;
	fd = init(FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME);
	/* Before Linux 5.9: names aren't told. */
	if (fd < 0)
		fd = init(FAN_REPORT_FID);
	if (fd < 0 || syscall(SYS_fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM,
			      (uint64_t)(CONTENTS | NAMES | FAN_ONDIR), root_fd, NULL) < 0)
		return -EOPNOTSUPP;
	fan = TAKE_FD(fd);
	return 0;
}

void watch_end(void)
{
	close_fd(fan);
	fan = -EBADF;
}

int watch_fd(void)
{
	return fan >= 0 && io_now_usec() >= quiet_until ? fan : -1;
}

uint64_t watch_deadline(void)
{
	return fan >= 0 && io_now_usec() < quiet_until ? quiet_until : 0;
}

static void send(struct channel *c)
{
	if (name_count > 0 && !unnamed)
		told.flags |= AGENT_CHANGED_NAMED;
	told.flags |= (uint32_t)name_count << AGENT_CHANGED_NAMED_SHIFT;
	if (told_count > 0 || told.flags)
		channel_send(c, AGENT_FS_CHANGED, 0, 0, &told,
			sizeof(told.flags) + told_count * sizeof(told.files[0]), names,
			name_count * sizeof(names[0]));
	told_count = name_count = 0;
	told.flags = 0;
	unnamed = false;
}

static void add(struct channel *c, struct file_id id)
{
	/* Most events follow others of the same file. */
	for (size_t i = told_count; i > 0 && told_count - i < 8; i--)
		if (told.files[i - 1].ino == id.ino && told.files[i - 1].tag == id.tag)
			return;
	if (told_count == TOLD_MAX)
		send(c);
	told.files[told_count++] = id;
}

/* A name in the folder ID, which is told of already, has come or gone, as FLAGS say. */
static void add_name(struct channel *c, struct file_id id, const char *name, uint32_t flags)
{
	if (name_count == NAMES_MAX)
		send(c);
	told.flags |= flags;
	names[name_count++] = (struct agent_changed_name){id.ino, id.tag, agent_name_hash(name)};
}

/* One of the files that an event is about; FLAGS: which names it says have come or gone. *RET_NAMED: and of which. False: it isn't understood. */
static bool on_file(
	struct channel *c, const struct fanotify_event_info_fid *info, uint32_t flags, bool *ret_named)
{
	const char *end = (const char *)info + info->hdr.len, *name;
	struct file_handle head;
	struct file_id id;

	if (info->hdr.len < sizeof(*info) + sizeof(head) || handle_id(info->handle, &id) < 0)
		return false;
	if (info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME) {
		add(c, id);
		return true;
	}
	memcpy(&head, info->handle, sizeof(head));
	name = (const char *)info->handle + sizeof(head) + head.handle_bytes;
	if (name >= end || !memchr(name, '\0', (size_t)(end - name)))
		return false;
	/* The folder of a file that isn't told of for its name has not changed. */
	if (flags || strcmp(name, ".") == 0)
		add(c, id);
	if (flags)
		add_name(c, id, name, flags);
	*ret_named = true;
	return true;
}

static void on_event(struct channel *c, const struct fanotify_event_metadata *m, bool full)
{
	const uint8_t *at = (const uint8_t *)(m + 1), *end = (const uint8_t *)m + m->event_len;
	uint32_t flags =
		(m->mask & GONE ? AGENT_CHANGED_NAMES : 0) | (m->mask & COME ? AGENT_CHANGED_NEW : 0);
	bool understood = false, named = false;

	if (m->mask & FAN_Q_OVERFLOW) {
		told.flags |= AGENT_CHANGED_ALL;
		return;
	}
	/* The host knows of what it has asked for. */
	if (m->pid == getpid())
		return;
	/* A host that takes nothing now is told in short. */
	if (full) {
		told.flags |= AGENT_CHANGED_ALL;
		return;
	}
	while ((size_t)(end - at) >= sizeof(struct fanotify_event_info_fid)) {
		const struct fanotify_event_info_fid *info = (const void *)at;

		understood = info->hdr.len <= end - at && on_file(c, info, flags, &named);
		if (!understood)
			break;
		at += info->hdr.len;
	}
	if (!understood)
		told.flags |= AGENT_CHANGED_ALL;
	told.flags |= flags;
	unnamed = unnamed || (flags && !named);
}

void watch_tell(struct channel *c)
{
	_Alignas(8) static uint8_t buf[65536];
	ssize_t n;

	while (fan >= 0 && (n = read(fan, buf, sizeof(buf))) > 0) {
		const struct fanotify_event_metadata *m = (const void *)buf;
		bool full = channel_waiting(c) >= CHANNEL_OUT_SOFT;

		quiet_until = io_now_usec() + QUIET_USEC;
		for (; FAN_EVENT_OK(m, n); m = FAN_EVENT_NEXT(m, n))
			on_event(c, m, full);
	}
	send(c);
}
