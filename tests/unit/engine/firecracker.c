/* Firecracker's API: the calls and their bodies, and the engine's verbs. */
#include "tests/unit/engine/firecracker.h"

static const struct fc_disk disks[] = {
	{"image", "/disks/image", true, {{0}, {0}}},
	{"overlay", "/disks/overlay", false, {{1048576, 4194304, 100}, {0}}},
	{"work", "/disks/work", false, {{0, 5, 100}, {200, 0, 1000}}},
};
static const struct fc_machine whole = {
	.memory = (512ull << 20) + 4096,
	.vcpus = 2,
	.kernel = "/vmlinux",
	.initrd = "/initramfs",
	.disks = disks,
	.disk_count = ELEMENTSOF(disks),
	.tap = "bgr000007",
	.mac = "52:54:00:00:00:07",
	.receive = {.bandwidth = {125000, 0, 100}},
	.transmit = {.ops = {100, 50, 100}},
	.vsock = "/vsock",
	.cid = 7,
	.balloon_stats_sec = 5,
	.log = "/log",
	.metrics = "/metrics",
	.serial = "/dev/ttyS0",
};
static const struct fc_machine least = {.memory = 128ull << 20, .vcpus = 1, .kernel = "/vmlinux"};

#define BOOT_ARGS                                                                                            \
	"\"boot_args\":\"console=ttyS0 quiet reboot=k panic=1 8250.nr_uarts=1 i8042.noaux i8042.nomux "      \
	"i8042.dumbkbd cryptomgr.notests systemd.getty_auto=no banger.off=reset\"}\n"
#define LOG     "PUT /logger {\"log_path\":\"\\/log\",\"level\":\"Error\",\"show_level\":true}\n"
#define METRICS "PUT /metrics {\"metrics_path\":\"\\/metrics\"}\n"
#define SERIAL  "PUT /serial {\"serial_out_path\":\"\\/dev\\/ttyS0\"}\n"
#define MACHINE                                                                                              \
	"PUT /machine-config {\"vcpu_count\":2,\"mem_size_mib\":512}\n"                                      \
	"PUT /boot-source {\"kernel_image_path\":\"\\/vmlinux\",\"initrd_path\":\"\\/initramfs\"," BOOT_ARGS \
	"PUT /network-interfaces/net {\"iface_id\":\"net\",\"host_dev_name\":\"bgr000007\","                 \
	"\"guest_mac\":\"52:54:00:00:00:07\",\"rx_rate_limiter\":{\"bandwidth\":{\"size\":125000,"           \
	"\"refill_time\":100}},\"tx_rate_limiter\":{\"ops\":{\"size\":100,\"one_time_burst\":50,"            \
	"\"refill_time\":100}}}\n"                                                                           \
	"PUT /vsock {\"guest_cid\":7,\"uds_path\":\"\\/vsock\"}\n"                                           \
	"PUT /entropy {}\n"
#define DISKS                                                                                                \
	"PUT /drives/image {\"drive_id\":\"image\",\"path_on_host\":\"\\/disks\\/image\","                   \
	"\"is_root_device\":false,\"is_read_only\":true,\"cache_type\":\"Unsafe\"}\n"                        \
	"PUT /drives/overlay {\"drive_id\":\"overlay\",\"path_on_host\":\"\\/disks\\/overlay\","             \
	"\"is_root_device\":false,\"is_read_only\":false,\"cache_type\":\"Writeback\",\"rate_limiter\":"     \
	"{\"bandwidth\":{\"size\":1048576,\"one_time_burst\":4194304,\"refill_time\":100}}}\n"               \
	"PUT /drives/work {\"drive_id\":\"work\",\"path_on_host\":\"\\/disks\\/work\","                      \
	"\"is_root_device\":false,\"is_read_only\":false,\"cache_type\":\"Writeback\",\"rate_limiter\":"     \
	"{\"ops\":{\"size\":200,\"refill_time\":1000}}}\n"

static void sequence(void **state)
{
	static const struct {
		struct fc_version version;
		const struct fc_machine *machine;
		const char *expected;
	} cases[] = {
		{{1, 16, 1}, &whole,
			LOG METRICS SERIAL MACHINE
			"PUT /balloon "
			"{\"amount_mib\":0,\"deflate_on_oom\":true,\"stats_polling_interval_s\":5,"
			"\"free_page_reporting\":true}\n" DISKS},
		/* Newer parts are refused by older releases. */
		{{1, 13, 0}, &whole,
			LOG METRICS MACHINE "PUT /balloon {\"amount_mib\":0,\"deflate_on_oom\":true,"
					    "\"stats_polling_interval_s\":5}\n" DISKS},
		{{2, 0, 0}, &least,
			"PUT /machine-config {\"vcpu_count\":1,\"mem_size_mib\":128}\n"
			"PUT /boot-source {\"kernel_image_path\":\"\\/vmlinux\"," BOOT_ARGS
			"PUT /entropy {}\n"
			"PUT /balloon "
			"{\"amount_mib\":0,\"deflate_on_oom\":true,\"stats_polling_interval_s\":0,"
			"\"free_page_reporting\":true}\n"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_(fc_api_freep) struct fc_api *a = NULL;
		_cleanup_err_ struct err e = {0};
		struct server s;

		begin(&s, NULL);
		assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
		assert_int_equal(fc_machine_configure(a, &cases[i].version, cases[i].machine, &e), 0);
		assert_int_equal(fc_machine_start(a, &e), 0);
		finish(&s);
		assert_memory_equal(s.log, cases[i].expected, strlen(cases[i].expected));
		assert_string_equal(s.log + strlen(cases[i].expected),
			"PUT /actions {\"action_type\":\"InstanceStart\"}\n");
		/* All of it over one. */
		assert_int_equal(s.connections, 1);
		end(&s);
	}
}

/* After a refusal nothing more is said. */
static void refusal(void **state)
{
	static const char *const script[] = {NO_CONTENT,
		JSON("400", "{\"fault_message\":\"The kernel file cannot be opened: /vmlinux\"}"), NULL};
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	_cleanup_err_ struct err e = {0};
	struct server s;

	(void)state;
	begin(&s, script);
	assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
	assert_int_equal(fc_machine_configure(a, &(struct fc_version){1, 16, 0}, &least, &e), -EIO);
	assert_string_equal(err_text(&e),
		"Firecracker refused PUT /boot-source: The kernel file cannot be opened: "
		"/vmlinux (status 400)");
	finish(&s);
	assert_string_equal(s.log, "PUT /machine-config {\"vcpu_count\":1,\"mem_size_mib\":128}\n"
				   "PUT /boot-source {\"kernel_image_path\":\"\\/vmlinux\"," BOOT_ARGS);
	end(&s);
}

static void verbs(void **state)
{
	static const char *const script[] = {JSON("200", "{\"firecracker_version\":\"1.15.1\"}"), NULL};
	_cleanup_err_ struct err e = {0};
	struct server s;

	(void)state;
	begin(&s, script);
	assert_int_equal(engine_firecracker.pause(s.dir, NULL, &e), 0);
	assert_int_equal(engine_firecracker.resume(s.dir, NULL, &e), 0);
	assert_int_equal(engine_firecracker.powerdown(s.dir, NULL, &e), 0);
	finish(&s);
	assert_string_equal(s.log, "GET /version\n"
				   "PATCH /vm {\"state\":\"Paused\"}\n"
				   "PATCH /vm {\"state\":\"Resumed\"}\n"
				   "PUT /actions {\"action_type\":\"SendCtrlAltDel\"}\n");
	end(&s);
}

/* A release whose pauses cost the agent. */
static void no_pause(void **state)
{
	static const struct {
		const char *answer;
		int code;
	} rows[] = {
		{JSON("200", "{\"firecracker_version\":\"1.16.0\"}"), -EOPNOTSUPP},
		{JSON("200", "{\"firecracker_version\":\"1.16.1\"}"), -EOPNOTSUPP},
		{JSON("200", "{\"firecracker_version\":\"1.17.0\"}"), 0},
		{JSON("200", "{}"), -EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		const char *script[] = {rows[i].answer, NULL};
		struct server s;

		begin(&s, script);
		assert_int_equal(engine_firecracker.pause(s.dir, NULL, NULL), rows[i].code);
		finish(&s);
		assert_string_equal(s.log,
			rows[i].code ? "GET /version\n" : "GET /version\nPATCH /vm {\"state\":\"Paused\"}\n");
		end(&s);
	}
}

static void status(void **state)
{
	static const struct {
		const char *answer;
		int code;
		enum engine_status status;
	} cases[] = {
		{JSON("200", "{\"id\":\"7\",\"state\":\"Running\",\"vmm_version\":\"1.16.1\"}"), 0,
			ENGINE_RUNNING},
		{JSON("200", "{\"state\":\"Paused\"}"), 0, ENGINE_PAUSED},
		{JSON("200", "{\"state\":\"Not started\"}"), 0, ENGINE_OTHER},
		{JSON("200", "{\"state\":[]}"), 0, ENGINE_OTHER},
		{NO_CONTENT, 0, ENGINE_OTHER},
		{CLOSE, -EPIPE, ENGINE_OTHER},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *script[] = {cases[i].answer, NULL};
		enum engine_status found = ENGINE_OTHER;
		struct server s;

		begin(&s, script);
		assert_int_equal(engine_firecracker.status(s.dir, &found, NULL), cases[i].code);
		assert_int_equal(found, cases[i].status);
		finish(&s);
		assert_string_equal(s.log, "GET /\n");
		end(&s);
	}
}

/* Of a machine that runs: a limit takes the place of whatever there was, also of a part that it hasn't. */
static void other_limits(void **state)
{
	const struct fc_limit some = {.bandwidth = {.size = 100, .refill_msec = 50}, .ops = {.size = 7}};
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	struct server s;

	(void)state;
	begin(&s, NULL);
	assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
	assert_int_equal(fc_machine_limit_disk(a, "work", &some, NULL), 0);
	assert_int_equal(fc_machine_limit_network(a, &(const struct fc_limit){0}, NULL), 0);
	finish(&s);
	assert_string_equal(s.log,
		"PATCH /drives/work {\"drive_id\":\"work\",\"rate_limiter\":{\"bandwidth\":{\"size\":100,"
		"\"refill_time\":50},\"ops\":{\"size\":0,\"refill_time\":0}}}\n"
		"PATCH /network-interfaces/net {\"iface_id\":\"net\",\"rx_rate_limiter\":{\"bandwidth\":{"
		"\"size\":0,\"refill_time\":0},\"ops\":{\"size\":0,\"refill_time\":0}},\"tx_rate_limiter\":{"
		"\"bandwidth\":{\"size\":0,\"refill_time\":0},\"ops\":{\"size\":0,\"refill_time\":0}}}\n");
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequence),
		cmocka_unit_test(refusal),
		cmocka_unit_test(verbs),
		cmocka_unit_test(no_pause),
		cmocka_unit_test(status),
		cmocka_unit_test(other_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
