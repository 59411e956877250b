/* How fast a tap carries frames, in a network namespace of the test's own: the test is the guest behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/pkt_sched.h>
#include <netlink/cache.h>
#include <netlink/route/link.h>
#include <netlink/route/qdisc.h>
#include <time.h>

#include "../../lib/need.h"
#include "../../lib/own_network.h"
#include "banger/helper_proto.h"
#include "rate.h"

#define FRAME  1014
#define FRAMES 900 /* below the length of a tap's own queue, 1000 (drivers/net/tun.c) */
/* Where a bucket holds a tenth of a second, and two of them are less than what is sent. */
#define RATE (1ull << 20)

struct tap {
	struct nl_sock *sock;
	int fd, ifindex;
	int packets; /* the host's side */
};

static struct tap *tap_new(void)
{
	struct tap *t;
	struct ifreq request = {.ifr_name = "t0", .ifr_flags = (short)(IFF_TAP | IFF_NO_PI)};

	need_root();
	t = calloc(1, sizeof(*t));
	assert_non_null(t);
	t->sock = nl_socket_alloc();
	assert_int_equal(nl_connect(t->sock, NETLINK_ROUTE), 0);
	t->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	need("tun", t->fd >= 0, "no /dev/net/tun");
	assert_int_equal(ioctl(t->fd, TUNSETIFF, &request), 0);
	t->packets = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(t->packets >= 0);
	assert_int_equal(ioctl(t->packets, SIOCGIFINDEX, &request), 0);
	t->ifindex = request.ifr_ifindex;
	request.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(t->packets, SIOCSIFFLAGS, &request), 0);
	return t;
}

static void tap_free(struct tap *t)
{
	nl_socket_free(t->sock);
	close_fd(t->fd);
	close_fd(t->packets);
	free(t);
}

/* The kind of what has HANDLE there, or "". *RET_DROPS: of packets. */
static void look(struct tap *t, uint32_t handle, char kind[16], uint64_t *ret_drops)
{
	struct nl_cache *all = NULL;
	struct rtnl_qdisc *q;

	assert_int_equal(rtnl_qdisc_alloc_cache(t->sock, &all), 0);
	q = rtnl_qdisc_get(all, t->ifindex, handle);
	snprintf(kind, 16, "%s", q ? rtnl_tc_get_kind(TC_CAST(q)) : "");
	if (ret_drops)
		*ret_drops = q ? rtnl_tc_get_stat(TC_CAST(q), RTNL_TC_DROPS) : 0;
	if (q)
		rtnl_qdisc_put(q);
	nl_cache_free(all);
}

static void has(struct tap *t, const char *queue, const char *entrance)
{
	char kind[16];

	look(t, 0xba490000u, kind, NULL);
	assert_string_equal(kind, queue);
	look(t, 0xffff0000u, kind, NULL);
	assert_string_equal(kind, entrance);
}

/* One that has this limit. A kernel that can't is named, and nothing is left there. */
static struct tap *tap_with(uint64_t rate)
{
	_cleanup_err_ struct err e = {0};
	struct tap *t = tap_new();
	int r = rate_set(t->sock, t->ifindex, rate, &e);

	if (r == -EOPNOTSUPP) {
		assert_non_null(strstr(err_text(&e), "lacks"));
		assert_non_null(strstr(err_text(&e), "modprobe"));
		has(t, "", "");
		tap_free(t);
		print_message("# %s\n", err_text(&e));
		err_clear(&e);
		need("police", false, "the kernel lacks what it takes to limit a rate");
	}
	assert_int_equal(r, 0);
	has(t, "tbf", "clsact");
	return t;
}

static const uint8_t frame[FRAME] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5};

/* How many of FRAMES, sent at once, the guest gets then. */
static unsigned to_guest(struct tap *t)
{
	const struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_ifindex = t->ifindex, .sll_halen = 6, .sll_addr = {0xff}};
	uint8_t buf[2 * FRAME];
	unsigned got = 0;

	/* Of a queue that a test before had filled. */
	while (read(t->fd, buf, sizeof(buf)) >= 0)
		continue;
	for (int i = 0; i < FRAMES; i++)
		(void)!sendto(t->packets, frame, sizeof(frame), 0, (const struct sockaddr *)&to, sizeof(to));
	for (;;) {
		ssize_t n = read(t->fd, buf, sizeof(buf));

		if (n < 0)
			break;
		got += n == FRAME && buf[12] == 0x88 && buf[13] == 0xb5;
	}
	return got;
}

/* How many of FRAMES are dropped that the guest sends at once. */
static unsigned dropped_from_guest(struct tap *t)
{
	uint64_t before, after;
	char kind[16];

	look(t, 0xffff0000u, kind, &before);
	for (int i = 0; i < FRAMES; i++)
		assert_int_equal(write(t->fd, frame, sizeof(frame)), FRAME);
	look(t, 0xffff0000u, kind, &after);
	return (unsigned)(after - before);
}

static uint64_t now_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* What fits into a bucket, and into the time that the test took for it besides. */
static void held(struct tap *t)
{
	const unsigned bucket = RATE / 10 / FRAME;
	uint64_t begun = now_msec();
	unsigned more, got = to_guest(t);

	more = (unsigned)((now_msec() - begun + 1) * RATE / 1000 / FRAME + 1);
	assert_in_range(got, bucket / 2, bucket + more);
	begun = now_msec();
	got = FRAMES - dropped_from_guest(t);
	more = (unsigned)((now_msec() - begun + 1) * RATE / 1000 / FRAME + 1);
	assert_in_range(got, bucket / 2, bucket + more);
}

static void both_ways(void **state)
{
	struct tap *t = tap_with(RATE);

	(void)state;
	held(t);
	tap_free(t);
}

static void changed_and_taken_away(void **state)
{
	struct tap *t = tap_with(HELPER_RATE_MAX);

	(void)state;
	assert_int_equal(to_guest(t), FRAMES);
	assert_int_equal(dropped_from_guest(t), 0);
	assert_int_equal(rate_set(t->sock, t->ifindex, RATE, NULL), 0);
	held(t);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rate_set(t->sock, t->ifindex, 0, NULL), 0);
		has(t, "", "");
		assert_int_equal(to_guest(t), FRAMES);
	}
	assert_int_equal(rate_set(t->sock, t->ifindex, HELPER_RATE_MIN, NULL), 0);
	has(t, "tbf", "clsact");
	tap_free(t);
}

static void none_there(void **state)
{
	struct tap *t = tap_new();

	(void)state;
	assert_int_equal(rate_set(t->sock, t->ifindex, 0, NULL), 0);
	has(t, "", "");
	assert_int_equal(rate_set(t->sock, t->ifindex + 1, RATE, NULL), -ENODEV);
	tap_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
		cmocka_unit_test(changed_and_taken_away),
		cmocka_unit_test(none_there),
	};

	return cmocka_run_group_tests_name("rate", tests, own_network, NULL);
}
