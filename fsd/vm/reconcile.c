/*
 * At the daemon's start: what the store says, what the helper knows, and what lives are brought together. Blocking, before anything is served.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "banger/io.h"
#include "banger/parse.h"
#include "vm/model.h"
#include "vm/objects_make.h"

#define KILL_MSEC 5000

/* Kills what runs under this number, and lets go of all it has. */
static void put_down(struct vms *vms, uint32_t id)
{
	_cleanup_err_ struct err e = {0};
	_cleanup_close_ int pidfd = -EBADF;
	struct helper_process process;
	struct pollfd p;

	if (helper_pidfd(vms->config.helper, id, &process, &pidfd, NULL) == 0) {
		helper_signal(vms->config.helper, 0, id, HELPER_SIGKILL, NULL);
		p = (struct pollfd){.fd = pidfd, .events = POLLIN};
		poll(&p, 1, KILL_MSEC);
	}
	if (helper_release(vms->config.helper, 0, id, &e) < 0)
		fprintf(stderr, "banger-fsd: releasing VM %u: %s\n", id, err_text(&e));
	stop_remove_sockets(vms, id);
}

/* Whether the VM was started before this host was: there is nobody any more who could know how it ended. */
static bool host_restarted(const struct vm *vm)
{
	struct timespec up;

	return clock_gettime(CLOCK_BOOTTIME, &up) == 0 && vm->row.started > 0 &&
	       vm->row.started < io_wall_usec() - (uint64_t)up.tv_sec * 1000000;
}

static int down_reason(struct vm *vm, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;

	if (host_restarted(vm))
		return err_set(e, -EIO, "the host went down while it ran: echo start > ctl starts it again");
	return vm_open_dir(vm->vms, vm->row.id, &dir, NULL) == 0 ? stop_reason(dir, e) : 0;
}

static void mark_down(struct vm *vm)
{
	_cleanup_err_ struct err why = {0};
	bool failed = (vm->state == VM_RUNNING || vm->state == VM_PAUSED) && down_reason(vm, &why) < 0;

	vm->row.started = 0;
	vm_set_text(&vm->row.boot_id, "");
	vm_set_text(&vm->row.accel, "");
	if (failed) {
		err_wrap(&why, "run");
		vm_set_error(vm, why.code, 0, err_text(&why));
		vm_set_state(vm, VM_FAILED);
	} else {
		if (vm->state == VM_STARTING)
			vm_log(vm, "the start was cut off by the daemon's end, and is undone");
		vm_set_state(vm, VM_STOPPED);
	}
}

/* A VMM that lives: its VM goes on as if nothing had been. */
static int adopt(struct vm *vm, const struct helper_process *process, int pidfd, struct err *e)
{
	enum engine_status status = ENGINE_RUNNING;
	int r = vm_alive(vm, process->pid, pidfd, -1, e);

	if (r < 0)
		return r;
	if (vm->run_fd >= 0)
		vm->engine->status(vm->run_fd, &status, NULL);
	vm->going = vm->state == VM_STOPPING;
	/* The store goes on saying that it was being stopped, for the next daemon. */
	(vm->going ? vm_show_state : vm_set_state)(vm, status == ENGINE_PAUSED ? VM_PAUSED : VM_RUNNING);
	vm_log(vm, "goes on under a new daemon, process %d", process->pid);
	return 0;
}

static int settle(struct vm *vm, struct err *e)
{
	struct helper_process process;
	int pidfd = -EBADF;

	if (helper_pidfd(vm->vms->config.helper, vm->row.id, &process, &pidfd, NULL) < 0) {
		bool down = vm->state == VM_CREATED || vm->state == VM_STOPPED || vm->state == VM_FAILED;

		put_down(vm->vms, vm->row.id);
		if (!down)
			mark_down(vm);
		return 0;
	}
	if (vm->state == VM_RUNNING || vm->state == VM_PAUSED || vm->state == VM_STOPPING)
		return adopt(vm, &process, pidfd, e);
	/* A start that nobody finished. */
	close_fd(pidfd);
	put_down(vm->vms, vm->row.id);
	mark_down(vm);
	return 0;
}

/* What the helper has of VMs that there are none of, the accelerator's probe among them. */
static int sweep_helper(struct vms *vms, struct err *e)
{
	uint32_t after = 0;

	for (;;) {
		_cleanup_err_ struct err mine = {0};
		struct helper_entry entry;
		int r = helper_list(vms->config.helper, after, &entry, &mine);

		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return err_move(e, &mine);
		after = entry.vm;
		if (!vms_get(vms, entry.vm))
			put_down(vms, entry.vm);
	}
}

static void forget(struct vms *vms, uint32_t id)
{
	struct vm *vm = vms_get(vms, id);

	if (!vm || store_vm_delete(vms->config.store, id, NULL) < 0)
		return;
	TAILQ_REMOVE(&vms->list, vm, link);
	vms->count--;
	vm_free(vm);
}

/* Folders without a VM: of a deletion or a creation cut off. */
static void sweep_folders(struct vms *vms)
{
	int fd = openat(vms->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		uint64_t id;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		/* A deletion cut off between its folder and its row: the row goes too. */
		if (strncmp(entry->d_name, ".gone-", 6) == 0 &&
			parse_u64(entry->d_name + 6, 1, UINT32_MAX, &id) == 0)
			forget(vms, (uint32_t)id);
		if (parse_u64(entry->d_name, 1, UINT32_MAX, &id) < 0 || !vms_get(vms, (uint32_t)id))
			objects_remove(vms->dir_fd, entry->d_name, NULL);
	}
}

int vms_reconcile(struct vms *vms, struct err *e)
{
	struct vm *vm;
	int r;

	TAILQ_FOREACH (vm, &vms->list, link) {
		r = settle(vm, e);
		if (r < 0)
			return r;
	}
	r = sweep_helper(vms, e);
	sweep_folders(vms);
	return r;
}
