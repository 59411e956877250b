#include <errno.h>

#include "banger/guest_config.h"
#include "engine/fc_machine.h"

/*
 * The reset by the keyboard's controller is the one that ends Firecracker (facts 1.4); nothing else of that controller is to be looked for, and it has one
 * serial line.
 */
#define CMDLINE                                                                                              \
	"console=ttyS0 quiet reboot=k panic=1 8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.dumbkbd "        \
	"cryptomgr.notests systemd.getty_auto=no " GUEST_OFF_BY_RESET

/* An object on its way; a failure to add is kept until it is taken. */
struct body {
	json_object *o;
	bool failed;
};

static void body_begin(struct body *b)
{
	b->o = json_object_new_object();
	b->failed = !b->o;
}

static void add(struct body *b, const char *key, json_object *value)
{
	if (!b->failed && value && json_object_object_add(b->o, key, value) == 0)
		return;
	json_object_put(value);
	b->failed = true;
}

static void add_text(struct body *b, const char *key, const char *value)
{
	add(b, key, json_object_new_string(value));
}

static void add_number(struct body *b, const char *key, uint64_t value)
{
	add(b, key, json_object_new_uint64(value));
}

static void add_flag(struct body *b, const char *key, bool value)
{
	add(b, key, json_object_new_boolean(value));
}

static void add_body(struct body *b, const char *key, struct body *value)
{
	if (value->failed) {
		json_object_put(value->o);
		b->failed = true;
	} else {
		add(b, key, value->o);
	}
}

static bool is_limit(const struct fc_bucket *l)
{
	return l->size > 0 && l->refill_msec > 0;
}

static void add_bucket(struct body *b, const char *key, const struct fc_bucket *l)
{
	struct body bucket;

	if (!is_limit(l))
		return;
	body_begin(&bucket);
	add_number(&bucket, "size", l->size);
	if (l->burst)
		add_number(&bucket, "one_time_burst", l->burst);
	add_number(&bucket, "refill_time", l->refill_msec);
	add_body(b, key, &bucket);
}

static void add_limit(struct body *b, const char *key, const struct fc_limit *l)
{
	struct body limit;

	if (!is_limit(&l->bandwidth) && !is_limit(&l->ops))
		return;
	body_begin(&limit);
	add_bucket(&limit, "bandwidth", &l->bandwidth);
	add_bucket(&limit, "ops", &l->ops);
	add_body(b, key, &limit);
}

/* In the place of what there was: what a limit leaves out would stay. */
static void change_limit(struct body *b, const char *key, const struct fc_limit *l)
{
	const struct fc_bucket *const buckets[] = {&l->bandwidth, &l->ops};
	static const char *const names[] = {"bandwidth", "ops"};
	struct body limit;

	body_begin(&limit);
	for (size_t i = 0; i < ELEMENTSOF(buckets); i++) {
		struct body bucket;

		body_begin(&bucket);
		/* Both 0: none (docs/api_requests/patch-block.md in its sources). */
		add_number(&bucket, "size", is_limit(buckets[i]) ? buckets[i]->size : 0);
		add_number(&bucket, "refill_time", is_limit(buckets[i]) ? buckets[i]->refill_msec : 0);
		add_body(&limit, names[i], &bucket);
	}
	add_body(b, key, &limit);
}

/* Sends B and lets go of it. */
static int send_body(struct fc_api *a, const char *method, const char *path, struct body *b, struct err *e)
{
	int r = b->failed ? err_sys(e, -ENOMEM, "Firecracker")
			  : fc_api_call(a, method, path, b->o, FC_MSEC, NULL, e);

	json_object_put(b->o);
	return r;
}

/* Each part adds what is said of it; false: the VM has none of it. */

static bool logger(const struct fc_machine *m, struct body *b)
{
	if (!m->log)
		return false;
	add_text(b, "log_path", m->log);
	/* What a guest does at odd ports is a warning each: no log is to be filled by that. */
	add_text(b, "level", "Error");
	add_flag(b, "show_level", true);
	return true;
}

static bool metrics(const struct fc_machine *m, struct body *b)
{
	if (!m->metrics)
		return false;
	add_text(b, "metrics_path", m->metrics);
	return true;
}

static bool serial(const struct fc_machine *m, struct body *b)
{
	if (!m->serial)
		return false;
	add_text(b, "serial_out_path", m->serial);
	return true;
}

static bool machine(const struct fc_machine *m, struct body *b)
{
	add_number(b, "vcpu_count", m->vcpus);
	add_number(b, "mem_size_mib", m->memory >> 20);
	return true;
}

static bool boot_source(const struct fc_machine *m, struct body *b)
{
	add_text(b, "kernel_image_path", m->kernel);
	if (m->initrd)
		add_text(b, "initrd_path", m->initrd);
	add_text(b, "boot_args", CMDLINE);
	return true;
}

static bool network(const struct fc_machine *m, struct body *b)
{
	if (!m->tap)
		return false;
	add_text(b, "iface_id", "net");
	add_text(b, "host_dev_name", m->tap);
	add_text(b, "guest_mac", m->mac);
	add_limit(b, "rx_rate_limiter", &m->receive);
	add_limit(b, "tx_rate_limiter", &m->transmit);
	return true;
}

static bool vsock(const struct fc_machine *m, struct body *b)
{
	if (!m->vsock)
		return false;
	add_number(b, "guest_cid", m->cid);
	add_text(b, "uds_path", m->vsock);
	return true;
}

static bool entropy(const struct fc_machine *m, struct body *b)
{
	(void)m;
	(void)b;
	return true;
}

static bool balloon(const struct fc_machine *m, struct body *b)
{
	add_number(b, "amount_mib", 0);
	add_flag(b, "deflate_on_oom", true);
	add_number(b, "stats_polling_interval_s", m->balloon_stats_sec);
	return true;
}

static bool reporting_balloon(const struct fc_machine *m, struct body *b)
{
	balloon(m, b);
	add_flag(b, "free_page_reporting", true);
	return true;
}

/* In this order; the disks come after. MINOR, BEFORE: the releases 1.MINOR that have it, up to but without 1.BEFORE (0: all). */
static const struct part {
	const char *path;
	bool (*add)(const struct fc_machine *m, struct body *b);
	unsigned minor, before;
} parts[] = {
	{"/logger", logger, 0, 0},
	{"/metrics", metrics, 0, 0},
	{"/serial", serial, 14, 0},
	{"/machine-config", machine, 0, 0},
	{"/boot-source", boot_source, 0, 0},
	{"/network-interfaces/net", network, 0, 0},
	{"/vsock", vsock, 0, 0},
	{"/entropy", entropy, 0, 0},
	{"/balloon", balloon, 0, 14},
	{"/balloon", reporting_balloon, 14, 0},
};

static int put_part(struct fc_api *a, const struct part *p, const struct fc_machine *m, struct err *e)
{
	struct body b;

	body_begin(&b);
	if (!b.failed && !p->add(m, &b)) {
		json_object_put(b.o);
		return 0;
	}
	return send_body(a, "PUT", p->path, &b, e);
}

static int put_disk(struct fc_api *a, const struct fc_disk *d, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct body b;

	if (asprintf(&path, "/drives/%s", d->id) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "Firecracker");
	}
	body_begin(&b);
	add_text(&b, "drive_id", d->id);
	add_text(&b, "path_on_host", d->path);
	/* The initramfs mounts the root: Firecracker isn't to name it to the kernel. */
	add_flag(&b, "is_root_device", false);
	add_flag(&b, "is_read_only", d->readonly);
	/* The default offers the guest no flush: what it synced would be lost with the host's power. */
	add_text(&b, "cache_type", d->readonly ? "Unsafe" : "Writeback");
	add_limit(&b, "rate_limiter", &d->limit);
	return send_body(a, "PUT", path, &b, e);
}

int fc_machine_configure(
	struct fc_api *a, const struct fc_version *v, const struct fc_machine *m, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(parts); i++)
		if (fc_version_is(v, 1, parts[i].minor) &&
			(!parts[i].before || !fc_version_is(v, 1, parts[i].before)))
			r = put_part(a, &parts[i], m, e);
	for (size_t i = 0; r == 0 && i < m->disk_count; i++)
		r = put_disk(a, &m->disks[i], e);
	return r;
}

int fc_machine_limit_disk(struct fc_api *a, const char *id, const struct fc_limit *limit, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct body b;

	if (asprintf(&path, "/drives/%s", id) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "Firecracker");
	}
	body_begin(&b);
	add_text(&b, "drive_id", id);
	change_limit(&b, "rate_limiter", limit);
	return send_body(a, "PATCH", path, &b, e);
}

int fc_machine_limit_network(struct fc_api *a, const struct fc_limit *limit, struct err *e)
{
	struct body b;

	body_begin(&b);
	add_text(&b, "iface_id", "net");
	change_limit(&b, "rx_rate_limiter", limit);
	change_limit(&b, "tx_rate_limiter", limit);
	return send_body(a, "PATCH", "/network-interfaces/net", &b, e);
}

int fc_machine_start(struct fc_api *a, struct err *e)
{
	struct body b;
	int r;

	body_begin(&b);
	add_text(&b, "action_type", "InstanceStart");
	r = b.failed ? err_sys(e, -ENOMEM, "Firecracker")
		     : fc_api_call(a, "PUT", "/actions", b.o, FC_START_MSEC, NULL, e);
	json_object_put(b.o);
	return r;
}
