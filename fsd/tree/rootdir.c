/* The root, stream/, and what they say. */
#include <errno.h>
#include <inttypes.h>
#include <arpa/inet.h>

#include "banger/cleanup.h"
#include "banger/ssh_config.h"
#include "tree/state.h"
#include "tree/tables.h"
#include "vm/cache.h"
#include "vm/ssh.h"

static const char readme[] =
	"banger: virtual machines as files. Whoever knows ls, cat, echo and mkdir can use them.\n"
	"\n"
	"  mkdir vms/box1                  makes a VM\n"
	"  echo 2 > vms/box1/vcpus         sets it up; what is read can be written\n"
	"  echo alpine > vms/box1/image    any OCI image, or one of images/; the start pulls what isn't "
	"there\n"
	"  echo start > vms/box1/ctl       starts it; returns when the guest answers\n"
	"  cat vms/box1/state              created starting running paused stopping stopped failed\n"
	"  cat vms/box1/error              why the last thing failed\n"
	"  cp -a src vms/box1/workspace/   its files, live\n"
	"  echo stop > vms/box1/ctl\n"
	"  rmdir vms/box1                  deletes it\n"
	"\n"
	"cat any ctl to see the verbs that are legal now. One write is one transaction of at most 4096 "
	"bytes: several\n"
	"lines are all checked before the first is done. The result is the write's own: Ctrl-C cancels and "
	"rolls back.\n"
	"\n"
	"What blocks is in stream/ and wait/, whose files are not listed: cat vms/box1/wait/ready, cat "
	"stream/events.\n"
	"They honour poll(2). inotify does not see what banger changes: use those instead.\n"
	"\n"
	"Sizes are bytes (K M G T may be written), durations microseconds, moments seconds since the epoch.\n"
	"The files of a guest show its root as the owner of the instance; other owners as they are there.\n"
	"Every node is described in docs/tree.md.\n";

static void readme_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)t;
	(void)at;
	fputs(readme, out);
}

static void version_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)t;
	(void)at;
	fprintf(out, "version %s\ntree 1\npid %d\n", BANGER_VERSION, (int)getpid());
}

static void ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)t;
	(void)at;
	fputs("prune blobs [dry-run]\nshutdown\n", out);
}

struct prune {
	struct tree *t;
	struct call *call;
	bool dry;
};

static void prune_say(void *user, const char *line)
{
	struct prune *p = user;

	tree_log(p->t, "prune: %s", line);
}

static void prune_done(void *user, int code, const struct err *e)
{
	struct prune *p = user;

	log_deed(p->t, p->call, p->dry ? "prune blobs dry-run" : "prune blobs", code, e ? e->text : NULL);
	call_done(p->call, code);
	free(p);
}

static void prune(struct tree *t, struct call *call, bool dry)
{
	struct prune *p = calloc(1, sizeof(*p));
	_cleanup_err_ struct err e = {0};
	int r;

	if (!p) {
		call_done(call, -ENOMEM);
		return;
	}
	*p = (struct prune){t, call, dry};
	r = cache_prune(t->config.images, dry, prune_say, prune_done, p, &e);
	if (r < 0)
		prune_done(p, r, &e);
}

static void ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	const char *line = in->lines[0];

	(void)at;
	if (in->count == 1 && strcmp(line, "shutdown") == 0) {
		shutdown_begin(t, call);
		return;
	}
	if (in->count == 1 &&
		(strcmp(line, "prune blobs") == 0 || strcmp(line, "prune blobs dry-run") == 0)) {
		prune(t, call, strcmp(line, "prune blobs") != 0);
		return;
	}
	log_deed(t, call, "ctl", -EINVAL, "no such verb: cat ctl lists them");
	call_done(call, -EINVAL);
}

static void metrics_show(struct tree *t, const struct target *at, FILE *out)
{
	uint64_t count[VM_FAILED + 1] = {0}, memory = 0, vcpus = 0, ops = 0;
	struct op_view op = {0};
	struct vm *vm = NULL;
	struct vm_view view;

	(void)at;
	for (uint32_t id = 0; (vm = vms_next(t->vms, id)); id = view.id) {
		vm_view(vm, &view);
		count[view.state]++;
		if (view.pid != 0) {
			memory += view.memory;
			vcpus += view.vcpus;
		}
	}
	while (ops_next(t->config.ops, op.id, &op))
		ops++;
	fputs("# HELP banger_vms VMs by state\n# TYPE banger_vms gauge\n", out);
	for (enum vm_state s = VM_CREATED; s <= VM_FAILED; s++)
		fprintf(out, "banger_vms{state=\"%s\"} %" PRIu64 "\n", vm_state_name(s), count[s]);
	fprintf(out,
		"# HELP banger_memory_bytes Memory of the VMs that run\n# TYPE banger_memory_bytes gauge\n"
		"banger_memory_bytes %" PRIu64 "\n"
		"# HELP banger_vcpus Virtual CPUs of the VMs that run\n# TYPE banger_vcpus "
		"gauge\nbanger_vcpus %" PRIu64 "\n"
		"# HELP banger_operations Operations at work\n# TYPE banger_operations "
		"gauge\nbanger_operations %" PRIu64 "\n"
		"# HELP banger_events_total Events since the daemon began\n# TYPE banger_events_total "
		"counter\n"
		"banger_events_total %" PRIu64 "\n"
		"# HELP fuse_requests_total Requests of the kernel served\n# TYPE fuse_requests_total "
		"counter\n"
		"fuse_requests_total %" PRIu64 "\n"
		"# HELP guest_requests_total Requests of the kernel that a guest had to be asked for\n# TYPE "
		"guest_requests_total counter\n"
		"guest_requests_total %" PRIu64 "\n"
		"# HELP banger_start_time_seconds When the daemon began\n# TYPE banger_start_time_seconds "
		"gauge\n"
		"banger_start_time_seconds %" PRIu64 "\n",
		memory, vcpus, ops, t->events, t->listener->requests(t->user), t->listener->asked(t->user),
		t->began / 1000000);
}

static void ssh_config_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)at;
	/* A path that it can't name leaves it empty. */
	ssh_config_write(out, t->config.instance, t->config.command, NULL);
}

/* Each VM that FN says a line of. */
static void each_vm(
	struct tree *t, FILE *out, void (*fn)(const struct vm *vm, const struct vm_view *v, FILE *out))
{
	struct vm_view v = {0};
	struct vm *vm;

	while ((vm = vms_next(t->vms, v.id))) {
		vm_view(vm, &v);
		fn(vm, &v, out);
	}
}

static void put_known(const struct vm *vm, const struct vm_view *v, FILE *out)
{
	if (*ssh_host_key(vm))
		fprintf(out, "%s" SSH_CONFIG_ZONE " %s\n", v->name, ssh_host_key(vm));
}

static void known_hosts_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)at;
	each_vm(t, out, put_known);
}

static void put_host(const struct vm *vm, const struct vm_view *v, FILE *out)
{
	struct in_addr a = {.s_addr = htonl(v->ip)};
	char text[INET_ADDRSTRLEN];

	(void)vm;
	if (v->pid != 0 && v->ip != 0)
		fprintf(out, "%s %s" SSH_CONFIG_ZONE "\n", inet_ntop(AF_INET, &a, text, sizeof(text)),
			v->name);
}

static void hosts_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)at;
	each_vm(t, out, put_host);
}

static void log_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	(void)h;
	call_file(call, log_fd(t->log), size, offset);
}

static uint64_t log_size(struct tree *t, const struct target *at)
{
	struct stat st;

	(void)at;
	return fstat(log_fd(t->log), &st) < 0 ? 0 : (uint64_t)st.st_size;
}

static const struct file_ops log_ops = {.read = log_read, .size = log_size};

static uint64_t root_changed(struct tree *t, uint64_t row)
{
	(void)row;
	return t->began;
}

static const struct attr root_attrs[] = {
	{.id = 2,
		.name = "README",
		.mode = 0444,
		.flags = ATTR_STORED,
		.show = readme_show,
		.doc = "How to use this tree."},
	{.id = 3,
		.name = "version",
		.mode = 0444,
		.flags = ATTR_STORED,
		.show = version_show,
		.doc = "Flat keyed: version of banger, version of this tree, pid of the daemon."},
	{.id = 4,
		.name = "ctl",
		.mode = 0644,
		.flags = ATTR_APART,
		.show = ctl_show,
		.store = ctl_store,
		.doc = "Verbs of the whole: `prune blobs [dry-run]` frees what was downloaded and no image "
		       "is made of any more, and says in `log` what; `shutdown` stops every VM in order and "
		       "ends the daemon."},
	{.id = ROOT_LOG_ID,
		.name = "log",
		.mode = 0440,
		.flags = ATTR_LOG | ATTR_TOLD,
		.ops = &log_ops,
		.doc = "What was done, by whom, and how it ended: a line each, the younger 2 to 4 MiB of it. "
		       "`tail -f` works."},
	{.id = 6,
		.name = "metrics",
		.mode = 0444,
		.show = metrics_show,
		.doc = "Counters as Prometheus text."},
	{.id = 8,
		.name = "ssh_config",
		.mode = 0444,
		.show = ssh_config_show,
		.doc = "What makes `ssh NAME.vm` go to VMs, as their root, by a stream through this tree: "
		       "for ssh_config(5)'s `Include`."},
	{.id = 9,
		.name = "known_hosts",
		.mode = 0444,
		.show = known_hosts_show,
		.doc = "The VMs' host keys: banger's own, one a VM, made when it is first connected to."},
	{.id = 10,
		.name = "hosts",
		.mode = 0444,
		.show = hosts_show,
		.doc = "Addresses and names of the VMs that run, as hosts(5) has them."},
	{.id = 16, .name = "stream", .mode = S_IFDIR, .flags = ATTR_HIDDEN, .child = KIND_STREAM},
	{.id = 17, .name = "config", .mode = S_IFDIR, .child = KIND_CONFIG},
	{.id = 18, .name = "host", .mode = S_IFDIR, .child = KIND_HOST},
	{.id = 19, .name = "images", .mode = S_IFDIR, .child = KIND_IMAGES},
	{.id = 20, .name = "kernels", .mode = S_IFDIR, .child = KIND_KERNELS},
	{.id = 21, .name = "ops", .mode = S_IFDIR, .child = KIND_OPS},
	{.id = 22, .name = "vms", .mode = S_IFDIR, .child = KIND_VMS},
};

const struct dir_type root_dir = {
	.kind = KIND_ROOT,
	.path = "",
	.doc = "The root of the mount.",
	.attrs = root_attrs,
	.attr_count = ELEMENTSOF(root_attrs),
	.exists = row_always,
	.changed = root_changed,
	.parent = parent_root,
};

static const struct attr stream_attrs[] = {
	{.id = 2,
		.name = "events",
		.mode = 0444,
		.flags = ATTR_STREAM,
		.ops = &stream_ops,
		.data = (const void *)(uintptr_t)CHANNEL_EVENTS,
		.doc = "Blocks. A line an event, from the opening on: `seq=N time=SECONDS event=WHAT ...`; "
		       "`lost N` where a reader did not keep up."},
	{.id = 3,
		.name = "log",
		.mode = 0440,
		.flags = ATTR_STREAM,
		.ops = &stream_ops,
		.data = (const void *)(uintptr_t)CHANNEL_LOG,
		.doc = "Blocks. The lines of `log` as they come."},
};

const struct dir_type root_stream_dir = {
	.kind = KIND_STREAM,
	.path = "stream/",
	.doc = "What blocks: reachable by name, not listed.",
	.attrs = stream_attrs,
	.attr_count = ELEMENTSOF(stream_attrs),
	.exists = row_always,
	.changed = changed_never,
	.parent = parent_root,
};
