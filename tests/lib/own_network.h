/* A network of the test's own. Behind cmocka.h. */
#ifndef BANGER_TESTS_OWN_NETWORK_H
#define BANGER_TESTS_OWN_NETWORK_H

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "banger/cleanup.h"

/*
 * A group's setup. Ports are nobody else's then; and an agent that is asked for its own, which connects to whatever listens, finds none of other tests. Only root
 * can keep them apart.
 */
static inline int own_network(void **state)
{
	struct ifreq request = {.ifr_name = "lo"};
	_cleanup_close_ int sock = -EBADF;

	(void)state;
	if (unshare(CLONE_NEWNET) < 0) {
		assert_int_equal(errno, EPERM);
		print_message("# not root: on the network of all\n");
		return 0;
	}
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(sock >= 0);
	assert_int_equal(ioctl(sock, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &request), 0);
	return 0;
}

#endif
