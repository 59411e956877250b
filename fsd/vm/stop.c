/*
 * A stop: the guest is asked, then its power button pressed, then the VMM told, then killed; each with its own limit, so that nothing can make a
 * stop hang (promise A5). Also what is done when a VMM ended by itself, and pause and resume.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "vm/model.h"

#define BUTTON_MSEC 2000
#define TERM_MSEC   2000
#define KILL_MSEC   5000
#define PANIC_TAIL  16384 /* of the console: a panic's stack and what comes of other processors fit */
#define PANIC_WORDS "Kernel panic - not syncing"

struct stop {
	struct vms *vms;
	struct deed *deed;
	uint32_t id;
	int pidfd, run_fd, dir_fd;
	unsigned down_msec;
	bool paused, asked;
	const struct engine *engine;
	int why; /* of stop_reason() */
	struct err why_err;
};

static void stop_free(struct stop *s)
{
	close_fd(s->pidfd);
	close_fd(s->run_fd);
	close_fd(s->dir_fd);
	err_clear(&s->why_err);
	free(s);
}

void stop_remove_sockets(struct vms *vms, uint32_t id)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", id);
	engine_remove_folder(vms->runs_fd, name);
}

/* A VMM that hasn't heard of panics sees a reset; but the guest's kernel has said it on the console, among the last. */
static bool panicked(int dir_fd)
{
	_cleanup_close_ int fd = openat(dir_fd, "console", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char tail[PANIC_TAIL + 1];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	n = pread(fd, tail, PANIC_TAIL, st.st_size > PANIC_TAIL ? st.st_size - PANIC_TAIL : 0);
	return n > 0 && memmem(tail, (size_t)n, PANIC_WORDS, strlen(PANIC_WORDS));
}

bool stop_was_reset(int dir_fd)
{
	_cleanup_(engine_exit_clear) struct engine_exit x = {0};
	_cleanup_close_ int fd = openat(dir_fd, "exit", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && engine_read_exit(fd, &x, NULL) == 0 && x.known &&
	       strcmp(x.reason, "guest-reset") == 0;
}

int stop_reason(int dir_fd, struct err *e)
{
	_cleanup_(engine_exit_clear) struct engine_exit x = {0};
	_cleanup_close_ int fd = openat(dir_fd, "exit", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const char *words;
	char *line;

	if (fd < 0 || engine_await_exit(fd, &x, NULL) < 0 || !x.known)
		return err_set(e, -EIO,
			"the VMM ended, nobody knows why: cat console shows what the guest said last");
	words = engine_exit_words(x.code);
	line = x.text && *x.text ? strtok_r(x.text, "\n", &(char *){NULL}) : NULL;
	if (strcmp(x.reason, "guest-panic") == 0 || (!*x.reason && !x.code && !x.signal && panicked(dir_fd)))
		return err_set(e, -EIO, "the guest's kernel panicked: cat console shows where");
	if (x.signal)
		return err_set(e, -EIO,
			"the VMM was killed by signal %d%s%s: echo start > ctl starts it again", x.signal,
			line ? ": " : "", line ? line : "");
	if (x.code)
		return err_set(e, -EIO, "the VMM ended with exit code %d%s%s%s%s%s", x.code,
			*words ? " (" : "", words, *words ? ")" : "", line ? ": " : "", line ? line : "");
	if (strcmp(x.reason, "host-signal") == 0)
		return err_set(
			e, -EIO, "somebody on the host ended the VMM: echo start > ctl starts it again");
	return 0;
}

static bool gone(struct stop *s, unsigned msec)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

	return poll(&p, 1, (int)msec) > 0;
}

/* What is left of a VM whose VMM has gone. */
static int clean(struct stop *s, struct err *e)
{
	int r = helper_release(s->vms->config.helper, s->deed ? op_id(s->deed->op) : 0, s->id, e);

	stop_remove_sockets(s->vms, s->id);
	return r;
}

static int work_down(void *data, struct err *e)
{
	struct stop *s = data;
	struct helper *h = s->vms->config.helper;
	uint64_t op = op_id(s->deed->op);

	if (s->asked) {
		op_stage(s->deed->op, "the guest shuts down");
		if (gone(s, s->down_msec))
			return clean(s, e);
	}
	if (s->deed->verb != VM_KILL) {
		op_stage(s->deed->op, "power button");
		if (s->engine->powerdown(s->run_fd, NULL, NULL) == 0 && gone(s, BUTTON_MSEC))
			return clean(s, e);
		op_stage(s->deed->op, "SIGTERM");
		if (helper_signal(h, op, s->id, HELPER_SIGTERM, NULL) == 0 && gone(s, TERM_MSEC))
			return clean(s, e);
	}
	op_stage(s->deed->op, "SIGKILL");
	if (!gone(s, 0)) {
		_cleanup_err_ struct err mine = {0};

		/* An answer that was lost may have been that it is sent. */
		if (helper_signal(h, op, s->id, HELPER_SIGKILL, &mine) < 0 && mine.code != -ESRCH &&
			mine.code != -EPIPE)
			return err_move(e, &mine);
		if (!gone(s, KILL_MSEC))
			return mine.code == -EPIPE ? err_move(e, &mine)
						   : err_set(e, -ETIMEDOUT,
							     "the VMM doesn't go, not by SIGKILL either: is "
							     "its disk hanging?");
	}
	return clean(s, e);
}

static void done_down(void *data, int code, struct err *e)
{
	struct stop *s = data;
	struct deed *d = s->deed;
	struct vm *vm = d->vm;

	if (code < 0 && !gone(s, 0)) {
		/* It lives on: it is what it was. */
		vm_set_state(vm, s->paused ? VM_PAUSED : VM_RUNNING);
		err_wrap(e, "%s", vm_verb_name(d->verb));
		deed_end(d, code, e);
	} else {
		vm_dead(vm);
		vm->row.started = 0;
		vm_set_text(&vm->row.boot_id, "");
		vm_set_text(&vm->row.accel, "");
		vm_set_state(vm, VM_STOPPED);
		if (d->verb == VM_RESTART && code == 0) {
			d->starting_again = true;
			vm_set_state(vm, VM_STARTING);
			start_begin(d);
		} else {
			if (code < 0)
				err_wrap(e, "release");
			deed_end(d, code, e);
		}
	}
	stop_free(s);
}

static void go_down(struct stop *s)
{
	_cleanup_err_ struct err e = {0};

	if (job_submit(s->vms->jobs, work_down, done_down, s, &e) < 0) {
		vm_set_state(s->deed->vm, s->paused ? VM_PAUSED : VM_RUNNING);
		deed_end(s->deed, e.code, &e);
		stop_free(s);
	}
}

static void on_asked(void *user, int code, const void *data, size_t n)
{
	struct stop *s = user;

	(void)data;
	(void)n;
	/* A channel that broke at this moment may be the guest going down already. */
	s->asked = code == 0 || code == -ENOTCONN || code == -ECANCELED;
	go_down(s);
}

static void ask(struct stop *s)
{
	struct vm *vm = s->deed->vm;
	const struct settings *settings = s->vms->config.settings;
	uint32_t v[2] = {0, s->down_msec};
	unsigned reach = (unsigned)(settings_get_u64(settings, "stop_reach_usec") / 1000);

	op_stage(s->deed->op, "ask the guest");
	if (s->deed->verb == VM_KILL || !vm->agent ||
		agent_request(vm->agent, AGENT_POWEROFF, 0, (struct agent_part[]){{v, sizeof(v)}}, 1, reach,
			on_asked, s, NULL, NULL) < 0)
		go_down(s);
}

static int work_resume(void *data, struct err *e)
{
	struct stop *s = data;

	return s->engine->resume(s->run_fd, NULL, e);
}

static void done_resume(void *data, int code, struct err *e)
{
	(void)code;
	(void)e;
	ask(data);
}

static struct stop *stop_new(struct vm *vm, struct deed *d)
{
	struct stop *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct stop){
		.vms = vm->vms,
		.deed = d,
		.id = vm->row.id,
		.pidfd = fcntl(vm->pidfd, F_DUPFD_CLOEXEC, 3),
		.run_fd = fcntl(vm->run_fd, F_DUPFD_CLOEXEC, 3),
		.dir_fd = -EBADF,
		.down_msec = (unsigned)(settings_get_u64(vm->vms->config.settings, "stop_down_usec") / 1000),
		.engine = vm->engine,
	};
	return s;
}

void stop_begin(struct deed *d)
{
	struct vm *vm = d->vm;
	struct stop *s;

	if (vm->pidfd < 0) {
		/* A restart of what is down is a start. */
		d->starting_again = true;
		vm_set_state(vm, VM_STARTING);
		start_begin(d);
		return;
	}
	s = stop_new(vm, d);
	if (!s) {
		_cleanup_err_ struct err e = {0};

		err_sys(&e, -ENOMEM, "stop");
		vm_set_state(vm, d->before);
		deed_end(d, e.code, &e);
		return;
	}
	s->paused = d->before == VM_PAUSED;
	/* A guest that is held still can't shut down. */
	if (!s->paused || d->verb == VM_KILL ||
		job_submit(s->vms->jobs, work_resume, done_resume, s, NULL) < 0)
		ask(s);
}

static int work_after_exit(void *data, struct err *e)
{
	struct stop *s = data;

	if (vm_open_dir(s->vms, s->id, &s->dir_fd, NULL) == 0)
		s->why = stop_reason(s->dir_fd, &s->why_err);
	return clean(s, e);
}

static void done_after_exit(void *data, int code, struct err *e)
{
	struct stop *s = data;
	struct vm *vm = vms_get(s->vms, s->id);

	if (vm) {
		bool failed = s->why < 0 && !vm->going;

		vm->clearing = vm->going = false;
		vm_dead(vm);
		vm->row.started = 0;
		vm_set_text(&vm->row.boot_id, "");
		vm_set_text(&vm->row.accel, "");
		if (failed) {
			err_wrap(&s->why_err, "run");
			vm_set_error(vm, s->why, 0, err_text(&s->why_err));
			vm_set_state(vm, VM_FAILED);
		} else {
			vm_log(vm,
				s->why < 0 ? "it ended, as it was told to" : "the guest switched itself off");
			vm_set_state(vm, VM_STOPPED);
		}
		if (code < 0)
			vm_log(vm, "cleaning up: %s", err_text(e));
		vm_let_go_on(vm);
	}
	stop_free(s);
}

void stop_after_exit(struct vm *vm)
{
	struct stop *s = stop_new(vm, NULL);

	if (!s)
		return;
	/* Nothing begins on it before what is left has been cleared away. */
	vm->clearing = true;
	if (job_submit(vm->vms->jobs, work_after_exit, done_after_exit, s, NULL) < 0) {
		vm->clearing = false;
		stop_free(s);
	}
}

static int work_pause(void *data, struct err *e)
{
	struct stop *s = data;

	return s->deed->verb == VM_PAUSE ? s->engine->pause(s->run_fd, s->deed->op, e)
					 : s->engine->resume(s->run_fd, s->deed->op, e);
}

static void done_pause(void *data, int code, struct err *e)
{
	struct stop *s = data;
	struct deed *d = s->deed;
	struct vm *vm = d->vm;
	bool dead = gone(s, 0);

	if (code == 0)
		vm_set_state(vm, d->verb == VM_PAUSE ? VM_PAUSED : VM_RUNNING);
	if (code == 0 && d->verb == VM_RESUME) {
		clock_tell(vm);
		vm_find_agent(vm);
	}
	if (code < 0)
		err_wrap(e, "%s", vm_verb_name(d->verb));
	deed_end(d, code, e);
	if (dead && !vm->deed)
		stop_after_exit(vm);
	stop_free(s);
}

void pause_begin(struct deed *d)
{
	_cleanup_err_ struct err e = {0};
	struct stop *s = stop_new(d->vm, d);

	if (!s)
		err_sys(&e, -ENOMEM, "%s", vm_verb_name(d->verb));
	else
		job_submit(s->vms->jobs, work_pause, done_pause, s, &e);
	if (e.code < 0) {
		if (s)
			stop_free(s);
		deed_end(d, e.code, &e);
	}
}
