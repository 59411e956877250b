#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "caps.h"
#include "child.h"
#include "jail.h"
#include "mount.h"
#include "mounter.h"

#define ANSWER_MSEC 20000 /* loaded machines are slow; neither order asks anybody but the kernel */

struct mounter {
	struct child child;
};

/* --- in the child --- */

struct order {
	enum { MOUNT, UNMOUNT, MOUNT_JAIL, UNMOUNT_JAIL, SEE } what; /* MOUNT alone comes with a descriptor */
	uint32_t vm;
	uid_t user;
	int pid;
};

struct answer {
	int code;
	struct process_stat process; /* SEE's */
};

static int do_mount(const struct instance *inst, int fd)
{
	_cleanup_free_ char *options = NULL;

	/* Permissions are checked by the kernel; others may look where the modes allow it (facts on FUSE, 44). */
	if (asprintf(&options, "fd=%d,rootmode=40755,user_id=%u,group_id=%u,default_permissions,allow_other",
		    fd, inst->owner, inst->group) < 0) {
		options = NULL;
		return -ENOMEM;
	}
	/* A guest's links say where to go in the guest; followed here they would lead to the host's files. Linux before 5.10 doesn't know this flag, and passes it over. */
	return mount("banger", inst->mount, MOUNT_TYPE, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOSYMFOLLOW,
		       options) < 0
		       ? -errno
		       : 0;
}

static int do_mount_jail(const struct instance *inst, const char *path, uid_t user)
{
	_cleanup_free_ char *options = NULL;

	/* The group stays the owner's for all that is made in it (inode(7), the set-group-ID bit). */
	if (asprintf(&options, "mode=2770,uid=%u,gid=%u,size=64k,nr_inodes=16", user, inst->group) < 0) {
		options = NULL;
		return -ENOMEM;
	}
	return mount("banger-jail", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0 ? -errno
												  : 0;
}

static int do_unmount(const char *path)
{
	return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

static int carry_out(const struct instance *inst, const struct order *o, int fd, struct process_stat *ret)
{
	_cleanup_free_ char *jail = NULL;
	int r = 0;

	if (o->what == MOUNT_JAIL || o->what == UNMOUNT_JAIL)
		r = jail_path(inst, o->vm, &jail, NULL);
	if (r < 0)
		return r;
	switch (o->what) {
	case MOUNT:
		return do_mount(inst, fd);
	case UNMOUNT:
		return do_unmount(inst->mount);
	case MOUNT_JAIL:
		return do_mount_jail(inst, jail, o->user);
	case UNMOUNT_JAIL:
		return do_unmount(jail);
	case SEE:
		return process_read(o->pid, ret);
	}
	return -EBADMSG;
}

static void serve(int sock, int namespace_fd, const void *data)
{
	const struct instance *inst = data;
	_cleanup_err_ struct err e = {0};

	if (namespace_fd >= 0 && setns(namespace_fd, CLONE_NEWNS) < 0) {
		fprintf(stderr, "banger-helper: the host's mount namespace: %s\n", strerror(errno));
		return;
	}
	close_fd(namespace_fd);
	if (caps_mounter(&e) < 0) {
		fprintf(stderr, "banger-helper: mounter: %s\n", err_text(&e));
		return;
	}
	for (;;) {
		struct answer a = {0};
		int fd = -EBADF;
		struct order o;
		size_t n = 0;

		if (io_recv_fds(sock, &o, sizeof(o), &fd, 1, &n, 0) != sizeof(o) ||
			n != (size_t)(o.what == MOUNT))
			return;
		a.code = carry_out(inst, &o, fd, &a.process);
		if (n)
			close_fd(fd);
		if (io_send_fds(sock, &a, sizeof(a), NULL, 0) < 0)
			return;
	}
}

/* --- in the helper --- */

int mounter_new(const struct instance *inst, int namespace_fd, struct mounter **ret, struct err *e)
{
	struct mounter *m = calloc(1, sizeof(*m));
	int r = m ? child_new("banger-mounter", serve, namespace_fd, inst, &m->child, e)
		  : err_sys(e, -ENOMEM, "mounter");

	if (r < 0) {
		free(m);
		return r;
	}
	*ret = m;
	return 0;
}

struct mounter *mounter_free(struct mounter *m)
{
	if (m) {
		child_end(&m->child);
		free(m);
	}
	return NULL;
}

static int ask(
	struct mounter *m, const struct order *o, const int *fd, struct process_stat *ret, struct err *e)
{
	struct pollfd p = {.fd = m->child.sock, .events = POLLIN};
	struct answer a;
	int r = io_send_fds(m->child.sock, o, sizeof(*o), fd, fd != NULL);
	size_t n = 0;

	if (r < 0)
		return err_sys(e, r, "the mounter");
	do
		r = poll(&p, 1, ANSWER_MSEC);
	while (r < 0 && errno == EINTR);
	if (r <= 0 || io_recv_fds(m->child.sock, &a, sizeof(a), NULL, 0, &n, 0) != sizeof(a)) {
		/* Its answer, should it come, is not the next order's. */
		shutdown(m->child.sock, SHUT_RDWR);
		return err_set(e, -EIO, "the mounter doesn't answer");
	}
	if (a.code < 0)
		return err_sys(e, a.code, "the mounter");
	if (ret)
		*ret = a.process;
	return 0;
}

int mounter_mount(struct mounter *m, int fuse_fd, struct err *e)
{
	return ask(m, &(struct order){.what = MOUNT}, &fuse_fd, NULL, e);
}

int mounter_unmount(struct mounter *m, struct err *e)
{
	return ask(m, &(struct order){.what = UNMOUNT}, NULL, NULL, e);
}

int mounter_mount_jail(struct mounter *m, uint32_t vm, uid_t user, struct err *e)
{
	return ask(m, &(struct order){.what = MOUNT_JAIL, .vm = vm, .user = user}, NULL, NULL, e);
}

int mounter_unmount_jail(struct mounter *m, uint32_t vm, struct err *e)
{
	return ask(m, &(struct order){.what = UNMOUNT_JAIL, .vm = vm}, NULL, NULL, e);
}

int mounter_see(struct mounter *m, int pid, struct process_stat *ret, struct err *e)
{
	return ask(m, &(struct order){.what = SEE, .pid = pid}, NULL, ret, e);
}
