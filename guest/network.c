/* netdevice(7) and route(7): a handful of ioctls, no netlink library for a handful of calls. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "guest.h"
#include "network.h"

static struct sockaddr_in inet_address(uint32_t host_order)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(host_order)};
}

static int link_up(int sock, const char *name)
{
	struct ifreq request = {0};

	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(sock, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(sock, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int set_address(int sock, const char *name, unsigned long call, uint32_t value)
{
	struct ifreq request = {0};
	struct sockaddr_in address = inet_address(value);

	memcpy(request.ifr_name, name, strlen(name));
	memcpy(&request.ifr_addr, &address, sizeof(address));
	return ioctl(sock, (int)call, &request) < 0 ? -errno : 0;
}

/* <linux/ipv6.h> and <linux/ipv6_route.h>, which musl's headers don't go together with. */
struct address6_request {
	struct in6_addr address;
	uint32_t prefix;
	int ifindex;
};

struct route6_request {
	struct in6_addr to, from, gateway;
	uint32_t type;
	uint16_t to_prefix, from_prefix;
	uint32_t metric;
	unsigned long info;
	uint32_t flags;
	int ifindex;
};

/* So that an address can be used at once: nobody else has it, and nobody would hear the question. */
static void dont_look_for_duplicates(void)
{
	_cleanup_close_ int fd = open("/proc/sys/net/ipv6/conf/eth0/accept_dad", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "0", 1);
}

/* A kernel that has no IPv6 is no reason not to start. */
static void network6_up(const struct config *c)
{
	_cleanup_close_ int sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct address6_request address = {.address = c->ip6, .prefix = c->prefix6};
	struct route6_request route = {.gateway = c->gateway6, .metric = 1024, .flags = RTF_UP | RTF_GATEWAY};

	if (sock < 0) {
		guest_say("IPv6: %s", strerror(errno));
		return;
	}
	address.ifindex = route.ifindex = (int)if_nametoindex("eth0");
	if (ioctl(sock, SIOCSIFADDR, &address) < 0 && errno != EEXIST)
		guest_say("IPv6 address: %s", strerror(errno));
	else if (c->has_gateway6 && ioctl(sock, SIOCADDRT, &route) < 0 && errno != EEXIST)
		guest_say("IPv6 route: %s", strerror(errno));
}

int network_up(const struct config *c, struct err *e)
{
	_cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	struct sockaddr_in gateway = inet_address(c->gateway), any = inet_address(0);
	int r;

	if (sock < 0)
		return err_sys(e, -errno, "network");
	link_up(sock, "lo");
	if (!c->network)
		return 0;
	if ((r = set_address(sock, "eth0", SIOCSIFADDR, c->address)) < 0 ||
		(r = set_address(sock, "eth0", SIOCSIFNETMASK, ~(uint32_t)0 << (32 - c->prefix))) < 0)
		return err_sys(e, r, "eth0");
	if (c->has_ip6)
		dont_look_for_duplicates();
	if ((r = link_up(sock, "eth0")) < 0)
		return err_sys(e, r, "eth0");
	if (c->has_ip6)
		network6_up(c);
	memcpy(&route.rt_gateway, &gateway, sizeof(gateway));
	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	if (ioctl(sock, SIOCADDRT, &route) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "default route");
	return 0;
}
