#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "argv.h"
#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "launch_fds.h"
#include "stage.h"

#define BALLOON_SEC "10" /* how often a guest is asked about its memory */

static void add(struct argv *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct argv *a, const char *fmt, ...)
{
	va_list ap;

	if (a->n == ARGV_MAX) {
		a->failed = 1;
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&a->args[a->n], fmt, ap) < 0)
		a->failed = 1;
	else
		a->n++;
	va_end(ap);
}

static void add_pair(struct argv *a, const char *option, const char *value)
{
	add(a, "%s", option);
	add(a, "%s", value);
}

/* A device of the helper's is read past the host's cache: what is below it, the image, is in there once for all its VMs. */
static void add_disk(
	struct argv *a, const struct launch_disk *disk, int fd, int set, uint64_t rate, uint64_t ops)
{
	const char *readonly = disk->readonly ? "on" : "off";

	add(a, "-add-fd");
	add(a, "fd=%d,set=%d", fd, set);
	add(a, "-blockdev");
	add(a, "driver=%s,filename=/dev/fdset/%d,node-name=f%d,%slocking=off,discard=unmap,read-only=%s",
		disk->block ? "host_device" : "file", set, set, disk->block ? "cache.direct=on," : "",
		readonly);
	add(a, "-blockdev");
	add(a, "driver=raw,file=f%d,node-name=d%d,%sdiscard=unmap,read-only=%s", set, set,
		disk->block ? "cache.direct=on," : "", readonly);
	/* Also of one without limits: it can be given some while it runs. */
	add(a, "-object");
	add(a,
		"{\"qom-type\":\"throttle-group\",\"id\":\"t%d\",\"limits\":{\"bps-total\":%" PRIu64
		",\"iops-total\":%" PRIu64 "}}",
		set, rate, ops);
	add(a, "-blockdev");
	add(a, "driver=throttle,node-name=l%d,throttle-group=t%d,file=d%d,discard=unmap,read-only=%s", set,
		set, set, readonly);
	add(a, "-device");
	add(a, "virtio-blk-device,drive=l%d,id=%s,serial=%s", set, disk->serial, disk->serial);
}

static void add_disks(struct argv *a, const struct helper_request *q)
{
	size_t n;
	const struct launch_disk *disks = launch_disks(q->u.launch.storage, &n);

	for (size_t i = 0; i < n; i++)
		add_disk(a, &disks[i], FD_DISK + (int)i, (int)i + 1, q->u.launch.disk_rate,
			q->u.launch.disk_ops);
}

static void add_accelerator(struct argv *a, const struct helper_request *q)
{
	add(a, "-accel");
	if (q->u.launch.accel == HELPER_ACCEL_KVM) {
		add(a, "kvm");
		add_pair(a, "-cpu", "host");
		return;
	}
	/* A small translation cache halves the memory of an idle guest and costs nothing measurable (facts 4.4). */
	add(a, "tcg,thread=%s,tb-size=128", q->u.launch.vcpus > 1 ? "multi" : "single");
	add_pair(a, "-cpu", "max");
}

static void add_agent(struct argv *a, uint32_t cid)
{
	if (cid) {
		add(a, "-device");
		add(a, "vhost-vsock-device,guest-cid=%" PRIu32 ",vhostfd=%d", cid, FD_AGENT);
		return;
	}
	add_pair(a, "-device", "virtio-serial-device");
	add(a, "-chardev");
	add(a, "socket,id=agent,fd=%d,server=on,wait=off", FD_AGENT);
	add_pair(a, "-device", "virtserialport,chardev=agent,name=" GUEST_AGENT_PORT ",id=agent0");
}

int argv_qemu(const struct helper_request *q, uint32_t cid, struct argv *ret, struct err *e)
{
	struct argv *a = ret;
	char khz[64] = "";

	*a = (struct argv){0};
	if (q->u.launch.tsc_khz)
		/*
		 * Without it an emulated guest hangs on a busy host: it measures its clock by interrupts that never come (facts 4.3). Nor is the clock to be
		 * judged by them later: the guest would go on by interrupts alone, and fall behind for ever (Documentation/admin-guide/kernel-parameters.txt: tsc=).
		 */
		snprintf(khz, sizeof(khz), " tsc_early_khz=%" PRIu64 " tsc=reliable", q->u.launch.tsc_khz);
	add(a, "qemu-system-x86_64");
	add(a, "-name");
	add(a, "banger-%u", q->vm);
	/* With KVM it would have no clock chip, and Linux asks for one 20,000 times in its first two seconds before it believes that (rtc_cmos, 6.1). */
	add_pair(a, "-M", "microvm,rtc=on");
	add_accelerator(a, q);
	add(a, "-m");
	add(a, "%" PRIu64 "M", q->u.launch.memory >> 20);
	add(a, "-smp");
	add(a, "%u", q->u.launch.vcpus);
	add(a, "-nodefaults");
	add(a, "-no-user-config");
	add(a, "-nographic");
	add(a, "-no-reboot");
	add(a, "-kernel");
	add(a, "/proc/self/fd/%d", FD_KERNEL);
	add(a, "-initrd");
	add(a, "/proc/self/fd/%d", FD_INITRD);
	add(a, "-append");
	/* systemd would wait 90 s for the console's device to be told of by udev, which small images haven't, to offer a login nobody needs. */
	add(a,
		"console=ttyS0 quiet panic=-1 reboot=t%s no_timer_check cryptomgr.notests 8250.nr_uarts=1 "
		"systemd.getty_auto=no",
		khz);
	add(a, "-chardev");
	add(a, "socket,id=serial,fd=%d", FD_SERIAL);
	add_pair(a, "-serial", "chardev:serial");
	add(a, "-chardev");
	add(a, "socket,id=qmp,fd=%d,server=on,wait=off", FD_QMP);
	add_pair(a, "-mon", "chardev=qmp,mode=control");
	add(a, "-chardev");
	add(a, "socket,id=events,fd=%d", FD_EVENTS);
	add_pair(a, "-mon", "chardev=events,mode=control");
	add_pair(a, "-device", "pvpanic");
	add_pair(a, "-action", "panic=shutdown");
	add_disks(a, q);
	add_pair(a, "-device", "virtio-rng-device");
	add_pair(a, "-device",
		"virtio-balloon-device,id=balloon,deflate-on-oom=on,free-page-reporting=on,"
		"guest-stats-polling-interval=" BALLOON_SEC);
	if (!q->u.launch.no_network) {
		char mac[18];

		helper_vm_mac(q->vm, mac);
		add(a, "-netdev");
		add(a, "tap,id=net,fd=%d", FD_TAP);
		add(a, "-device");
		add(a, "virtio-net-device,netdev=net,mac=%s", mac);
	}
	add_agent(a, cid);
	add_pair(a, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	if (a->failed)
		return err_sys(e, -ENOMEM, "command line");
	return 0;
}

int argv_jailer(
	const struct helper_request *q, uid_t user, const char *helper_dir, struct argv *ret, struct err *e)
{
	struct argv *a = ret;

	*a = (struct argv){0};
	add(a, "jailer");
	add(a, "--id");
	add(a, "%u", q->vm);
	add(a, "--exec-file");
	add(a, "%s/" INSTANCE_JAIL_BASE "/" STAGE_PROGRAM, helper_dir);
	add(a, "--uid");
	add(a, "%u", user);
	add(a, "--gid");
	add(a, "%u", user);
	add(a, "--chroot-base-dir");
	add(a, "%s/" INSTANCE_JAIL_BASE, helper_dir);
	add(a, "--");
	add_pair(a, "--api-sock", "/" HELPER_JAIL_SOCKETS "/" HELPER_JAIL_API);
	/* It logs where the serial line goes. What a guest does at odd ports is a warning each. */
	add_pair(a, "--level", "Error");
	if (a->failed)
		return err_sys(e, -ENOMEM, "command line");
	return 0;
}

void argv_clear(struct argv *a)
{
	for (int i = 0; i < a->n; i++)
		free(a->args[i]);
	*a = (struct argv){0};
}
