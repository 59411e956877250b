/* A VM's number on the kernel's vsock: one that nobody has, whoever else is on the host. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <linux/vhost.h>
#include <cmocka.h>

#include "../../../helper/vsock.h"
#include "banger/cleanup.h"

#define DEVICE 1000 /* a descriptor that nobody has */

/* The kernel's part: the first TAKEN numbers it is asked for are others', then CODE. */
static unsigned taken, asked;
static int code;
static uint64_t last;

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	uint64_t cid;

	va_start(ap, request);
	cid = *va_arg(ap, uint64_t *);
	va_end(ap);
	assert_int_equal(fd, DEVICE);
	assert_int_equal(request, VHOST_VSOCK_SET_GUEST_CID);
	assert_in_range(cid, VSOCK_CID_FIRST, VSOCK_CID_FIRST + VSOCK_CID_COUNT - 1);
	/* Another than the one that was refused. */
	assert_int_not_equal(cid, last);
	last = cid;
	errno = asked++ < taken ? EADDRINUSE : -code;
	return errno ? -1 : 0;
}

static void numbers(void **state)
{
	static const struct {
		unsigned taken;
		int code, result;
		unsigned asked;
	} rows[] = {
		{0, 0, 0, 1},
		{1, 0, 0, 2},
		{VSOCK_TRIES - 1, 0, 0, VSOCK_TRIES},
		{VSOCK_TRIES, 0, -EADDRINUSE, VSOCK_TRIES},
		/* What isn't about the number is not tried again. */
		{0, -EPERM, -EPERM, 1},
		{3, -EBUSY, -EBUSY, 4},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		uint32_t cid = 0;

		taken = rows[i].taken;
		code = rows[i].code;
		asked = 0;
		last = 0;
		assert_int_equal(vsock_number(DEVICE, &cid, &e), rows[i].result);
		assert_int_equal(e.code, rows[i].result);
		assert_int_equal(asked, rows[i].asked);
		assert_int_equal(cid, rows[i].result == 0 ? last : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
