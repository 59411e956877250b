/* A VM's settings: a row each. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "net/port_map.h"
#include "vm/disks.h"
#include "vm/model.h"
#include "vm/publish.h"

#define VCPUS_MAX  64
#define MEMORY_MIN (64ull << 20)
#define MEMORY_MAX (1ull << 40)
#define DISK_MIN   (64ull << 20)
#define DISK_MAX   (16ull << 40)

/* A second. Below, a single request of a guest takes longer than it waits for. */
#define RATE_MIN HELPER_RATE_MIN
#define OPS_MIN  10ull
#define RATE_MAX HELPER_RATE_MAX

#define AUTOSTOP_MAX (366u * 86400) /* seconds */

static int must_be_idle(const struct vm *vm, struct err *e)
{
	return vm->deed || vm->deleting || vm->telling
		       ? err_set(e, -EBUSY, "something is at work on the VM: try again")
		       : 0;
}

static int must_not_run(const struct vm *vm, struct err *e)
{
	int r = must_be_idle(vm, e);

	if (r < 0)
		return r;
	if (vm->pidfd >= 0)
		return err_set(e, -EBUSY, "the VM is %s: stop it first, it is read at the next start",
			vm_state_name(vm->state));
	return 0;
}

static int check_number(const char *text, uint64_t min, uint64_t max, bool is_size, struct err *e)
{
	uint64_t v;
	int r = is_size ? parse_size(text, min, max, &v) : parse_u64(text, min, max, &v);

	if (r == -EINVAL)
		return err_set(e, r, "'%.64s' is no number%s", text,
			is_size ? " of bytes (K M G T may follow)" : "");
	if (r < 0)
		return err_set(e, r, "%" PRIu64 " to %" PRIu64, min, max);
	return 0;
}

static void show_image(const struct vm *vm, FILE *out)
{
	fputs(vm->row.image, out);
}

static int check_object(const struct vm *vm, const struct objects *o, const char *text, struct err *e)
{
	int r = must_not_run(vm, e);

	return r < 0 ? r : objects_check(o, text, e);
}

static int check_image(const struct vm *vm, const char *text, struct err *e)
{
	return check_object(vm, vm->vms->config.images, text, e);
}

static int put_text(char **field, const char *text, struct err *e)
{
	char *copy = strdup(text);

	if (!copy)
		return err_sys(e, -ENOMEM, "setting");
	free(*field);
	*field = copy;
	return 0;
}

static int apply_image(struct vm *vm, const char *text, struct err *e)
{
	return put_text(&vm->row.image, text, e);
}

static void show_kernel(const struct vm *vm, FILE *out)
{
	fputs(vm->row.kernel, out);
}

static int check_kernel(const struct vm *vm, const char *text, struct err *e)
{
	return check_object(vm, vm->vms->config.kernels, text, e);
}

static int apply_kernel(struct vm *vm, const char *text, struct err *e)
{
	return put_text(&vm->row.kernel, text, e);
}

static void show_engine(const struct vm *vm, FILE *out)
{
	fputs(vm_engine_name(vm), out);
}

static int check_engine(const struct vm *vm, const char *text, struct err *e)
{
	int r = must_not_run(vm, e);

	if (r == 0 && strcmp(text, "auto") != 0 && !engine_find(text))
		return err_set(e, -EINVAL, "'%.64s' is none: auto, firecracker or qemu", text);
	return r;
}

static int apply_engine(struct vm *vm, const char *text, struct err *e)
{
	return put_text(&vm->row.engine, strcmp(text, "auto") == 0 ? "" : text, e);
}

static void show_storage(const struct vm *vm, FILE *out)
{
	fputs(*vm->row.storage ? vm->row.storage : "auto", out);
}

static int check_storage(const struct vm *vm, const char *text, struct err *e)
{
	int r = must_not_run(vm, e);

	if (r == 0)
		r = disks_check_word(text, e);
	/* Until its first start nothing is written that the other couldn't read. */
	if (r == 0 && vm->state != VM_CREATED && strcmp(text, vm->row.storage) != 0)
		return err_set(e, -EINVAL,
			"what the VM has written is in that of %s: promote it to an image, and make "
			"another VM of that",
			*vm->row.storage ? vm->row.storage : "overlay");
	return r;
}

static int apply_storage(struct vm *vm, const char *text, struct err *e)
{
	return put_text(&vm->row.storage, text, e);
}

static void show_vcpus(const struct vm *vm, FILE *out)
{
	fprintf(out, "%u", vm->row.vcpus);
}

static int check_vcpus(const struct vm *vm, const char *text, struct err *e)
{
	int r = check_number(text, 1, VCPUS_MAX, false, e);

	return r < 0 ? r : must_not_run(vm, e);
}

static int apply_vcpus(struct vm *vm, const char *text, struct err *e)
{
	uint64_t v;
	int r = parse_u64(text, 1, VCPUS_MAX, &v);

	if (r == 0)
		vm->row.vcpus = (uint32_t)v;
	return r < 0 ? err_sys(e, r, "vcpus") : 0;
}

static void show_memory(const struct vm *vm, FILE *out)
{
	fprintf(out, "%" PRIu64, vm->row.memory);
}

static int check_memory(const struct vm *vm, const char *text, struct err *e)
{
	int r = check_number(text, MEMORY_MIN, MEMORY_MAX, true, e);

	return r < 0 ? r : must_not_run(vm, e);
}

/* A VMM has whole MiB: what is shown is what is in force. */
static int apply_memory(struct vm *vm, const char *text, struct err *e)
{
	int r = parse_size(text, MEMORY_MIN, MEMORY_MAX, &vm->row.memory);

	vm->row.memory &= ~((1ull << 20) - 1);
	return r < 0 ? err_sys(e, r, "memory") : 0;
}

static void show_disk(const struct vm *vm, FILE *out)
{
	fprintf(out, "%" PRIu64, vm->row.disk);
}

static int check_disk(const struct vm *vm, const char *text, struct err *e)
{
	int r = check_number(text, DISK_MIN, DISK_MAX, true, e);
	uint64_t v;

	if (r == 0)
		r = must_not_run(vm, e);
	/* Until its first start there is no disk that could lose something. */
	if (r == 0 && vm->state != VM_CREATED && parse_size(text, 0, UINT64_MAX, &v) == 0 && v < vm->row.disk)
		return err_set(e, -EINVAL, "it never shrinks: %" PRIu64 " bytes or more", vm->row.disk);
	return r;
}

static int apply_disk(struct vm *vm, const char *text, struct err *e)
{
	int r = parse_size(text, DISK_MIN, DISK_MAX, &vm->row.disk);

	vm->row.disk &= ~4095ull;
	return r < 0 ? err_sys(e, r, "disk") : 0;
}

static void show_nat(const struct vm *vm, FILE *out)
{
	fputs(vm->row.nat ? "1" : "0", out);
}

static int check_nat(const struct vm *vm, const char *text, struct err *e)
{
	bool v;

	if (parse_bool(text, &v) < 0)
		return err_set(e, -EINVAL, "0 or 1");
	return must_be_idle(vm, e);
}

static int apply_nat(struct vm *vm, const char *text, struct err *e)
{
	int r = parse_bool(text, &vm->row.nat);

	return r < 0 ? err_sys(e, r, "nat") : 0;
}

static void show_autostop(const struct vm *vm, FILE *out)
{
	if (vm->row.autostop)
		fprintf(out, "%" PRIu32, vm->row.autostop);
	else
		fputs("max", out);
}

static int check_autostop(const struct vm *vm, const char *text, struct err *e)
{
	int r;

	(void)vm;
	if (strcmp(text, "max") == 0)
		return 0;
	r = check_number(text, 1, AUTOSTOP_MAX, false, NULL);
	return r < 0 ? err_set(e, r, "'%.64s': seconds, 1 to %u, or max: never", text, AUTOSTOP_MAX) : 0;
}

static int apply_autostop(struct vm *vm, const char *text, struct err *e)
{
	uint64_t v = 0;
	int r = strcmp(text, "max") == 0 ? 0 : parse_u64(text, 1, AUTOSTOP_MAX, &v);

	if (r < 0)
		return err_sys(e, r, "autostop");
	vm->row.autostop = (uint32_t)v;
	idle_check(vm);
	return 0;
}

/* What is limited, or `max`. */
static void show_rate(uint64_t rate, FILE *out)
{
	if (rate)
		fprintf(out, "%" PRIu64, rate);
	else
		fputs("max", out);
}

static int check_rate(const struct vm *vm, const char *text, uint64_t min, struct err *e)
{
	int r = strcmp(text, "max") == 0 ? 0 : check_number(text, min, RATE_MAX, true, e);

	return r < 0 ? r : must_be_idle(vm, e);
}

static int apply_rate(uint64_t *field, const char *text, struct err *e)
{
	uint64_t v = 0;
	int r = strcmp(text, "max") == 0 ? 0 : parse_size(text, 1, RATE_MAX, &v);

	if (r < 0)
		return err_sys(e, r, "'%.64s'", text);
	*field = v;
	return 0;
}

static void show_disk_rate(const struct vm *vm, FILE *out)
{
	show_rate(vm->row.disk_rate, out);
}

static int check_disk_rate(const struct vm *vm, const char *text, struct err *e)
{
	return check_rate(vm, text, RATE_MIN, e);
}

static int apply_disk_rate(struct vm *vm, const char *text, struct err *e)
{
	return apply_rate(&vm->row.disk_rate, text, e);
}

static void show_disk_ops(const struct vm *vm, FILE *out)
{
	show_rate(vm->row.disk_ops, out);
}

static int check_disk_ops(const struct vm *vm, const char *text, struct err *e)
{
	return check_rate(vm, text, OPS_MIN, e);
}

static int apply_disk_ops(struct vm *vm, const char *text, struct err *e)
{
	return apply_rate(&vm->row.disk_ops, text, e);
}

static void show_net_rate(const struct vm *vm, FILE *out)
{
	show_rate(vm->row.net_rate, out);
}

static int check_net_rate(const struct vm *vm, const char *text, struct err *e)
{
	return check_rate(vm, text, RATE_MIN, e);
}

static int apply_net_rate(struct vm *vm, const char *text, struct err *e)
{
	return apply_rate(&vm->row.net_rate, text, e);
}

static void show_publish(const struct vm *vm, FILE *out)
{
	fputs(vm->row.publish, out);
}

static int check_publish(const struct vm *vm, const char *text, struct err *e)
{
	_cleanup_free_ struct port_map *m = malloc(sizeof(*m));
	int r = m ? port_map_parse(text, port_map_lowest(), m, e) : err_sys(e, -ENOMEM, "publish");

	(void)vm;
	return r;
}

/* A change: in the model at once, told to those who run the VM, then stored; taken back when either couldn't be. */
struct change {
	struct vms *vms;
	uint32_t id;
	const struct vm_setting *setting;
	char *old;
	vm_done_fn done;
	void *user;
	/* The worker's: copies. */
	bool nat;
	uint32_t address;
	const struct engine *engine;
	int run_fd;
	enum helper_storage storage;
	struct engine_rates rates;
};

static int tell_nat(void *data, struct err *e)
{
	struct change *c = data;

	return helper_nat(c->vms->config.helper, 0, c->id, c->address, c->nat, e);
}

static int tell_rates(void *data, struct err *e)
{
	struct change *c = data;

	return c->engine->set_rates(c->run_fd, c->storage, &c->rates, NULL, e);
}

static int tell_net_rate(void *data, struct err *e)
{
	struct change *c = data;

	return c->engine->limits_net ? tell_rates(c, e)
				     : helper_rate(c->vms->config.helper, 0, c->id, c->rates.net, e);
}

const struct vm_setting vm_settings[] = {
	{"image", "The image that the root file system is of. Read at the start.", show_image, check_image,
		apply_image, NULL},
	{"kernel", "The kernel that it boots.", show_kernel, check_kernel, apply_kernel, NULL},
	{"engine",
		"What runs it: `firecracker`, `qemu`, or `auto`, which `config/engine` and the host decide "
		"at the start; while it runs, what does.",
		show_engine, check_engine, apply_engine, NULL},
	{"storage",
		"How the root is made writable: `dm`, a device-mapper snapshot of the image, or `overlay`, "
		"in the guest over the read-only image. `auto` until the first start, which chooses what "
		"the host has.",
		show_storage, check_storage, apply_storage, NULL},
	{"vcpus", "Virtual CPUs, 1 to 64.", show_vcpus, check_vcpus, apply_vcpus, NULL},
	{"memory", "Bytes of memory, whole MiB, 64 MiB or more.", show_memory, check_memory, apply_memory,
		NULL},
	{"disk",
		"Bytes of each of its disks: the work disk at /root and the one over the image. With "
		"storage `dm` the root is as large as the image where that is larger, and `disk` is how "
		"much of it can be written. Grows at the next start, never shrinks.",
		show_disk, check_disk, apply_disk, NULL},
	{"nat", "Whether the guest reaches the world through the host: `0` or `1`, also while it runs.",
		show_nat, check_nat, apply_nat, tell_nat},
	{"autostop",
		"Seconds after which a VM that nobody uses is stopped; `max`: never. What is use says "
		"`idle`.",
		show_autostop, check_autostop, apply_autostop, NULL},
	{"disk_rate",
		"Bytes a second that the guest may read and write on each of its disks, 64 KiB or more; "
		"`max`: no limit. Also while it runs.",
		show_disk_rate, check_disk_rate, apply_disk_rate, tell_rates},
	{"disk_ops", "Likewise operations a second, 10 or more.", show_disk_ops, check_disk_ops,
		apply_disk_ops, tell_rates},
	{"net_rate",
		"Bytes a second that the guest may send, and as many that it may receive, 64 KiB or more; "
		"`max`: no limit. Also while it runs. Firecracker keeps it by itself; for QEMU the host's "
		"kernel does: ENOTSUP, at the start too, where it has no sch_tbf, sch_ingress, cls_u32 or "
		"act_police.",
		show_net_rate, check_net_rate, apply_net_rate, tell_net_rate},
	{"publish",
		"Ports of the guest on this host's loopback (127.0.0.1, ::1): lines of `HOST GUEST`, a port "
		"each or ranges as long as each other; also while it runs, and before anything listens "
		"there; and `auto FIRST-LAST`: those of the guest's ports that begin to listen, as long as "
		"they do, 64 at most. Carried by the agent: no network is needed. EADDRINUSE: another "
		"program has one of the host's.",
		show_publish, check_publish, publish_set, NULL},
};
const size_t vm_settings_count = ELEMENTSOF(vm_settings);

bool vm_setting_has_lines(const struct vm_setting *s)
{
	return s->check == check_publish;
}

static void change_end(struct change *c, int code, const struct err *e)
{
	struct vm *vm = vms_get(c->vms, c->id);

	if (vm && code < 0 && c->old)
		c->setting->apply(vm, c->old, NULL);
	if (vm) {
		if (code == 0)
			vm_set_error(vm, 0, 0, "");
		vm_changed(vm);
	}
	c->done(c->user, code, e);
	free(c->old);
	free(c);
}

static void done_stored(void *user, int code, const struct err *e)
{
	change_end(user, code, e);
}

static void store_change(struct change *c)
{
	_cleanup_err_ struct err e = {0};
	struct vm *vm = vms_get(c->vms, c->id);

	if (!vm) {
		err_set(&e, -ESTALE, "the VM has been deleted");
		change_end(c, e.code, &e);
	} else if (vm_save_then(vm, done_stored, c, &e) < 0) {
		change_end(c, e.code, &e);
	}
}

static void done_telling(void *data, int code, struct err *e)
{
	struct change *c = data;
	struct vm *vm = vms_get(c->vms, c->id);

	close_fd(c->run_fd);
	if (vm)
		vm->telling = false;
	if (code < 0)
		change_end(c, code, e);
	else
		store_change(c);
}

static int begin_telling(struct vm *vm, struct change *c, struct err *e)
{
	int r;

	c->nat = vm->row.nat;
	c->address = vm_address(vm);
	c->engine = vm->engine;
	c->storage = strcmp(vm->row.storage, disks_storage_name(HELPER_STORAGE_DM)) == 0
			     ? HELPER_STORAGE_DM
			     : HELPER_STORAGE_OVERLAY;
	c->rates = (struct engine_rates){vm->row.disk_rate, vm->row.disk_ops, vm->row.net_rate};
	c->run_fd = fcntl(vm->run_fd, F_DUPFD_CLOEXEC, 3);
	r = c->run_fd < 0 ? err_sys(e, -errno, "%s", c->setting->name)
			  : job_submit(vm->vms->jobs, c->setting->tell, done_telling, c, e);
	if (r < 0)
		close_fd(c->run_fd);
	else
		vm->telling = true;
	return r;
}

int vm_set(struct vm *vm, const struct vm_setting *s, const char *text, vm_done_fn done, void *user,
	struct err *e)
{
	struct change *c;
	size_t size = 0;
	FILE *out;
	int r = s->check(vm, text, e);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, -ENOMEM, "%s", s->name);
	*c = (struct change){.vms = vm->vms, .id = vm->row.id, .setting = s, .done = done, .user = user};
	out = open_memstream(&c->old, &size);
	if (out) {
		s->show(vm, out);
		fclose(out);
	}
	r = s->apply(vm, text, e);
	if (r < 0) {
		free(c->old);
		free(c);
		return r;
	}
	vm->row.changed = io_wall_usec();
	vm_log(vm, "%s: %s", s->name, text);
	if (s->tell && vm->pidfd >= 0) {
		r = begin_telling(vm, c, e);
		if (r < 0) {
			s->apply(vm, c->old, NULL);
			free(c->old);
			free(c);
		}
		return r;
	}
	store_change(c);
	return 0;
}
