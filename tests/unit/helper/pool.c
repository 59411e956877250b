/* The numbers that addresses are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../../helper/pool.h"
#include "banger/helper_proto.h"

static void pieces(void **state)
{
	uint8_t prefixes[POOL_PIECES][8];

	(void)state;
	for (unsigned i = 0; i < POOL_PIECES; i++) {
		uint32_t network = POOL_FIRST + (i << (32 - POOL_PREFIX));

		assert_int_equal(pool_piece(network), i);
		pool_prefix6(0x123456789a, network, prefixes[i]);
		for (unsigned k = 0; k < i; k++)
			assert_true(memcmp(prefixes[i], prefixes[k], 8) != 0);
	}
}

static void prefix(void **state)
{
	static const uint8_t wanted[8] = {0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0, 1};
	uint8_t ret[8];

	(void)state;
	pool_prefix6(0x123456789a, 0x0a420400, ret);
	assert_memory_equal(ret, wanted, 8);
}

static void guests(void **state)
{
	static const uint8_t prefix6[8] = {0xfd, 1, 2, 3, 4, 5, 0, 6};
	static const uint8_t gateway[16] = {0xfd, 1, 2, 3, 4, 5, 0, 6, [15] = 1},
			     highest[16] = {0xfd, 1, 2, 3, 4, 5, 0, 6, [12] = 1, 0x0f, 0x42, 0x3f},
			     local[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0x0f, 0x42, 0x3f};
	uint8_t ret[16];
	char mac[18];

	(void)state;
	helper_gateway_ip6(prefix6, ret);
	assert_memory_equal(ret, gateway, 16);
	helper_vm_ip6(prefix6, HELPER_VM_MAX, ret);
	assert_memory_equal(ret, highest, 16);
	/* The two are one interface's. */
	helper_vm_linklocal(HELPER_VM_MAX, ret);
	assert_memory_equal(ret, local, 16);
	helper_vm_mac(HELPER_VM_MAX, mac);
	assert_string_equal(mac, "52:54:00:0f:42:3f");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces), cmocka_unit_test(prefix), cmocka_unit_test(guests)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
