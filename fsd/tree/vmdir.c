/* vms/NAME/. */
#include <errno.h>
#include <inttypes.h>
#include <arpa/inet.h>

#include "banger/cleanup.h"
#include "tree/state.h"
#include "tree/jobs.h"
#include "tree/tables.h"
#include "vm/workspace.h"

#define SETTING_FIRST_ID 256

static struct vm *vm_of(struct tree *t, uint64_t row)
{
	return row <= UINT32_MAX ? tree_vm(t, (uint32_t)row) : NULL;
}

static bool vm_exists(struct tree *t, uint64_t row)
{
	return vm_of(t, row) != NULL;
}

static uint64_t vm_changed(struct tree *t, uint64_t row)
{
	struct vm *vm = vm_of(t, row);
	struct vm_view v;

	if (!vm)
		return t->began;
	vm_view(vm, &v);
	return v.changed;
}

static uint64_t vm_parent(struct tree *t, uint64_t row)
{
	(void)t;
	(void)row;
	return node_number(KIND_VMS, 0, 0);
}

static uint64_t parent_vm(struct tree *t, uint64_t row)
{
	(void)t;
	return node_number(KIND_VM, row, 0);
}

static void state_print(const struct vm_view *v, FILE *out)
{
	fputs(vm_state_name(v->state), out);
}

static void error_print(const struct vm_view *v, FILE *out)
{
	fputs(v->error, out);
}

static void ip_print(const struct vm_view *v, FILE *out)
{
	struct in_addr a = {.s_addr = htonl(v->ip)};
	char text[INET_ADDRSTRLEN];

	if (v->ip)
		fputs(inet_ntop(AF_INET, &a, text, sizeof(text)), out);
}

static void ip6_print(const struct vm_view *v, FILE *out)
{
	char text[INET6_ADDRSTRLEN];

	if (v->has_ip6)
		fputs(inet_ntop(AF_INET6, v->ip6, text, sizeof(text)), out);
}

static void mac_print(const struct vm_view *v, FILE *out)
{
	fputs(v->mac, out);
}

static void pid_print(const struct vm_view *v, FILE *out)
{
	fprintf(out, "%d", v->pid);
}

static void boot_id_print(const struct vm_view *v, FILE *out)
{
	fputs(v->boot_id, out);
}

static void channel_print(const struct vm_view *v, FILE *out)
{
	fputs(v->channel, out);
}

static void created_print(const struct vm_view *v, FILE *out)
{
	fprintf(out, "%" PRIu64, v->created / 1000000);
}

static void started_print(const struct vm_view *v, FILE *out)
{
	fprintf(out, "%" PRIu64, v->started / 1000000);
}

static void uptime_print(const struct vm_view *v, FILE *out)
{
	uint64_t now = io_wall_usec();

	fprintf(out, "%" PRIu64, v->started && now > v->started ? now - v->started : 0);
}

static void hostname_print(const struct vm_view *v, FILE *out)
{
	fputs(v->name, out);
}

struct fact {
	void (*print)(const struct vm_view *v, FILE *out);
};

static void fact_show(struct tree *t, const struct target *at, FILE *out)
{
	const struct fact *f = at->attr->data;
	struct vm_view v;

	vm_view(vm_of(t, at->row), &v);
	f->print(&v, out);
	putc('\n', out);
}

static void published_show(struct tree *t, const struct target *at, FILE *out)
{
	vm_published(vm_of(t, at->row), out);
}

static void log_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	struct vm *vm = vm_of(t, h->at.row);

	if (vm)
		call_file(call, vm_log_fd(vm), size, offset);
	else
		call_done(call, -ESTALE);
}

static uint64_t file_size(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

static uint64_t log_size(struct tree *t, const struct target *at)
{
	return file_size(vm_log_fd(vm_of(t, at->row)));
}

static void console_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	struct vm *vm = vm_of(t, h->at.row);

	if (vm)
		call_file(call, vm_console_fd(vm), size, offset);
	else
		call_done(call, -ESTALE);
}

static uint64_t console_size(struct tree *t, const struct target *at)
{
	return file_size(vm_console_fd(vm_of(t, at->row)));
}

static void console_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	struct vm *vm = vm_of(t, h->at.row);
	_cleanup_err_ struct err e = {0};
	int r;

	if (n > INPUT_MAX) {
		call_done(call, -E2BIG);
		return;
	}
	r = vm ? vm_console_write(vm, data, n, &e) : -ESTALE;
	call_done(call, r < 0 ? r : 0);
}

static const struct file_ops log_ops = {.read = log_read, .size = log_size};
static const struct file_ops console_ops = {
	.read = console_read, .write = console_write, .size = console_size};

#define FACT(n, text, function, words)                                                                       \
	{                                                                                                    \
		.id = (n), .name = (text), .mode = 0444, .flags = ATTR_STORED, .show = fact_show,            \
		.data = &(const struct fact){function}, .doc = (words)                                       \
	}
static const struct attr vm_attrs[] = {
	{.id = 2,
		.name = "ctl",
		.mode = 0644,
		.flags = ATTR_APART,
		.show = vm_ctl_show,
		.store = vm_ctl_store,
		.doc = "Verbs, a line each, done in order; returns when they are done. Reading lists the "
		       "legal ones: `start` (returns when the guest answers), `stop`, `kill`, `restart`, "
		       "`pause`, `resume`. All do nothing where nothing is to be done. `sync` brings the "
		       "files of `config/file_sync`. `promote NAME`, of a VM that was stopped: an image of "
		       "what it was started from and what it has changed since, without its home disk "
		       "(/root), /etc/hostname, hosts and resolv.conf. Ctrl-C cancels and rolls back."},
	FACT(3, "state", state_print,
		"`created`, `starting`, `running`, `paused`, `stopping`, `stopped` or `failed`."),
	FACT(4, "error", error_print,
		"Why the last thing failed: `OPERATION-ID STEP: what happened: what to do`; empty after the "
		"next success."),
	FACT(5, "ip", ip_print, "Its address."),
	FACT(64, "ip6", ip6_print,
		"Its IPv6 address, by its number: never another VM's. Empty where the host has no IPv6."),
	FACT(6, "mac", mac_print, "Its hardware address."),
	FACT(7, "pid", pid_print, "Process of the VMM on the host; 0: none."),
	FACT(8, "boot_id", boot_id_print, "The running guest's own boot id; empty while it is stopped."),
	FACT(28, "channel", channel_print,
		"How its agent is reached: `vsock NUMBER` of the host's kernel, `vsock` (Firecracker's own) "
		"or `virtio-serial`; empty while it is stopped."),
	FACT(9, "created", created_print, "When it was made."),
	FACT(10, "started", started_print, "When this run began; 0 while it is stopped."),
	{.id = 11,
		.name = "uptime",
		.mode = 0444,
		.show = fact_show,
		.data = &(const struct fact){uptime_print},
		.doc = "How long it has been running, in microseconds; 0 while it is stopped."},
	FACT(12, "hostname", hostname_print, "Its host name: the name of the directory."),
	{.id = 13,
		.name = "stats",
		.mode = 0444,
		.ask = vm_stats_ask,
		.doc = "Flat keyed counters: the host's of the VMM (with `storage` dm also `root_written` "
		       "bytes of `root_room`, some seconds old), what the VMM counts on all its disks "
		       "(`vmm_read_bytes`, `vmm_writes`, ...), what the guest's balloon told it last "
		       "(`balloon_memory_available`, ...: every 10 s), then the guest's own while its agent "
		       "answers."},
	{.id = 14,
		.name = "health",
		.mode = 0444,
		.ask = vm_health_ask,
		.doc = "Flat keyed: `agent` (its version, `lost`, or `none` while it is stopped), then "
		       "what the agent says: hostname, init, boot_id, network, jobs."},
	{.id = 27,
		.name = "ports",
		.mode = 0444,
		.ask = vm_ports_ask,
		.doc = "What listens in the guest, a line each: port, `tcp` or `udp` (bound, and connected "
		       "to nobody), address, `http`, `https` or `-` (`?`: not known yet), pid, name and "
		       "command of the process; in the last two bytes that can't be printed are octal. A "
		       "TCP listener is connected to once, when it is first seen here, and asked what it "
		       "speaks. Empty while the VM is stopped, EBUSY while nobody answers."},
	{.id = VM_LOG_ID,
		.name = "log",
		.mode = 0444,
		.flags = ATTR_LOG | ATTR_TOLD,
		.ops = &log_ops,
		.doc = "This VM's story, a line each. `tail -f` works."},
	{.id = 16,
		.name = "console",
		.mode = 0600,
		.flags = ATTR_LOG | ATTR_LATE,
		.ops = &console_ops,
		.doc = "The serial line: reading gives what it said, writing goes to it."},
	{.id = 17,
		.name = "workspace",
		.mode = S_IFDIR | 0700,
		.flags = ATTR_WORKSPACE,
		.doc = "The guest's /root/workspace, with the full semantics of files: live, and while the "
		       "VM is stopped from its disk. On the way up and down each waits for the other: a "
		       "start for what is being written, who asks then until it is there, a minute at most "
		       "(EBUSY). EBUSY also while it is paused, and before the first start. The guest's "
		       "root is shown as the owner of the instance."},
	{.id = 18,
		.name = "root",
		.mode = S_IFDIR | 0700,
		.flags = ATTR_ROOT,
		.doc = "The guest's whole tree, live, as its processes see it: mounts are crossed, but "
		       "/proc, /sys, network file systems and the like are empty folders. While the VM is "
		       "stopped: what is on its disks, read-only (EROFS) but for /root; EOPNOTSUPP where "
		       "`storage` is dm. EBUSY as `workspace`."},
	{.id = 48,
		.name = "workspace.ctl",
		.mode = 0600,
		.flags = ATTR_APART,
		.show = workspace_ctl_show,
		.store = workspace_ctl_store,
		.doc = "`prepare [force] PATH [REF]`: brings the git checkout at PATH, or any folder, into "
		       "the workspace of the running VM: tracked files and those that are neither tracked "
		       "nor ignored, as they stand (with REF, as that commit has them), submodules, and "
		       "HEAD's history; again, what differs. What the guest has changed is not overwritten "
		       "(EEXIST) but with `force`. The owner's alone: it reads his files. Ctrl-C cancels."},
	{.id = 49,
		.name = "workspace.info",
		.mode = 0444,
		.ask = workspace_info_ask,
		.doc = "Flat keyed, empty when nothing was prepared: source, head (the commit that was "
		       "brought), host_head (where the source is now), stale (they differ), dirty (it had "
		       "changes that were no commit), files, bytes, prepared (when), ref."},
	{.id = 24,
		.name = "keep",
		.mode = 0444,
		.flags = ATTR_HELD,
		.show = vm_keep_show,
		.ops = &vm_keep_ops,
		.doc = "Empty. While somebody has it open, `autostop` leaves the VM alone: `exec "
		       "9<vms/NAME/keep`; closing it, or the end of who had it, lets go."},
	{.id = 25,
		.name = "idle",
		.mode = 0444,
		.show = vm_idle_show,
		.doc = "Flat keyed: uses (by how many the VM is in use now: open `keep`, `stream/console` "
		       "and files in `workspace/` and `root/`, jobs), "
		       "idle_usec (for how long it has not been)."},
	{.id = 26,
		.name = "published",
		.mode = 0444,
		.show = published_show,
		.doc = "The ports of `publish`, a line each: the host's, the guest's, `open`, `taken` (by "
		       "another program: tried again every 10 s), `failed`, or `closed` (the VM does not "
		       "run), and how many connections there are."},
	{.id = 50,
		.name = "workspace.patch",
		.mode = 0400,
		.ops = &workspace_made_ops,
		.data = (const void *)(uintptr_t)WORKSPACE_PATCH,
		.doc = "What the guest has changed since it was prepared, as one `git diff --binary`, for "
		       "`git apply`: made in the guest by its git, or by the host's, brought there, without "
		       "touching its index. Blocks until it is made. ENODATA: nothing was prepared."},
	{.id = 51,
		.name = "workspace.bundle",
		.mode = 0400,
		.ops = &workspace_made_ops,
		.data = (const void *)(uintptr_t)WORKSPACE_BUNDLE,
		.doc = "The guest's own commits as a git bundle, for `git fetch`, likewise. ENODATA: it has "
		       "none."},
	{.id = 52,
		.name = "workspace.status",
		.mode = 0400,
		.ops = &workspace_made_ops,
		.data = (const void *)(uintptr_t)WORKSPACE_STATUS,
		.doc = "The files that workspace.patch is about, a line each: A, M, D or T, a tab, the name "
		       "as git quotes it."},
	{.id = 32, .name = "wait", .mode = S_IFDIR, .child = KIND_VM_WAIT},
	{.id = 33, .name = "exec", .mode = S_IFDIR, .child = KIND_EXECS},
	{.id = 34, .name = "stream", .mode = S_IFDIR, .flags = ATTR_HIDDEN, .child = KIND_VM_STREAM},
};

static size_t setting_rows(struct attr *ret, size_t max)
{
	for (size_t i = 0; i < vm_settings_count && i < max; i++)
		ret[i] = (struct attr){
			.id = (uint16_t)(SETTING_FIRST_ID + i),
			.name = vm_settings[i].name,
			.mode = 0644,
			.flags = ATTR_STORED,
			.doc = vm_settings[i].doc,
			.show = vm_setting_show,
			.store = vm_setting_store,
			.data = &vm_settings[i],
		};
	return vm_settings_count < max ? vm_settings_count : max;
}

static int vm_removable(struct tree *t, uint64_t row)
{
	struct vm *vm = vm_of(t, row);
	struct vm_view v;

	if (!vm)
		return -ESTALE;
	vm_view(vm, &v);
	return v.busy || v.pid != 0 ? -EBUSY : 0;
}

const struct dir_type vm_dir = {
	.kind = KIND_VM,
	.path = "vms/NAME/",
	.doc = "A VM. `rm -r` works on a stopped one: removing a file here has no effect by itself.",
	.attrs = vm_attrs,
	.attr_count = ELEMENTSOF(vm_attrs),
	.more = setting_rows,
	.exists = vm_exists,
	.changed = vm_changed,
	.parent = vm_parent,
	.removable = vm_removable,
};

static const struct attr stream_attrs[] = {
	{.id = 2,
		.name = "console",
		.mode = 0400,
		.flags = ATTR_STREAM,
		.ops = &stream_ops,
		.data = (const void *)(uintptr_t)CHANNEL_VM_CONSOLE,
		.doc = "Blocks. What the serial line says, from the opening on."},
	{.id = 3,
		.name = "log",
		.mode = 0444,
		.flags = ATTR_STREAM,
		.ops = &stream_ops,
		.data = (const void *)(uintptr_t)CHANNEL_VM_LOG,
		.doc = "Blocks. The lines of `log` as they come."},
	{.id = 4,
		.name = "ports",
		.mode = 0444,
		.flags = ATTR_STREAM,
		.ops = &stream_ops,
		.data = (const void *)(uintptr_t)CHANNEL_VM_PORTS,
		.doc = "Blocks. `listen PORT ADDRESS` and `close PORT ADDRESS`: what changes among the "
		       "guest's TCP ports, from the opening on. "
		       "While somebody reads, the guest's agent looks once a second; else not at all."},
};

const struct dir_type vm_stream_dir = {
	.kind = KIND_VM_STREAM,
	.path = "vms/NAME/stream/",
	.doc = "What blocks: reachable by name, not listed.",
	.attrs = stream_attrs,
	.attr_count = ELEMENTSOF(stream_attrs),
	.exists = vm_exists,
	.changed = vm_changed,
	.parent = parent_vm,
	.removable = vm_removable,
};

#define WAIT(n, text, words)                                                                                 \
	{                                                                                                    \
		.id = (n), .name = (text), .mode = 0444, .flags = ATTR_STREAM, .ops = &wait_ops,             \
		.doc = (words)                                                                               \
	}
static const struct attr wait_attrs[] = {
	WAIT(2, "created", "Blocks until the state is `created`, then says so."),
	WAIT(3, "running", "Blocks until the state is `running`, then says so."),
	WAIT(4, "paused", "Blocks until the state is `paused`, then says so."),
	WAIT(5, "stopped", "Blocks until the state is `stopped`, then says so."),
	WAIT(6, "failed", "Blocks until the state is `failed`, then says so."),
	WAIT(7, "ready", "Blocks until the guest's agent answers, then says `ready`."),
};

const struct dir_type vm_wait_dir = {
	.kind = KIND_VM_WAIT,
	.path = "vms/NAME/wait/",
	.doc = "What blocks: reachable by name, not listed.",
	.attrs = wait_attrs,
	.attr_count = ELEMENTSOF(wait_attrs),
	.exists = vm_exists,
	.changed = vm_changed,
	.parent = parent_vm,
	.removable = vm_removable,
};

uint64_t vm_dir_changed(struct tree *t, uint64_t row)
{
	return vm_changed(t, row);
}
