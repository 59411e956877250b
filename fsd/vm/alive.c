/* What is held of a VM while its VMM lives: its end, its console, its agent. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "banger/io.h"
#include "vm/listeners.h"
#include "vm/model.h"
#include "vm/publish.h"

/* The first try to reach an agent: a service manager may have to begin who makes its socket (banger/dial_proto.h). Each further one is twice as long, up to: */
#define TRY_MSEC      10000
#define TRY_DOUBLINGS 2 /* 40 s: a guest may be slow, emulated on a loaded host; a dead one costs little */
#define RETRY_USEC    2000000
#define SOON_USEC     100000
#define REST_USEC     30000000 /* between tries when the longest were in vain */
#define TRIES_AT_ONCE 4        /* of the workers: guests without an agent hold up nobody's start */
#define CONSOLE_CHUNK 16384

static int on_exit_(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct vm *vm = user;

	(void)fd;
	(void)revents;
	sd_event_source_set_enabled(s, SD_EVENT_OFF);
	/* A deed that brings it down waits for this itself. */
	if (!vm->deed)
		stop_after_exit(vm);
	return 0;
}

static int on_tty(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct vm *vm = user;
	char buf[CONSOLE_CHUNK];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
		return 0;
	}
	if (vm->vms->watch.console)
		vm->vms->watch.console(vm->vms->user, vm, buf, (size_t)n);
	return 0;
}

struct reconnect {
	struct vms *vms;
	uint32_t id;
	int run_fd, pidfd, agent_fd;
	unsigned msec;
	char boot_id[40];
};

static int work_reconnect(void *data, struct err *e)
{
	struct reconnect *c = data;

	return engine_wait_agent(
		c->run_fd, c->pidfd, c->msec, c->vms->ending_fd, &c->agent_fd, c->boot_id, e);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *user)
{
	struct vm *vm = user;

	(void)s;
	(void)usec;
	vm_find_agent(vm);
	return 0;
}

static void retry_in(struct vm *vm, uint64_t usec)
{
	sd_event_source_disable_unref(vm->retry);
	vm->retry = NULL;
	sd_event_add_time_relative(vm->vms->event, &vm->retry, CLOCK_MONOTONIC, usec, 0, on_retry, vm);
}

static void retry_later(struct vm *vm)
{
	retry_in(vm, vm->tries > TRY_DOUBLINGS ? REST_USEC : RETRY_USEC);
}

static void on_lost(void *user, const struct err *why)
{
	struct vm *vm = user;
	struct agent *agent = vm->agent;

	vm->agent = NULL;
	execs_agent(vm->vms->execs, vm, NULL);
	publish_check(vm);
	listeners_check(vm);
	agent_free(agent);
	if (!vm->deed)
		vm_log(vm, "%s", err_text(why));
	vm_changed(vm);
	/* The VMM may be about to end: its end is seen by itself. Another agent is there already; how often it says so is the guest's to say. */
	if (vm->pidfd >= 0 && why->code == -ECONNRESET)
		retry_in(vm, SOON_USEC);
	else if (vm->pidfd >= 0)
		retry_later(vm);
}

static int take_agent(struct vm *vm, int fd, struct err *e)
{
	int r = agent_new(vm->vms->event, fd, on_lost, vm, &vm->agent, e);

	if (r < 0)
		return r;
	vm->tries = 0;
	if (vm->strange)
		vm_set_error(vm, 0, 0, "");
	vm->strange = false;
	clock_tell(vm);
	execs_agent(vm->vms->execs, vm, vm->agent);
	publish_check(vm);
	listeners_check(vm);
	if (!vm->vms->quiet && vm->vms->watch.ready)
		vm->vms->watch.ready(vm->vms->user, vm);
	return 0;
}

/* Who speaks otherwise than we do may be of another banger, whose VM this was: it runs on, but nothing reaches it before somebody starts it anew. */
static void say_strange(struct vm *vm, struct err *why)
{
	if (vm->strange)
		return;
	vm->strange = true;
	err_wrap(why, "agent");
	vm_set_error(vm, why->code, 0, err_text(why));
}

static void done_reconnect(void *data, int code, struct err *e)
{
	struct reconnect *c = data;
	struct vm *vm = vms_get(c->vms, c->id);

	c->vms->reconnecting--;
	if (vm)
		vm->reconnecting = false;
	if (vm && vm->pidfd >= 0 && !vm->agent) {
		if (code == 0) {
			if (strcmp(vm->row.boot_id, c->boot_id) != 0) {
				vm_set_text(&vm->row.boot_id, c->boot_id);
				vm_save(vm);
			}
			take_agent(vm, TAKE_FD(c->agent_fd), NULL);
			vm_changed(vm);
		} else {
			if (code == -EPROTO)
				say_strange(vm, e);
			retry_later(vm);
		}
	}
	close_fd(c->run_fd);
	close_fd(c->pidfd);
	close_fd(c->agent_fd);
	free(c);
}

void vm_find_agent(struct vm *vm)
{
	struct reconnect *c;

	/* Of a paused one nobody answers: it is looked for when it goes on. */
	if (vm->reconnecting || vm->agent || vm->pidfd < 0 || vm->state == VM_PAUSED)
		return;
	if (vm->vms->reconnecting >= TRIES_AT_ONCE) {
		retry_later(vm);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	*c = (struct reconnect){.vms = vm->vms,
		.id = vm->row.id,
		.agent_fd = -EBADF,
		.msec = TRY_MSEC << (vm->tries < TRY_DOUBLINGS ? vm->tries : TRY_DOUBLINGS)};
	c->run_fd = fcntl(vm->run_fd, F_DUPFD_CLOEXEC, 3);
	c->pidfd = fcntl(vm->pidfd, F_DUPFD_CLOEXEC, 3);
	if (job_submit(vm->vms->jobs, work_reconnect, done_reconnect, c, NULL) < 0) {
		close_fd(c->run_fd);
		close_fd(c->pidfd);
		free(c);
		retry_later(vm);
		return;
	}
	vm->reconnecting = true;
	vm->vms->reconnecting++;
	vm->tries++;
}

int vm_alive(struct vm *vm, int pid, int pidfd, int agent_fd, struct err *e)
{
	char name[16];
	int r;

	vm->pid = pid;
	vm->pidfd = pidfd;
	idle_begin(vm);
	snprintf(name, sizeof(name), "%u", vm->row.id);
	vm->run_fd = openat(vm->vms->runs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	vm->engine = engine_of(vm->run_fd);
	engine_channel(vm->run_fd, vm->channel);
	words_begin(vm);
	r = sd_event_add_io(vm->vms->event, &vm->exit_source, pidfd, EPOLLIN, on_exit_, vm);
	if (r < 0) {
		close_fd(agent_fd);
		vm_dead(vm);
		return err_sys(e, r, "watching the VMM");
	}
	fill_begin(vm);
	publish_begin(vm);
	/* Without its live console a VM is whole: the file has it all. */
	if (vm->run_fd >= 0 && engine_connect(vm->run_fd, ENGINE_TTY_SOCKET, &vm->tty_fd, NULL) == 0)
		sd_event_add_io(vm->vms->event, &vm->tty_source, vm->tty_fd, EPOLLIN, on_tty, vm);
	if (agent_fd >= 0)
		return take_agent(vm, agent_fd, e);
	vm_find_agent(vm);
	return 0;
}

void vm_dead(struct vm *vm)
{
	struct agent *agent = vm->agent;

	idle_end(vm);
	vm->agent = NULL;
	if (agent) {
		execs_agent(vm->vms->execs, vm, NULL);
		listeners_check(vm);
		agent_free(agent);
	}
	publish_end(vm);
	listeners_end(vm);
	execs_down(vm->vms->execs, vm->row.id);
	words_end(vm);
	vm->exit_source = sd_event_source_disable_unref(vm->exit_source);
	vm->tty_source = sd_event_source_disable_unref(vm->tty_source);
	vm->retry = sd_event_source_disable_unref(vm->retry);
	vm->pidfd = close_fd(vm->pidfd);
	vm->run_fd = close_fd(vm->run_fd);
	vm->tty_fd = close_fd(vm->tty_fd);
	vm->pid = 0;
	vm->engine = NULL;
	vm->channel[0] = '\0';
	vm->strange = false;
}

int vm_console_write(struct vm *vm, const void *data, size_t n, struct err *e)
{
	ssize_t k;

	if (vm->tty_fd < 0)
		return err_set(e, -ENOTCONN, "console: the VM doesn't run: echo start > ctl");
	k = send(vm->tty_fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (k < 0)
		return err_sys(e, -errno, "console");
	return (size_t)k == n ? 0 : err_set(e, -EAGAIN, "console: it takes no more now");
}
