/* A VM's disks without a VM: how large a cow is, what words there are. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vm/disks.h"

/*
 * dm-snap-persistent.c: a chunk is the header, then each area is a chunk of 256 entries and the 256 chunks that they are of; a chunk is taken only
 * while it is whole within the device, and the next area is wiped when one is full.
 */
static uint64_t chunks_that_fit(uint64_t cow)
{
	uint64_t all = cow / 4096, next = 2, fit = 0;

	while (next + 1 <= all) {
		fit++;
		if (fit % 256 == 0 && next + 1 >= all)
			return fit - 1;
		next++;
		if ((next - 1) % 257 == 0)
			next++;
	}
	return fit;
}

static void cow_holds_all(void **state)
{
	static const uint64_t chunks[] = {1, 2, 255, 256, 257, 511, 512, 513, 16384, 65536, 65537};

	(void)state;
	for (size_t i = 0; i < sizeof(chunks) / sizeof(*chunks); i++) {
		uint64_t fit = chunks_that_fit(disks_cow_size(chunks[i] * 4096));

		assert_true(fit >= chunks[i]);
		assert_true(fit <= chunks[i] + 2);
	}
	assert_int_equal(disks_cow_size(1), disks_cow_size(4096));
}

static void root_is_the_larger(void **state)
{
	(void)state;
	assert_int_equal(disks_root_size(4096, 8192), 8192);
	assert_int_equal(disks_root_size(8192, 4096), 8192);
	assert_int_equal(disks_root_size(8193, 4096), 12288);
}

static void storage_words(void **state)
{
	static const char *const bad[] = {"", "DM", "dm ", "loop", "qcow2"};

	(void)state;
	assert_int_equal(disks_check_word("auto", NULL), 0);
	assert_int_equal(disks_check_word(disks_storage_name(HELPER_STORAGE_DM), NULL), 0);
	assert_int_equal(disks_check_word(disks_storage_name(HELPER_STORAGE_OVERLAY), NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(disks_check_word(bad[i], NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cow_holds_all),
		cmocka_unit_test(root_is_the_larger),
		cmocka_unit_test(storage_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
