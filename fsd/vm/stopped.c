#include "vm/stopped.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "banger/io.h"
#include "offline/child.h"
#include "offline/repair.h"
#include "vm/disks.h"
#include "vm/model.h"

#define IDLE_USEC   5000000 /* without a request and an open file: the child ends */
#define LOOK_USEC   1000000
#define AGAIN_USEC  5000000 /* what could not be served is not tried again before */
#define LOCK_MSEC   60000   /* an earlier child's last writes */
#define STOPPED_MAX 32      /* of them at once */

/* One child, from its beginning to the last that is left of it: its channel, its process and the job that starts it end each in their own time. */
struct stopped {
	LIST_ENTRY(stopped) link;
	struct vms *vms;
	uint32_t id;
	struct agent *agent; /* NULL: its channel has ended */
	bool ending;
	sd_event_source *idle;
	/* The job's: */
	bool starting;
	int sock, dir_fd, image_fd;
	struct offline_disks disks;
	pid_t pid; /* 0: none */
	int pidfd;
	sd_event_source *exit;
	char *note;
};

static void free_if_over(struct stopped *s)
{
	if (s->agent || s->starting || s->pid)
		return;
	LIST_REMOVE(s, link);
	sd_event_source_disable_unref(s->idle);
	sd_event_source_disable_unref(s->exit);
	close_fd(s->pidfd);
	free(s);
}

static void tell(struct vm *vm)
{
	if (!vm->vms->quiet && vm->vms->watch.files)
		vm->vms->watch.files(vm->vms->user, vm);
}

static void detach(struct stopped *s)
{
	struct vm *vm = vms_get(s->vms, s->id);

	s->ending = true;
	s->idle = sd_event_source_disable_unref(s->idle);
	if (vm && vm->stopped == s) {
		vm->stopped = NULL;
		tell(vm);
	}
}

static void on_lost(void *user, const struct err *why)
{
	struct stopped *s = user;
	struct vm *vm = vms_get(s->vms, s->id);
	struct agent *agent = s->agent;

	if (why->code == -EPROTO && vm)
		vm_log(vm, "files: %s", err_text(why));
	detach(s);
	s->agent = NULL;
	agent_free(agent);
	free_if_over(s);
}

static void end(struct stopped *s)
{
	if (s->ending)
		return;
	detach(s);
	if (s->agent)
		agent_end(s->agent);
}

static int on_idle(sd_event_source *source, uint64_t usec, void *user)
{
	struct stopped *s = user;
	struct vm *vm = vms_get(s->vms, s->id);

	(void)usec;
	if (!vm || (vm->uses == 0 && !agent_busy(s->agent) && io_now_usec() >= vm->used_at + IDLE_USEC)) {
		end(s);
		return 0;
	}
	sd_event_source_set_time_relative(source, LOOK_USEC);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

/* It is not tried again for a while, and the VM says why. */
static void refuse(struct vm *vm, int code, struct err *e)
{
	err_wrap(e, "files");
	vm->stopped_code = code;
	vm->stopped_until = io_now_usec() + AGAIN_USEC;
	vm_set_error(vm, code, 0, err_text(e));
	vm_changed(vm);
}

static int on_exit_(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	_cleanup_err_ struct err e = {0};
	struct stopped *s = user;
	struct vm *vm = vms_get(s->vms, s->id);
	int status = 0;

	(void)fd;
	(void)revents;
	if (waitpid(s->pid, &status, WNOHANG) == 0)
		return 0;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	if (vm && WIFSIGNALED(status))
		vm_log(vm, "files: who serves them was killed by signal %d; the disk is checked next time",
			WTERMSIG(status));
	if (vm && WIFEXITED(status) && WEXITSTATUS(status)) {
		err_set(&e, -WEXITSTATUS(status),
			"its disk can't be read or written here (%s): start it, and look in the guest",
			strerror(WEXITSTATUS(status)));
		refuse(vm, e.code, &e);
	}
	s->pid = 0;
	free_if_over(s);
	return 0;
}

/* A disk that is ours alone, and as its last user meant it. */
static int open_disk(struct stopped *s, const char *name, int *ret, struct err *e)
{
	enum repair_state state;
	int fd = openat(s->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW), r;

	if (fd < 0)
		return err_sys(e, -errno, "%s", name);
	*ret = fd;
	r = disks_lock(fd, LOCK_MSEC, s->vms->ending_fd, e);
	if (r == 0)
		r = repair_probe(fd, &state, e);
	if (r < 0 || state == REPAIR_CLEAN)
		return r;
	/* What was answered then need not be so. */
	unlinkat(s->dir_fd, DISKS_ANSWERS, 0);
	return repair_run(fd, state, s->vms->ending_fd, e);
}

static int work_begin(void *data, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	struct stopped *s = data;
	int r = vm_open_dir(s->vms, s->id, &s->dir_fd, e);

	if (r == 0)
		r = open_disk(s, DISKS_WORK, &s->disks.work, e);
	if (r < 0)
		return r;
	/* The workspace is there without root/ too. */
	if (s->image_fd >= 0 && open_disk(s, DISKS_OVERLAY, &s->disks.over, &mine) == 0)
		s->disks.image = s->image_fd;
	else if (s->image_fd >= 0)
		s->note = strdup(err_text(&mine));
	/* Without it all is served, but for what is asked again when its answer was lost. */
	s->disks.answers = openat(s->dir_fd, DISKS_ANSWERS, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return offline_spawn(s->sock, &s->disks, &s->pid, &s->pidfd, e);
}

static void close_all(struct stopped *s)
{
	s->sock = close_fd(s->sock);
	s->dir_fd = close_fd(s->dir_fd);
	s->image_fd = close_fd(s->image_fd);
	s->disks.work = close_fd(s->disks.work);
	s->disks.over = close_fd(s->disks.over);
	s->disks.answers = close_fd(s->disks.answers);
	free(s->note);
	s->note = NULL;
}

static void failed(struct stopped *s, struct vm *vm, int code, struct err *e)
{
	struct agent *agent = s->agent;

	if (vm && !s->ending)
		refuse(vm, code, e);
	detach(s);
	s->agent = NULL;
	if (agent) {
		agent_fail(agent, code);
		agent_free(agent);
	}
}

static void done_begin(void *data, int code, struct err *e)
{
	struct stopped *s = data;
	struct vm *vm = vms_get(s->vms, s->id);

	s->starting = false;
	if (code == 0 && sd_event_add_io(s->vms->event, &s->exit, s->pidfd, EPOLLIN, on_exit_, s) < 0)
		s->pid = 0;
	if (code < 0)
		failed(s, vm, code, e);
	else if (vm && s->note)
		vm_log(vm, "root/: %s", s->note);
	close_all(s);
	free_if_over(s);
}

/* The image that the overlay lies over; -1: there is none of both, and no root/. */
static int open_image(struct vm *vm, int dir)
{
	const struct store_object *image;
	_cleanup_free_ char *file = NULL;
	int fd = -EBADF;

	if (faccessat(dir, DISKS_OVERLAY, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
		io_read_file(dir, DISKS_BASE, 4096, &file, NULL, NULL) == 0 &&
		(image = objects_of_file(vm->vms->config.images, file)))
		objects_open(vm->vms->config.images, image, &fd, NULL);
	return fd;
}

static int begin(struct vm *vm)
{
	_cleanup_close_ int dir = -EBADF;
	struct stopped *s;
	int pair[2], r;

	if (vm_open_dir(vm->vms, vm->row.id, &dir, NULL) < 0 ||
		faccessat(dir, DISKS_WORK, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return -EBUSY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct stopped){.vms = vm->vms,
		.id = vm->row.id,
		.sock = -EBADF,
		.dir_fd = -EBADF,
		.image_fd = open_image(vm, dir),
		.disks = {-EBADF, -EBADF, -EBADF, -EBADF},
		.pidfd = -EBADF};
	LIST_INSERT_HEAD(&vm->vms->stopped, s, link);
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
	if (r == 0) {
		s->sock = pair[1];
		r = agent_new(vm->vms->event, pair[0], on_lost, s, &s->agent, NULL);
	}
	if (r == 0)
		r = sd_event_add_time_relative(
			vm->vms->event, &s->idle, CLOCK_MONOTONIC, LOOK_USEC, LOOK_USEC / 10, on_idle, s);
	if (r >= 0)
		r = job_submit(vm->vms->jobs, work_begin, done_begin, s, NULL);
	if (r < 0) {
		s->agent = agent_free(s->agent);
		close_all(s);
		free_if_over(s);
		return r;
	}
	s->starting = true;
	vm->stopped = s;
	return 0;
}

/* Whoever was asked least lately makes room. */
static int make_room(struct vms *vms)
{
	struct stopped *s, *oldest = NULL;
	uint64_t at = UINT64_MAX;
	unsigned n = 0;

	LIST_FOREACH (s, &vms->stopped, link) {
		struct vm *vm = vms_get(vms, s->id);

		n++;
		if (!s->ending && vm && vm->uses == 0 && !agent_busy(s->agent) && vm->used_at < at) {
			oldest = s;
			at = vm->used_at;
		}
	}
	if (n < STOPPED_MAX)
		return 0;
	if (oldest)
		end(oldest);
	return oldest ? 0 : -EBUSY;
}

struct agent *stopped_agent(struct vm *vm)
{
	return vm->stopped ? vm->stopped->agent : NULL;
}

int stopped_begin(struct vm *vm, struct agent **ret)
{
	int r = 0;

	if (!vm->stopped) {
		if (vm->deed || vm->deleting || vm->pidfd >= 0)
			return -EBUSY;
		if (vm->stopped_code < 0 && io_now_usec() < vm->stopped_until)
			return vm->stopped_code;
		r = make_room(vm->vms);
		if (r == 0)
			r = begin(vm);
	}
	if (r == 0)
		*ret = vm->stopped->agent;
	return r;
}

void stopped_end(struct vm *vm)
{
	vm->stopped_code = 0;
	if (vm->stopped)
		end(vm->stopped);
}

void stopped_free_all(struct vms *vms)
{
	struct stopped *s;

	while ((s = LIST_FIRST(&vms->stopped))) {
		s->ending = true;
		s->agent = agent_free(s->agent);
		s->pid = 0;
		s->starting = false;
		free_if_over(s);
	}
}
