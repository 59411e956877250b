/* What a subnet has room for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/address.h"

static void last_of_a_subnet(void **state)
{
	static const struct {
		uint32_t prefix, last;
	} cases[] = {{8, 0xfffffe}, {16, 65534}, {24, 254}, {29, 6}, {30, 2}, {31, 0}, {32, 0},
		{1, 0x7ffffffe}, {0, 0xfffffffe}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct subnet s = {.network = 0x0a420000, .prefix = cases[i].prefix};

		assert_int_equal(subnet_last(&s), cases[i].last);
	}
}

static void addresses(void **state)
{
	struct subnet s = {.network = 0x0a420000, .prefix = 16};

	(void)state;
	assert_int_equal(subnet_address(&s, 2), 0x0a420002);
	assert_int_equal(subnet_address(&s, subnet_last(&s)), 0x0a42fffe);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_of_a_subnet), cmocka_unit_test(addresses)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
