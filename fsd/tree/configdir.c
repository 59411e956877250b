/* config/, host/ and ops/. */
#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "tree/state.h"
#include "tree/tables.h"

#define SETTING_FIRST_ID 256

static void setting_show(struct tree *t, const struct target *at, FILE *out)
{
	const struct setting *s = at->attr->data;

	fprintf(out, "%s\n", settings_get(t->config.settings, s->name));
}

struct change {
	struct tree *t;
	const struct attr *attr;
	struct call *call;
	struct store *store;
	char *value, *old;
};

static void change_free(struct change *c)
{
	if (!c)
		return;
	free(c->value);
	free(c->old);
	free(c);
}
DEFINE_CLEANUP(struct change *, change_free)

static int change_work(void *data, struct err *e)
{
	struct change *c = data;

	return store_config_set(c->store, c->attr->name, c->value, e);
}

static void change_done(void *data, int code, struct err *e)
{
	_cleanup_(change_freep) struct change *c = data;

	if (code < 0) {
		settings_put(c->t->config.settings, c->attr->name, c->old, NULL);
		tree_stale(c->t, KIND_CONFIG, 0, c->attr->id);
	}
	stream_event(c->t, "event=config key=%s", c->attr->name);
	log_deed(c->t, c->call, c->attr->name, code, err_text(e));
	call_done(c->call, code);
}

static void setting_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	_cleanup_(change_freep) struct change *c = calloc(1, sizeof(*c));
	_cleanup_err_ struct err e = {0};
	const struct setting *s = at->attr->data;
	_cleanup_free_ char *value = NULL;
	int r = c ? 0 : -ENOMEM;

	if (r == 0 && in->count != 1 && !setting_has_lines(s))
		r = err_set(&e, -EINVAL, "one line is wanted");
	if (r == 0 && !(value = input_join(in)))
		r = -ENOMEM;
	if (r == 0)
		r = settings_check(at->attr->name, value, &e);
	if (r == 0) {
		*c = (struct change){.t = t, .attr = at->attr, .call = call, .store = t->config.store};
		c->value = TAKE_PTR(value);
		c->old = strdup(settings_get(t->config.settings, at->attr->name));
		r = c->value && c->old ? settings_put(t->config.settings, at->attr->name, c->value, &e)
				       : -ENOMEM;
	}
	if (r == 0) {
		tree_stale(t, KIND_CONFIG, 0, at->attr->id);
		r = job_submit_serial(t->config.jobs, change_work, change_done, c, &e);
		if (r == 0) {
			TAKE_PTR(c);
			return;
		}
		settings_put(t->config.settings, at->attr->name, c->old, NULL);
	}
	log_deed(t, call, at->attr->name, r, e.text);
	call_done(call, r);
}

static size_t setting_rows(struct attr *ret, size_t max)
{
	for (size_t i = 0; i < settings_count && i < max; i++)
		ret[i] = (struct attr){
			.id = (uint16_t)(SETTING_FIRST_ID + i),
			.name = settings_table[i].name,
			.mode = 0644,
			.flags = ATTR_STORED,
			.doc = settings_table[i].doc,
			.show = setting_show,
			.store = setting_store,
			.data = &settings_table[i],
		};
	return settings_count < max ? settings_count : max;
}

static uint64_t config_changed(struct tree *t, uint64_t row)
{
	uint64_t last = t->began, one;

	(void)row;
	for (size_t i = 0; i < settings_count; i++) {
		one = settings_changed(t->config.settings, settings_table[i].name);
		if (one > last)
			last = one;
	}
	return last;
}

const struct dir_type config_dir = {
	.kind = KIND_CONFIG,
	.path = "config/",
	.doc = "Settings of the instance, kept over restarts.",
	.more = setting_rows,
	.exists = row_always,
	.changed = config_changed,
	.parent = parent_root,
};

static const char *fact(struct tree *t, const struct target *at)
{
	return t->config.host_fact ? t->config.host_fact(t->config.user, at->attr->name) : NULL;
}

static void fact_show(struct tree *t, const struct target *at, FILE *out)
{
	const char *value = fact(t, at);

	fprintf(out, "%s\n", value ? value : "");
}

static bool fact_present(struct tree *t, const struct target *at)
{
	return fact(t, at) != NULL;
}

#define FACT(n, text, words)                                                                                 \
	{                                                                                                    \
		.id = (n), .name = (text), .mode = 0444, .show = fact_show, .present = fact_present,         \
		.doc = (words)                                                                               \
	}
static const struct attr host_attrs[] = {
	FACT(2, "accel", "The accelerator that VMs get: `kvm` or `tcg`. Absent until it was found out."),
	FACT(3, "kvm", "Why not KVM, or `proven`."),
	FACT(4, "engines", "The engines that can be used, the best one first."),
	FACT(5, "storage", "The kinds of root disk that can be used, the best one first, and why not `dm`."),
	FACT(6, "bridge", "Name of the instance's bridge."),
	FACT(7, "subnet", "Network of the VMs, a.b.c.d/prefix."),
	FACT(8, "gateway", "Address of the host in it."),
	FACT(15, "subnet6",
		"IPv6 network of the VMs, a /64 of this machine's own (RFC 4193). Absent where the host has "
		"no IPv6."),
	FACT(16, "gateway6", "Address of the host in it."),
	FACT(9, "helper", "Version of the helper."),
	FACT(10, "qemu", "Version of QEMU."),
	FACT(11, "cpus", "CPUs of the host."),
	FACT(12, "memory", "Memory of the host in bytes."),
	FACT(14, "ssh_key",
		"The instance's public SSH key, which root of each guest lets in beside its own. Absent "
		"where there is no ssh-keygen."),
	{.id = 13,
		.name = "dns",
		.mode = 0444,
		.ask = host_dns_ask,
		.doc = "How `NAME.vm` is asked for on this host, or why it can't be (`config/dns_listen`); "
		       "then whether "
		       "systemd-resolved asks there, so that every program knows the names, or why not."},
};

const struct dir_type host_dir = {
	.kind = KIND_HOST,
	.path = "host/",
	.doc = "What was found on this host. What is not known is absent.",
	.attrs = host_attrs,
	.attr_count = ELEMENTSOF(host_attrs),
	.exists = row_always,
	.changed = changed_never,
	.parent = parent_root,
};

static bool op_exists(struct tree *t, uint64_t row)
{
	struct op_view v;

	return ops_get(t->config.ops, row, &v);
}

static uint64_t op_changed(struct tree *t, uint64_t row)
{
	struct op_view v;

	return ops_get(t->config.ops, row, &v) ? v.started : t->began;
}

static uint64_t op_parent(struct tree *t, uint64_t row)
{
	(void)t;
	(void)row;
	return node_number(KIND_OPS, 0, 0);
}

enum { OP_KIND, OP_TARGET, OP_STAGE, OP_PROGRESS, OP_STARTED, OP_ERROR };

static void op_show(struct tree *t, const struct target *at, FILE *out)
{
	struct op_view v;

	if (!ops_get(t->config.ops, at->row, &v))
		return;
	switch ((uintptr_t)at->attr->data) {
	case OP_KIND:
		fprintf(out, "%s\n", v.kind);
		break;
	case OP_TARGET:
		fprintf(out, "%s\n", v.target);
		break;
	case OP_STAGE:
		fprintf(out, "%s\n", v.cancelled ? "cancelled" : v.stage);
		break;
	case OP_PROGRESS:
		fprintf(out, "done %" PRIu64 "\n", v.done);
		if (v.total)
			fprintf(out, "total %" PRIu64 "\n", v.total);
		break;
	case OP_STARTED:
		fprintf(out, "%" PRIu64 "\n", v.started / 1000000);
		break;
	case OP_ERROR:
		fprintf(out, "%s\n", v.error);
		break;
	}
}

static void part_show(void *user, const struct op_part_view *p)
{
	uint64_t rate = p->elapsed > 0 && p->done > p->from
				? (uint64_t)((double)(p->done - p->from) * 1e6 / (double)p->elapsed)
				: 0;

	fprintf(user, "%s %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", p->name, p->stage, p->done, p->total,
		rate);
}

static void op_parts_show(struct tree *t, const struct target *at, FILE *out)
{
	ops_parts(t->config.ops, at->row, part_show, out);
}

static void op_ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	struct op_view v;

	if (ops_get(t->config.ops, at->row, &v) && !v.cancelled)
		fputs("cancel\n", out);
}

static void op_ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	int r = in->count == 1 && strcmp(in->lines[0], "cancel") == 0 ? ops_cancel(t->config.ops, at->row)
								      : -EINVAL;

	log_deed(t, call, "cancel", r, NULL);
	call_done(call, r);
}

#define OP(n, text, what, words)                                                                             \
	{                                                                                                    \
		.id = (n), .name = (text), .mode = 0444, .show = op_show,                                    \
		.data = (const void *)(uintptr_t)(what), .doc = (words)                                      \
	}
static const struct attr op_attrs[] = {
	OP(2, "kind", OP_KIND, "start, stop, import, pull ..."),
	OP(3, "target", OP_TARGET, "What it is at work on: vms/NAME, images/NAME."),
	OP(4, "stage", OP_STAGE, "The step at work."),
	OP(5, "progress", OP_PROGRESS,
		"Flat keyed: done, and total where it is known, in the stage's own unit."),
	OP(6, "started", OP_STARTED, "When it began."),
	OP(8, "error", OP_ERROR, "Why it is being undone; an empty line as long as all goes well."),
	{.id = 9,
		.name = "parts",
		.mode = 0444,
		.show = op_parts_show,
		.doc = "What goes on side by side, the layers of a pull, a line each: name, stage, bytes "
		       "done, bytes in all (0: not known), bytes a second."},
	{.id = 7,
		.name = "ctl",
		.mode = 0644,
		.show = op_ctl_show,
		.store = op_ctl_store,
		.doc = "`cancel`: it stops and undoes what it did."},
};

const struct dir_type op_dir = {
	.kind = KIND_OP,
	.path = "ops/ID/",
	.doc = "An operation while it is at work.",
	.fleeting = true,
	.attrs = op_attrs,
	.attr_count = ELEMENTSOF(op_attrs),
	.exists = op_exists,
	.changed = op_changed,
	.parent = op_parent,
};

static bool op_next(struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	struct op_view v;

	(void)row;
	if (!ops_next(t->config.ops, after, &v))
		return false;
	free(t->name);
	if (asprintf(&t->name, "%" PRIu64, v.id) < 0) {
		t->name = NULL;
		return false;
	}
	*ret = v.id;
	*ret_name = t->name;
	return true;
}

static bool op_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	(void)row;
	/* One spelling a number: no leading zeros. */
	return name[0] != '0' && parse_u64(name, 1, NODE_ROW_MAX, ret) == 0 && op_exists(t, *ret);
}

static uint64_t ops_dir_changed(struct tree *t, uint64_t row)
{
	(void)row;
	return t->ops_changed;
}

const struct dir_type ops_dir = {
	.kind = KIND_OPS,
	.path = "ops/",
	.doc = "The operations at work, a directory each.",
	.exists = row_always,
	.changed = ops_dir_changed,
	.parent = parent_root,
	.child = KIND_OP,
	.next = op_next,
	.find = op_find,
};
