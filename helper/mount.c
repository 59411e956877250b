#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "banger/cleanup.h"
#include "mount.h"
#include "mounter.h"
#include "mountinfo.h"

#define FUSE_MAJOR 10  /* Documentation/admin-guide/devices.txt: misc */
#define FUSE_MINOR 229 /* ... fuse */

struct mount_held {
	const struct instance *inst;
	struct journal *journal;
	int fd;
};

struct place {
	const char *path;
	uint64_t dev; /* 0: nothing is mounted there */
	int foreign;
};

static void look(void *user, const struct mountinfo *m)
{
	struct place *p = user;

	if (strcmp(m->place, p->path) != 0)
		return;
	p->dev = m->dev;
	p->foreign = strcmp(m->type, MOUNT_TYPE) != 0;
}

/*
 * The device number of what is mounted at the tree's place, 0: nothing. The place itself is never looked at. -EBUSY: what is there is
 * none of banger's.
 */
static int mounted(const struct mount_held *m, uint64_t *ret_dev, struct err *e)
{
	struct place p = {.path = m->inst->mount};
	int r = mountinfo_each(look, &p, e);

	if (r < 0)
		return r;
	if (p.foreign)
		return err_set(e, -EBUSY, "something that banger didn't make is mounted at %s: umount it",
			m->inst->mount);
	*ret_dev = p.dev;
	return 0;
}

int mount_new(const struct instance *inst, struct journal *journal, struct mount_held **ret, struct err *e)
{
	struct mount_held *m = calloc(1, sizeof(*m));

	if (!m)
		return err_sys(e, -ENOMEM, "mount");
	m->inst = inst;
	m->journal = journal;
	m->fd = -EBADF;
	*ret = m;
	return 0;
}

struct mount_held *mount_free(struct mount_held *m)
{
	if (m) {
		close_fd(m->fd);
		free(m);
	}
	return NULL;
}

int mount_is_held(const struct mount_held *m)
{
	return m->fd >= 0;
}

static int clear(struct mount_held *m, struct err *e)
{
	struct journal_head *head = journal_head(m->journal);
	uint64_t dev;
	int r;

	m->fd = close_fd(m->fd);
	if (head->mount_dev)
		service_drop_fuse(m->inst->service, head->mount_dev);
	/* Bounded: nobody stacks mounts there but a crash in the middle. */
	for (int i = 0; i < 16; i++) {
		r = mounted(m, &dev, e);
		if (r < 0)
			return r;
		if (dev == 0)
			break;
		r = mounter_unmount(m->inst->mounter, e);
		if (r < 0) {
			err_wrap(e, "unmounting %s", m->inst->mount);
			return r;
		}
	}
	head->mount = JOURNAL_NONE;
	head->mount_dev = 0;
	return journal_write_head(m->journal, e);
}

int mount_get(struct mount_held *m, int *ret_fd, int *ret_adopted, struct err *e)
{
	struct journal_head *head = journal_head(m->journal);
	_cleanup_close_ int fd = -EBADF;
	uint64_t dev;
	int r;

	r = mounted(m, &dev, e);
	if (r < 0)
		return r;
	if (m->fd >= 0 && dev != 0 && dev == head->mount_dev) {
		*ret_fd = m->fd;
		*ret_adopted = 1;
		return 0;
	}
	r = clear(m, e);
	if (r < 0)
		return r;
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "/dev/fuse (try: modprobe fuse)");
	head->mount = JOURNAL_INTENT;
	r = journal_write_head(m->journal, e);
	if (r < 0)
		return r;
	r = mounter_mount(m->inst->mounter, fd, e);
	if (r < 0) {
		err_wrap(e, "mounting %s", m->inst->mount);
		head->mount = JOURNAL_NONE;
		journal_write_head(m->journal, NULL);
		return r;
	}
	r = mounted(m, &dev, e);
	if (r == 0) {
		head->mount = JOURNAL_LIVE;
		head->mount_dev = dev;
		r = journal_write_head(m->journal, e);
	}
	if (r < 0) {
		clear(m, NULL);
		return r;
	}
	m->fd = TAKE_FD(fd);
	service_keep_fuse(m->inst->service, m->fd, dev);
	*ret_fd = m->fd;
	*ret_adopted = 0;
	return 0;
}

int mount_keep(struct mount_held *m, int fd, struct err *e)
{
	struct journal_head *head = journal_head(m->journal);
	_cleanup_close_ int mine = fd;
	struct statx sx;
	uint64_t dev;
	int r;

	/* Out of the kernel's memory: it may as well be a file of which a server of the owner's would have to be asked. */
	if (statx(mine, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) < 0 || !S_ISCHR(sx.stx_mode) ||
		sx.stx_rdev_major != FUSE_MAJOR || sx.stx_rdev_minor != FUSE_MINOR)
		return err_set(e, -EINVAL, "not a descriptor of /dev/fuse");
	r = mounted(m, &dev, e);
	if (r < 0)
		return r;
	if (dev == 0 || head->mount != JOURNAL_LIVE || dev != head->mount_dev)
		return err_set(e, -ENOENT, "nothing of ours is mounted at %s", m->inst->mount);
	close_fd(m->fd);
	m->fd = TAKE_FD(mine);
	service_keep_fuse(m->inst->service, m->fd, dev);
	return 0;
}

int mount_reconcile(struct mount_held *m, struct err *e)
{
	struct journal_head *head = journal_head(m->journal);
	uint64_t dev = 0;
	int r = head->mount == JOURNAL_NONE ? 0 : mounted(m, &dev, e);
	bool live = r == 0 && head->mount == JOURNAL_LIVE && dev != 0 && dev == head->mount_dev;
	int kept = service_take_fuse(m->inst->service, live ? dev : 0);

	if (r < 0 || head->mount == JOURNAL_NONE)
		return r;
	/* Live as it was: where the service manager hasn't kept it for us, its daemon may still serve it, and will give us the descriptor. */
	if (live) {
		m->fd = kept;
		return 0;
	}
	return clear(m, e);
}

int mount_remove(struct mount_held *m, struct err *e)
{
	return clear(m, e);
}
