/* What a request must be like, row by row: descriptors, VM number, bytes not in use. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../../helper/calls.h"
#include "banger/cleanup.h"

/* What docs/privileges.md and helper_proto.h promise, written down a second time. */
static const struct {
	const char *name;
	size_t fds_min, fds_max;
	int vm;
	size_t args;
} rows[HELPER_CALL_MAX + 1] = {
	[HELPER_HELLO] = {"hello", 0, 0, 0, 0},
	[HELPER_MOUNT] = {"mount", 0, 1, 0, 0},
	[HELPER_UNMOUNT] = {"unmount", 0, 0, 0, 0},
	[HELPER_NET_UP] = {"net-up", 0, 0, 0, 0},
	[HELPER_NET_DOWN] = {"net-down", 0, 0, 0, 0},
	[HELPER_TAP] = {"tap", 0, 0, 1, 8},
	[HELPER_NAT] = {"nat", 0, 0, 1, 8},
	[HELPER_RATE] = {"rate", 0, 0, 1, 8},
	[HELPER_LAUNCH] = {"launch", LAUNCH_FD_COUNT, LAUNCH_FD_COUNT, 1, 64},
	[HELPER_JAIL] = {"jail", 1, 1, 1, 0},
	[HELPER_SIGNAL] = {"signal", 0, 0, 1, 8},
	[HELPER_RELEASE] = {"release", 0, 0, 1, 0},
	[HELPER_LIST] = {"list", 0, 0, 0, 8},
	[HELPER_PIDFD] = {"pidfd", 0, 0, 1, 0},
	[HELPER_STORAGE] = {"storage", 0, 0, 0, 0},
	[HELPER_DISK] = {"disk", 0, DISK_FD_COUNT, 1, 12},
	[HELPER_DISK_STATUS] = {"disk-status", 0, 0, 1, 0},
};

static struct helper_request good(unsigned call)
{
	return (struct helper_request){.magic = HELPER_MAGIC,
		.version = HELPER_VERSION,
		.call = (uint16_t)call,
		.vm = call <= HELPER_CALL_MAX && rows[call].vm ? 7 : 0};
}

static int check(const struct helper_request *q, size_t nfds)
{
	_cleanup_err_ struct err e = {0};
	const char *name = NULL;
	int r = calls_check(q, nfds, &name, &e);

	if (r == 0)
		assert_string_equal(name, rows[q->call].name);
	else
		assert_true(r == -EPROTO && e.code == -EPROTO && e.text);
	return r;
}

static void numbers_of_calls(void **state)
{
	(void)state;
	for (unsigned call = 0; call <= UINT16_MAX; call++) {
		struct helper_request q = good(call);

		if (call == 0 || call > HELPER_CALL_MAX) {
			assert_int_equal(check(&q, 0), -EPROTO);
			q.vm = 7;
			assert_int_equal(check(&q, 0), -EPROTO);
		} else {
			assert_int_equal(check(&q, rows[call].fds_min), 0);
		}
	}
}

static void numbers_of_descriptors(void **state)
{
	(void)state;
	for (unsigned call = 1; call <= HELPER_CALL_MAX; call++)
		for (size_t n = 0; n < 300; n++) {
			struct helper_request q = good(call);

			assert_int_equal(
				check(&q, n), n < rows[call].fds_min || n > rows[call].fds_max ? -EPROTO : 0);
		}
}

static void numbers_of_vms(void **state)
{
	static const uint32_t numbers[] = {0, 1, HELPER_VM_MAX, HELPER_VM_MAX + 1, INT32_MAX, UINT32_MAX};

	(void)state;
	for (unsigned call = 1; call <= HELPER_CALL_MAX; call++)
		for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
			struct helper_request q = good(call);
			int fits = rows[call].vm ? numbers[i] >= 1 && numbers[i] <= HELPER_VM_MAX
						 : numbers[i] == 0;

			q.vm = numbers[i];
			assert_int_equal(check(&q, rows[call].fds_min), fits ? 0 : -EPROTO);
		}
}

static void heads(void **state)
{
	(void)state;
	for (unsigned call = 1; call <= HELPER_CALL_MAX; call++) {
		struct helper_request q = good(call);

		q.magic ^= 1;
		assert_int_equal(check(&q, rows[call].fds_min), -EPROTO);
		q = good(call);
		q.version = HELPER_VERSION + 1;
		assert_int_equal(check(&q, rows[call].fds_min), -EPROTO);
		q.version = 0;
		assert_int_equal(check(&q, rows[call].fds_min), -EPROTO);
		for (unsigned bit = 0; bit < 32; bit++) {
			q = good(call);
			q.reserved = 1u << bit;
			assert_int_equal(check(&q, rows[call].fds_min), -EPROTO);
		}
		q = good(call);
		q.op = UINT64_MAX;
		assert_int_equal(check(&q, rows[call].fds_min), 0);
	}
}

/* A field named `reserved` inside of a call's arguments counts as one that isn't in use. */
static int is_reserved(unsigned call, size_t at)
{
	static const size_t fields[HELPER_CALL_MAX + 1] = {
		[HELPER_TAP] = offsetof(struct helper_request, u.tap.reserved),
		[HELPER_SIGNAL] = offsetof(struct helper_request, u.signal.reserved),
		[HELPER_LIST] = offsetof(struct helper_request, u.list.reserved),
	};
	size_t field = fields[call] ? fields[call] - offsetof(struct helper_request, u) : SIZE_MAX;

	return at >= rows[call].args || (at >= field && at - field < sizeof(uint32_t));
}

static void bytes_not_in_use(void **state)
{
	(void)state;
	for (unsigned call = 1; call <= HELPER_CALL_MAX; call++)
		for (size_t i = 0; i < sizeof(((struct helper_request *)NULL)->u); i++) {
			struct helper_request q = good(call);

			q.u.bytes[i] = 0x80;
			assert_int_equal(check(&q, rows[call].fds_min), is_reserved(call, i) ? -EPROTO : 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_of_calls),
		cmocka_unit_test(numbers_of_descriptors),
		cmocka_unit_test(numbers_of_vms),
		cmocka_unit_test(heads),
		cmocka_unit_test(bytes_not_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
