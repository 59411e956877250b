/* The VMM's command line, word by word: nothing more and nothing else than what is written here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../../helper/argv.h"
#include "../../../helper/launch_fds.h"
#include "banger/cleanup.h"

static struct helper_request launch(void)
{
	struct helper_request q = {
		.magic = HELPER_MAGIC, .version = HELPER_VERSION, .call = HELPER_LAUNCH, .vm = 0x012345};

	q.u.launch.memory = 256ull << 20;
	q.u.launch.vcpus = 2;
	q.u.launch.accel = HELPER_ACCEL_TCG;
	q.u.launch.tsc_khz = 2400000;
	q.u.launch.console_max = 1 << 20;
	return q;
}

/* All words with blanks between them; no word of ours has one but -append's. */
static char *line(const struct helper_request *q, uint32_t cid)
{
	struct argv a;
	struct err e = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(argv_qemu(q, cid, &a, &e), 0);
	assert_null(a.args[a.n]);
	for (int i = 0; i < a.n; i++)
		fprintf(out, "%s%s", i ? " " : "", a.args[i]);
	assert_int_equal(fclose(out), 0);
	argv_clear(&a);
	assert_int_equal(a.n, 0);
	return text;
}

#define DISK(name, fd, set, ro)                                                                              \
	" -add-fd fd=" fd ",set=" set " -blockdev driver=file,filename=/dev/fdset/" set ",node-name=f" set   \
	",locking=off,discard=unmap,read-only=" ro " -blockdev driver=raw,file=f" set ",node-name=d" set     \
	",discard=unmap,read-only=" ro " -object {\"qom-type\":\"throttle-group\",\"id\":\"t" set            \
	"\",\"limits\":{\"bps-total\":0,\"iops-total\":0}} -blockdev driver=throttle,node-name=l" set        \
	",throttle-group=t" set ",file=d" set ",discard=unmap,read-only=" ro                                 \
	" -device virtio-blk-device,drive=l" set ",id=" name ",serial=" name

static const char before_cpu[] = "qemu-system-x86_64 -name banger-74565 -M microvm,rtc=on";
static const char machine[] = " -nodefaults -no-user-config -nographic -no-reboot -kernel /proc/self/fd/8 "
			      "-initrd /proc/self/fd/9 -append ";
static const char devices[] = " -chardev socket,id=serial,fd=16 -serial chardev:serial"
			      " -chardev socket,id=qmp,fd=13,server=on,wait=off -mon chardev=qmp,mode=control"
			      " -chardev socket,id=events,fd=17 -mon chardev=events,mode=control"
			      " -device pvpanic -action panic=shutdown" DISK("image", "10", "1", "on")
				      DISK("overlay", "11", "2", "off") DISK("work", "12", "3",
					      "off") " -device virtio-rng-device"
						     " -device "
						     "virtio-balloon-device,id=balloon,deflate-on-oom=on,"
						     "free-page-reporting=on,guest-stats-polling-interval=10";
static const char net[] =
	" -netdev tap,id=net,fd=15 -device virtio-net-device,netdev=net,mac=52:54:00:01:23:45";
static const char end[] = " -device virtio-serial-device -chardev socket,id=agent,fd=14,server=on,wait=off"
			  " -device virtserialport,chardev=agent,name=banger.agent,id=agent0"
			  " -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

static void must_be(const struct helper_request *q, const char *cpu, const char *khz, const char *network)
{
	_cleanup_free_ char *got = line(q, 0), *wanted = NULL;

	assert_true(asprintf(&wanted, "%s%s%s%s%s%s%s%s%s", before_cpu, cpu, machine,
			    "console=ttyS0 quiet panic=-1 reboot=t", khz,
			    " no_timer_check cryptomgr.notests 8250.nr_uarts=1 systemd.getty_auto=no",
			    devices, network, end) > 0);
	assert_string_equal(got, wanted);
}

/* The numbers above are those that the launcher and the reaper put the descriptors at. */
static void numbers(void **state)
{
	(void)state;
	assert_int_equal(FD_KERNEL, 8);
	assert_int_equal(FD_INITRD, 9);
	assert_int_equal(FD_DISK, 10);
	assert_int_equal(FD_DISK_LAST, 12);
	assert_int_equal(FD_QMP, 13);
	assert_int_equal(FD_AGENT, 14);
	assert_int_equal(FD_TAP, 15);
	assert_int_equal(FD_SERIAL, 16);
	assert_int_equal(FD_EVENTS, 17);
}

static void emulated(void **state)
{
	struct helper_request q = launch();

	(void)state;
	must_be(&q, " -accel tcg,thread=multi,tb-size=128 -cpu max -m 256M -smp 2",
		" tsc_early_khz=2400000 tsc=reliable", net);
	q.u.launch.vcpus = 1;
	q.u.launch.tsc_khz = 0;
	must_be(&q, " -accel tcg,thread=single,tb-size=128 -cpu max -m 256M -smp 1", "", net);
}

static void with_kvm(void **state)
{
	struct helper_request q = launch();

	(void)state;
	q.u.launch.accel = HELPER_ACCEL_KVM;
	q.u.launch.memory = 1ull << 40;
	q.u.launch.vcpus = 64;
	must_be(&q, " -accel kvm -cpu host -m 1048576M -smp 64", " tsc_early_khz=2400000 tsc=reliable", net);
}

static void without_network(void **state)
{
	struct helper_request q = launch();

	(void)state;
	q.u.launch.no_network = 1;
	must_be(&q, " -accel tcg,thread=multi,tb-size=128 -cpu max -m 256M -smp 2",
		" tsc_early_khz=2400000 tsc=reliable", "");
}

/* Each disk's own limits, in front of it. */
static void with_limits(void **state)
{
	struct helper_request q = launch();
	_cleanup_free_ char *both = NULL, *one = NULL;

	(void)state;
	q.u.launch.disk_rate = 1 << 20;
	q.u.launch.disk_ops = 400;
	both = line(&q, 0);
	assert_non_null(strstr(both,
		" -object {\"qom-type\":\"throttle-group\",\"id\":\"t2\",\"limits\":{\"bps-total\":1048576,"
		"\"iops-total\":400}} -blockdev "
		"driver=throttle,node-name=l2,throttle-group=t2,file=d2,discard=unmap,read-only=off -device "
		"virtio-blk-device,drive=l2,id=overlay,serial=overlay"));
	assert_non_null(strstr(both, "drive=l1,id=image"));
	assert_non_null(strstr(both, "drive=l3,id=work"));
	q.u.launch.disk_rate = 0;
	one = line(&q, 0);
	assert_non_null(strstr(one, "{\"bps-total\":0,\"iops-total\":400}"));
}

/* One device of the helper's in the place of image and overlay, of whose locks QEMU has nothing to say. */
static void with_device(void **state)
{
	struct helper_request q = launch();
	_cleanup_free_ char *got = NULL;

	(void)state;
	q.u.launch.storage = HELPER_STORAGE_DM;
	got = line(&q, 0);
	assert_non_null(strstr(got,
		" -blockdev "
		"driver=host_device,filename=/dev/fdset/1,node-name=f1,cache.direct=on,locking=off,"
		"discard=unmap,read-only=off -blockdev driver=raw,file=f1,node-name=d1,cache.direct=on,"
		"discard=unmap,read-only=off "));
	assert_non_null(strstr(got, " driver=file,filename=/dev/fdset/2,node-name=f2,locking=off,"));
	assert_null(strstr(got, "/dev/fdset/3"));
}

/* In the place of the port, and nothing of the port. */
static void with_vsock(void **state)
{
	struct helper_request q = launch();
	_cleanup_free_ char *got = line(&q, UINT32_MAX);

	(void)state;
	assert_non_null(strstr(got, " -device vhost-vsock-device,guest-cid=4294967295,vhostfd=14 -sandbox "));
	assert_null(strstr(got, "serial-device"));
	assert_null(strstr(got, "id=agent"));
}

/* Numbers at their widest make no further option of themselves. */
static void widest(void **state)
{
	struct helper_request q = launch();
	_cleanup_free_ char *usual = NULL, *wide = NULL;
	size_t a = 0, b = 0;

	(void)state;
	q.u.launch.disk_rate = 65536;
	q.u.launch.disk_ops = 10;
	usual = line(&q, 0);
	memset(&q.u, 0xff, sizeof(q.u));
	q.u.launch.accel = HELPER_ACCEL_TCG;
	q.u.launch.no_network = 0;
	q.vm = UINT32_MAX;
	wide = line(&q, 0);
	for (const char *p = usual; *p; p++)
		a += *p == ' ' || *p == ',';
	for (const char *p = wide; *p; p++)
		b += *p == ' ' || *p == ',';
	assert_int_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(emulated),
		cmocka_unit_test(with_kvm),
		cmocka_unit_test(without_network),
		cmocka_unit_test(with_limits),
		cmocka_unit_test(with_device),
		cmocka_unit_test(with_vsock),
		cmocka_unit_test(widest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
