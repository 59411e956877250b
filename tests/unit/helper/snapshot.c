/* Device-mapper without a kernel that has it: names, uuids, and what the kernel says of a snapshot. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../../helper/disk.h"
#include "banger/launch_disks.h"
#include "../../../helper/snapshot.h"
#include "banger/cleanup.h"

static void names(void **state)
{
	struct snapshot_owner o = {.instance = "bg0", .tag = 0x1a2b, .vm = 17};
	char text[SNAPSHOT_NAME_MAX];

	(void)state;
	snapshot_name(&o, SNAPSHOT_ROOT, text);
	assert_string_equal(text, "bg0-17-1a2b");
	snapshot_name(&o, SNAPSHOT_BASE, text);
	assert_string_equal(text, "bg0-17-1a2b-base");
	snapshot_uuid(&o, SNAPSHOT_ROOT, text);
	assert_string_equal(text, "BANGER-bg0-17-1a2b");
	snapshot_uuid(&o, SNAPSHOT_BASE, text);
	assert_string_equal(text, "BANGER-bg0-17-1a2b-base");
}

/* The longest is whole: one cut off could be another's. */
static void longest(void **state)
{
	struct snapshot_owner o = {.instance = "bgabcdefabcdefa", .tag = UINT64_MAX, .vm = HELPER_VM_MAX};
	char text[SNAPSHOT_NAME_MAX];

	(void)state;
	snapshot_name(&o, SNAPSHOT_BASE, text);
	assert_string_equal(text, "bgabcdefabcdefa-999999-ffffffffffffffff-base");
	snapshot_uuid(&o, SNAPSHOT_BASE, text);
	assert_string_equal(text, "BANGER-bgabcdefabcdefa-999999-ffffffffffffffff-base");
}

static void says(
	const char *type, const char *params, enum helper_disk_state wanted, uint64_t used, uint64_t size)
{
	struct snapshot_status s;

	assert_int_equal(snapshot_status_parse(type, params, &s), 0);
	assert_int_equal(s.state, wanted);
	assert_int_equal(s.used, used);
	assert_int_equal(s.size, size);
}

static void status(void **state)
{
	struct snapshot_status s;

	(void)state;
	says("snapshot", "34464/16842768 144", HELPER_DISK_OK, 34464ull * 512, 16842768ull * 512);
	says("snapshot", "16/16842768 16", HELPER_DISK_OK, 8192, 16842768ull * 512);
	says("snapshot", "Overflow", HELPER_DISK_FULL, 0, 0);
	says("snapshot", "Invalid", HELPER_DISK_INVALID, 0, 0);
	says("snapshot", "Merge failed", HELPER_DISK_INVALID, 0, 0);
	says("error", "", HELPER_DISK_LOST, 0, 0);
	says("linear", "7:0 0", HELPER_DISK_LOST, 0, 0);
	assert_int_equal(snapshot_status_parse("snapshot", "", &s), -EPROTO);
	assert_int_equal(snapshot_status_parse("snapshot", "Unknown", &s), -EPROTO);
}

/* By the number that a VMM has a disk at, the guest finds it, whatever storage it is. */
static void disks(void **state)
{
	size_t n;
	const struct launch_disk *d = launch_disks(HELPER_STORAGE_OVERLAY, &n);

	(void)state;
	assert_int_equal(n, 3);
	assert_string_equal(d[0].serial, "image");
	assert_true(d[0].readonly);
	for (size_t i = 0; i < n; i++)
		assert_false(d[i].block);
	d = launch_disks(HELPER_STORAGE_DM, &n);
	assert_int_equal(n, 2);
	assert_string_equal(d[0].serial, "root");
	assert_true(d[0].block && !d[0].readonly);
	assert_string_equal(d[1].serial, "work");
	assert_false(d[1].block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(longest),
		cmocka_unit_test(status),
		cmocka_unit_test(disks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
