/* A start: kernel and image made sure of on the loop, then its steps on a worker, then the model takes over what lives. */
#include <errno.h>
#include <poll.h>

#include "banger/io.h"
#include "image/image.h"
#include "vm/start_steps.h"
#include "vm/sync.h"

/* A guest that is emulated may come up without a timer, and does it again then (guest/boot.c). */
#define RESETS_MAX 2

/* A cancelled start leaves the VM as it was; one that failed says so. */
static enum vm_state state_after(const struct deed *d, int code)
{
	if (code != -EINTR)
		return VM_FAILED;
	return d->starting_again || d->before == VM_RUNNING ? VM_STOPPED : d->before;
}

static void on_failure_stored(void *user, int code, const struct err *e)
{
	struct deed *d = user;
	_cleanup_err_ struct err why = d->why;

	if (code < 0)
		vm_log(d->vm, "start: %s", err_text(e));
	vm_show_state(d->vm, state_after(d, why.code));
	deed_end(d, why.code, &why);
}

/* Who waits is told of it once the store has it: the daemon that comes after this one says the same. */
static void start_failed(struct deed *d, int code, const struct err *e)
{
	struct vm *vm = d->vm;

	d->why = (struct err){0};
	err_set(&d->why, code, "%s", err_text(e));
	vm_set_error(vm, code, op_id(d->op), err_text(e));
	if (vm_store_state_then(vm, state_after(d, code), on_failure_stored, d) < 0)
		on_failure_stored(d, 0, NULL);
}

/* A guest without its owner's files is one that has started: the VM's log says why it has none. */
static void have_files(void *user, int code, const struct err *e)
{
	struct deed *d = user;
	struct vm *vm = d->vm;
	struct pollfd p = {.fd = vm->pidfd, .events = POLLIN};

	(void)code;
	(void)e;
	deed_end(d, 0, NULL);
	/* It ended meanwhile, and was left to us (on_exit_() of alive.c). */
	if (poll(&p, 1, 0) > 0 && !vm->deed)
		stop_after_exit(vm);
}

static void bring_files(struct deed *d)
{
	_cleanup_err_ struct err e = {0};
	struct sync_waiter *w;

	op_stage(d->op, "files");
	if (vm_sync(d->vm, have_files, d, &w, &e) < 0) {
		vm_log(d->vm, "%s", err_text(&e));
		deed_end(d, 0, NULL);
	}
}

static void start_launch(struct deed *d);

static void done_start(void *data, int code, struct err *e)
{
	struct start *s = data;
	struct deed *d = s->deed;
	struct vm *vm = d->vm;

	if (code == 0) {
		vm_set_text(&vm->row.boot_id, s->boot_id);
		vm_set_text(&vm->row.storage, disks_storage_name(s->disks.storage));
		vm_set_text(&vm->row.accel, s->accel == HELPER_ACCEL_KVM ? "kvm" : "tcg");
		vm->row.started = io_wall_usec();
		code = vm_alive(vm, s->process.pid, TAKE_FD(s->pidfd), TAKE_FD(s->agent_fd), e);
		/* It can't be watched: a VMM that nobody knows of must not be. Rare enough for the loop to do it. */
		if (code < 0)
			start_undo(s, e);
	}
	if (code == 0) {
		if (s->accel_why && *s->accel_why)
			vm_log(vm, "%s: %s", s->accel == HELPER_ACCEL_TCG ? "emulated" : "in another engine",
				s->accel_why);
		if (s->no_driver)
			vm_log(vm,
				"its agent is reached by virtio-serial: the kernel %s has no module "
				"vmw_vsock_virtio_transport",
				vm->row.kernel);
		if (s->disks.why)
			vm_log(vm, "%s", s->disks.why);
		if (s->note)
			vm_log(vm, "%s", s->note);
		if (s->key_why)
			vm_log(vm, "its sshd has the keys that came with the image: %s", s->key_why);
		vm_set_state(vm, VM_RUNNING);
		bring_files(d);
	} else if (s->reset && !op_cancelled(d->op) && d->resets++ < RESETS_MAX) {
		vm_log(vm, "the guest reset itself before its agent answered: once more");
		start_free(s);
		start_launch(d);
		return;
	} else {
		start_failed(d, code, e);
	}
	start_free(s);
}

static void start_launch(struct deed *d)
{
	struct vm *vm = d->vm;
	const struct settings *settings = vm->vms->config.settings;
	const struct store_object *image = objects_meant(vm->vms->config.images, vm->row.image);
	const struct store_object *kernel = objects_find(vm->vms->config.kernels, vm->row.kernel);
	_cleanup_err_ struct err e = {0};
	struct start *s = calloc(1, sizeof(*s));
	int r = s && image && kernel
			? 0
			: err_set(&e, -ENOENT, "image or kernel has just been deleted: try again");

	if (!s) {
		start_failed(d, -ENOMEM, &e);
		return;
	}
	*s = (struct start){
		.vms = vm->vms,
		.deed = d,
		.id = vm->row.id,
		.vcpus = vm->row.vcpus,
		.memory = vm->row.memory,
		.rates = {vm->row.disk_rate, vm->row.disk_ops, vm->row.net_rate},
		.nat = vm->row.nat,
		.address = vm_address(vm),
		.want_engine = strdup(*vm->row.engine ? vm->row.engine : settings_get(settings, "engine")),
		.console_max = settings_get_u64(settings, "console_max"),
		.timeout_usec = settings_get_u64(settings, "start_timeout_usec"),
		.name = strdup(vm->row.name),
		.want_accel = strdup(settings_get(settings, "accel")),
		.want_storage = strdup(*vm->row.storage ? vm->row.storage : "auto"),
		.dns = strdup(settings_get(settings, "dns")),
		.image_file = image ? strdup(image->file) : NULL,
		.kernel_fd = -EBADF,
		.dir_fd = -EBADF,
		.run_fd = -EBADF,
		.pidfd = -EBADF,
		.agent_fd = -EBADF,
	};
	s->has_ip6 = vm_ip6(vm, s->ip6);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		s->fds[i] = -EBADF;
	s->disks = (struct disks){.helper = vm->vms->config.helper,
		.vm = vm->row.id,
		.image_file = s->image_file,
		.want = s->want_storage,
		.size = vm->row.disk,
		.over_fd = -EBADF,
		.work_fd = -EBADF};
	if (r == 0 && (!s->name || !s->want_engine || !s->want_accel || !s->want_storage || !s->dns ||
			      !s->image_file))
		r = err_sys(&e, -ENOMEM, "start");
	if (r == 0)
		r = objects_runs_here(vm->vms->config.images, image, &e);
	if (r == 0)
		r = objects_open(vm->vms->config.images, image, &s->fds[LAUNCH_FD_IMAGE], &e);
	if (r == 0)
		r = objects_open(vm->vms->config.kernels, kernel, &s->kernel_fd, &e);
	if (r == 0)
		r = job_submit(vm->vms->jobs, start_work, done_start, s, &e);
	if (r < 0) {
		start_free(s);
		start_failed(d, r, &e);
	}
}

static void ensure_failed(struct deed *d, const char *step, int code, const struct err *e)
{
	_cleanup_err_ struct err mine = {0};

	err_copy(&mine, e);
	err_wrap(&mine, "%s", step);
	start_failed(d, code, &mine);
}

/* The kernel first, then the image; each may have to be made. */
static void have_image(void *user, int code, const struct err *e)
{
	struct deed *d = user;

	d->ensuring = NULL;
	if (code < 0)
		ensure_failed(d, "image", code, e);
	else
		start_launch(d);
}

static void have_kernel(void *user, int code, const struct err *e)
{
	struct deed *d = user;
	_cleanup_err_ struct err mine = {0};
	struct objects_waiter *w = NULL;

	d->ensuring = NULL;
	if (code < 0) {
		ensure_failed(d, "kernel", code, e);
		return;
	}
	op_stage(d->op, "image");
	if (objects_ensure(d->vm->vms->config.images, d->vm->row.image, have_image, d, &w, &mine) < 0) {
		err_wrap(&mine, "image");
		start_failed(d, mine.code, &mine);
	} else if (w) {
		d->ensuring = w;
	}
}

void start_begin(struct deed *d)
{
	_cleanup_err_ struct err mine = {0};
	struct objects_waiter *w = NULL;

	/* The start waits for what they still write (disks_take()), and nothing new begins. */
	stopped_end(d->vm);
	op_stage(d->op, "kernel");
	if (objects_ensure(d->vm->vms->config.kernels, d->vm->row.kernel, have_kernel, d, &w, &mine) < 0) {
		err_wrap(&mine, "kernel");
		start_failed(d, mine.code, &mine);
	} else if (w) {
		d->ensuring = w;
	}
}
