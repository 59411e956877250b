#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fanotify.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "handle.h"

/* A file changed through a shared mapping is not seen before it is closed. */
#define CONTENTS (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE)
#define NAMES    (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_DELETE_SELF | FAN_MOVE_SELF)
#define GONE     (FAN_DELETE | FAN_MOVED_FROM)
#define COME     (FAN_CREATE | FAN_MOVED_TO)

#define TOLD_MAX 4096 /* files a frame */

static int fan = -EBADF;

static struct {
	uint32_t flags;
	struct file_id files[TOLD_MAX];
} told;
static size_t told_count;

int watch_begin(int root_fd)
{
	_cleanup_close_ int fd = -EBADF;

	if (fan >= 0)
		return 0;
	fd = (int)syscall(
		SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_FID, 0);
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
	return fan >= 0 ? fan : -1;
}

static void send(struct channel *c)
{
	if (told_count > 0 || told.flags)
		channel_send(c, AGENT_FS_CHANGED, 0, 0, &told,
			sizeof(told.flags) + told_count * sizeof(told.files[0]), NULL, 0);
	told_count = 0;
	told.flags = 0;
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

static void on_event(struct channel *c, const struct fanotify_event_metadata *m, bool full)
{
	const struct fanotify_event_info_fid *info = (const void *)(m + 1);
	struct file_id id;

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
	if (m->mask & GONE)
		told.flags |= AGENT_CHANGED_NAMES;
	if (m->mask & COME)
		told.flags |= AGENT_CHANGED_NEW;
	if (m->event_len >= FAN_EVENT_METADATA_LEN + sizeof(*info) &&
		info->hdr.info_type == FAN_EVENT_INFO_TYPE_FID && handle_id(info->handle, &id) == 0)
		add(c, id);
	else
		told.flags |= AGENT_CHANGED_ALL;
}

void watch_tell(struct channel *c)
{
	_Alignas(8) static uint8_t buf[65536];
	ssize_t n;

	while (fan >= 0 && (n = read(fan, buf, sizeof(buf))) > 0) {
		const struct fanotify_event_metadata *m = (const void *)buf;
		bool full = channel_waiting(c) >= CHANNEL_OUT_SOFT;

		for (; FAN_EVENT_OK(m, n); m = FAN_EVENT_NEXT(m, n))
			on_event(c, m, full);
	}
	send(c);
}
