#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "vm/image_config.h"
#include "vm/listeners.h"
#include "vm/model.h"
#include "vm/publish.h"

static const char *const state_names[] = {[VM_CREATED] = "created",
	[VM_STARTING] = "starting",
	[VM_RUNNING] = "running",
	[VM_PAUSED] = "paused",
	[VM_STOPPING] = "stopping",
	[VM_STOPPED] = "stopped",
	[VM_FAILED] = "failed"};

const char *vm_state_name(enum vm_state s)
{
	return state_names[s];
}

int vm_state_parse(const char *s, enum vm_state *ret)
{
	for (size_t i = 0; i < ELEMENTSOF(state_names); i++)
		if (strcmp(s, state_names[i]) == 0) {
			*ret = (enum vm_state)i;
			return 0;
		}
	return -EINVAL;
}

int vm_copy_row(const struct store_vm *from, struct store_vm *to)
{
	*to = *from;
	to->name = strdup(from->name);
	to->image = strdup(from->image);
	to->kernel = strdup(from->kernel);
	to->engine = strdup(from->engine);
	to->storage = strdup(from->storage);
	to->state = strdup(from->state);
	to->error = strdup(from->error);
	to->boot_id = strdup(from->boot_id);
	to->accel = strdup(from->accel);
	to->publish = strdup(from->publish ? from->publish : "");
	if (to->name && to->image && to->kernel && to->engine && to->storage && to->state && to->error &&
		to->boot_id && to->accel && to->publish)
		return 0;
	store_vm_clear(to);
	return -ENOMEM;
}

void vm_set_text(char **field, const char *text)
{
	char *copy = strdup(text);

	if (copy) {
		free(*field);
		*field = copy;
	}
}

struct save {
	struct vms *vms;
	struct store_vm row;
	vm_done_fn done;
	void *user;
};

static int work_save(void *data, struct err *e)
{
	struct save *s = data;

	return store_vm_update(s->vms->config.store, &s->row, e);
}

static void done_save(void *data, int code, struct err *e)
{
	struct save *s = data;

	/* A VM deleted meanwhile has no row, and needs none. */
	if (code < 0 && code != -ENOENT && !s->done)
		fprintf(stderr, "banger-fsd: storing VM %s: %s\n", s->row.name, err_text(e));
	if (s->done)
		s->done(s->user, code, e);
	store_vm_clear(&s->row);
	free(s);
}

int vm_save_then(struct vm *vm, vm_done_fn done, void *user, struct err *e)
{
	struct save *s = calloc(1, sizeof(*s));
	int r;

	if (!s || vm_copy_row(&vm->row, &s->row) < 0) {
		free(s);
		return err_sys(e, -ENOMEM, "VM %s", vm->row.name);
	}
	s->vms = vm->vms;
	s->done = done;
	s->user = user;
	r = job_submit_serial(vm->vms->jobs, work_save, done_save, s, e);
	if (r < 0) {
		store_vm_clear(&s->row);
		free(s);
	}
	return r;
}

void vm_save(struct vm *vm)
{
	vm_save_then(vm, NULL, NULL, NULL);
}

void vm_changed(struct vm *vm)
{
	vm->row.changed = io_wall_usec();
	if (!vm->vms->quiet && vm->vms->watch.changed)
		vm->vms->watch.changed(vm->vms->user, vm);
}

void vm_show_state(struct vm *vm, enum vm_state state)
{
	enum vm_state old = vm->state;

	vm->state = state;
	idle_check(vm);
	publish_check(vm);
	if (old != state && !vm->vms->quiet && vm->vms->watch.state)
		vm->vms->watch.state(vm->vms->user, vm, old);
}

int vm_store_state_then(struct vm *vm, enum vm_state state, vm_done_fn done, void *user)
{
	vm_set_text(&vm->row.state, state_names[state]);
	vm->row.changed = io_wall_usec();
	return vm_save_then(vm, done, user, NULL);
}

int vm_set_state_then(struct vm *vm, enum vm_state state, vm_done_fn done, void *user)
{
	int r = vm_store_state_then(vm, state, done, user);

	vm_show_state(vm, state);
	return r;
}

void vm_set_state(struct vm *vm, enum vm_state state)
{
	vm_set_state_then(vm, state, NULL, NULL);
}

uint32_t vm_address(const struct vm *vm)
{
	return subnet_address(&vm->vms->subnet, vm->row.address_index);
}

bool vm_ip6(const struct vm *vm, uint8_t ret[16])
{
	helper_vm_ip6(vm->vms->subnet.prefix6, vm->row.id, ret);
	return vm->vms->subnet.has_ip6;
}

void vm_view(const struct vm *vm, struct vm_view *ret)
{
	*ret = (struct vm_view){
		.id = vm->row.id,
		.name = vm->row.name,
		.state = vm->state,
		.error = vm->row.error,
		.image = vm->row.image,
		.kernel = vm->row.kernel,
		.engine = vm_engine_name(vm),
		.storage = *vm->row.storage ? vm->row.storage : "auto",
		.vcpus = vm->row.vcpus,
		.memory = vm->row.memory,
		.disk = vm->row.disk,
		.nat = vm->row.nat,
		.ip = vm_address(vm),
		.pid = vm->pid,
		.boot_id = vm->row.boot_id,
		.accel = vm->row.accel,
		.channel = vm->channel,
		.created = vm->row.created,
		.started = vm->row.started,
		.changed = vm->row.changed,
		.busy = vm->deed != NULL || vm->deleting || vm->clearing,
		.op = vm->deed ? op_id(vm->deed->op) : 0,
	};
	ret->has_ip6 = vm_ip6(vm, ret->ip6);
	helper_vm_mac(vm->row.id, ret->mac);
}

struct vm *vms_get(struct vms *vms, uint32_t id)
{
	struct vm *vm;

	TAILQ_FOREACH (vm, &vms->list, link)
		if (vm->row.id == id)
			return vm;
	return NULL;
}

struct vm *vms_find(struct vms *vms, const char *name)
{
	struct vm *vm;

	TAILQ_FOREACH (vm, &vms->list, link)
		if (strcmp(vm->row.name, name) == 0)
			return vm;
	return NULL;
}

struct vm *vms_next(struct vms *vms, uint32_t after)
{
	struct vm *vm;

	TAILQ_FOREACH (vm, &vms->list, link)
		if (vm->row.id > after)
			return vm;
	return NULL;
}

size_t vms_count(const struct vms *vms)
{
	return vms->count;
}

struct agent *vm_agent(struct vm *vm)
{
	return vm->agent;
}

bool vm_awaits_agent(const struct vm *vm)
{
	return vm->state == VM_RUNNING && !vm->agent && !vm->strange;
}

struct agent *vm_files(struct vm *vm)
{
	/* A paused guest answers nobody. */
	return vm->state == VM_RUNNING ? vm->agent : stopped_agent(vm);
}

int vm_files_begin(struct vm *vm, struct agent **ret)
{
	if (vm->state != VM_RUNNING)
		return stopped_begin(vm, ret);
	if (!vm->agent)
		return -EBUSY;
	*ret = vm->agent;
	return 0;
}

bool vm_is_on_its_way(const struct vm *vm)
{
	/* Whose guest has ended by itself is being cleaned up after. */
	return vm->state == VM_STARTING || vm->state == VM_STOPPING || (vm->deleting && vm->pidfd >= 0);
}

struct execs *execs_of(struct vms *vms)
{
	return vms->execs;
}

struct execs *vm_execs(struct vm *vm)
{
	return vm->vms->execs;
}

struct image_config *vms_image_config(struct vms *vms, uint32_t id)
{
	struct vm *vm = vms_get(vms, id);
	const struct store_object *image = vm ? objects_meant(vms->config.images, vm->row.image) : NULL;

	return image ? objects_config(image) : NULL;
}

struct vm *vm_new(struct vms *vms)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (vm) {
		vm->vms = vms;
		vm->pidfd = vm->run_fd = vm->tty_fd = -EBADF;
		TAILQ_INIT(&vm->held);
	}
	return vm;
}

void vm_free(struct vm *vm)
{
	stopped_end(vm);
	vm_dead(vm);
	listeners_free(vm);
	store_vm_clear(&vm->row);
	free(vm->host_key);
	free(vm);
}

static int add_row(void *user, const struct store_vm *row)
{
	struct vms *vms = user;
	struct vm *vm = vm_new(vms);

	if (!vm || vm_copy_row(row, &vm->row) < 0) {
		free(vm);
		return -ENOMEM;
	}
	if (vm_state_parse(row->state, &vm->state) < 0)
		vm->state = VM_FAILED;
	ssh_load(vm);
	TAILQ_INSERT_TAIL(&vms->list, vm, link);
	vms->count++;
	execs_load(vms->execs, row->id);
	return 0;
}

static int open_below(int dir_fd, const char *name, int *ret, struct err *e)
{
	if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", name);
	*ret = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, -errno, "%s", name) : 0;
}

const char *vm_engine_name(const struct vm *vm)
{
	return vm->engine ? vm->engine->name : *vm->row.engine ? vm->row.engine : "auto";
}

int vm_open_dir(struct vms *vms, uint32_t id, int *ret_fd, struct err *e)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", id);
	return open_below(vms->dir_fd, name, ret_fd, e);
}

int vms_new(sd_event *event, struct jobs *jobs, struct ops *ops, const struct vms_config *config,
	const struct vm_watch *watch, void *user, struct vms **ret, struct err *e)
{
	struct vms *vms = calloc(1, sizeof(*vms));
	struct helper_hello hello;
	struct vm *vm;
	int r;

	if (!vms)
		return err_sys(e, -ENOMEM, "VMs");
	TAILQ_INIT(&vms->list);
	LIST_INIT(&vms->talks);
	LIST_INIT(&vms->stopped);
	vms->event = event;
	vms->jobs = jobs;
	vms->ops = ops;
	vms->config = *config;
	vms->watch = *watch;
	vms->user = user;
	vms->dir_fd = vms->runs_fd = vms->log.fd = vms->console.fd = vms->ending_fd = -EBADF;
	vms->quiet = true;
	vms->ending_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = vms->ending_fd < 0 ? err_sys(e, -errno, "eventfd") : helper_hello(config->helper, &hello, e);
	if (r == 0) {
		vms->subnet = subnet_of(&hello);
		r = open_below(config->state_fd, "vms", &vms->dir_fd, e);
	}
	if (r == 0)
		r = open_below(config->run_fd, ENGINE_RUNS, &vms->runs_fd, e);
	if (r == 0)
		r = execs_new(vms, config->state_fd, &vms->execs, e);
	if (r == 0)
		r = store_vm_each(config->store, add_row, vms, e);
	if (r == 0)
		r = vms_reconcile(vms, e);
	if (r == 0)
		TAILQ_FOREACH (vm, &vms->list, link)
			if (vm->pidfd < 0)
				execs_down(vms->execs, vm->row.id);
	if (r < 0) {
		vms_free(vms);
		return r;
	}
	uses_begin(vms);
	vms->quiet = false;
	*ret = vms;
	return 0;
}

void vms_end_background(struct vms *vms)
{
	if (!vms)
		return;
	(void)!eventfd_write(vms->ending_fd, 1);
	talks_end(vms);
}

struct vms *vms_free(struct vms *vms)
{
	struct vm *vm;

	if (!vms)
		return NULL;
	vms->quiet = true;
	/* First: jobs run on, and are not lost with their agents. */
	vms->execs = execs_free(vms->execs);
	while ((vm = TAILQ_FIRST(&vms->list))) {
		TAILQ_REMOVE(&vms->list, vm, link);
		vm_free(vm);
	}
	stopped_free_all(vms);
	sd_event_source_disable_unref(vms->fill);
	sd_event_source_disable_unref(vms->clock);
	close_fd(vms->dir_fd);
	close_fd(vms->runs_fd);
	close_fd(vms->log.fd);
	close_fd(vms->console.fd);
	close_fd(vms->ending_fd);
	free(vms);
	return NULL;
}
