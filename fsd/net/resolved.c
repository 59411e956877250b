#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "banger/cleanup.h"
#include "net/dns_message.h"
#include "net/resolved.h"

#define NAME       "org.freedesktop.resolve1"
#define PATH       "/org/freedesktop/resolve1"
#define LOOPBACK   1       /* its number: include/net/flow.h of the kernel */
#define CALL_USEC  1000000 /* two calls are made */
#define PROPERTIES "org.freedesktop.DBus.Properties"

/* A property of the manager's, entered: *RET is at the first member of the array that it is. */
static int get(sd_bus *bus, const char *property, const char *type, sd_bus_message **ret, struct err *e)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_message_new_method_call(bus, &m, NAME, PATH, PROPERTIES, "Get");

	if (r >= 0)
		r = sd_bus_message_append(m, "ss", NAME ".Manager", property);
	/* One that doesn't run stays so. */
	if (r >= 0)
		r = sd_bus_message_set_auto_start(m, false);
	if (r >= 0)
		r = sd_bus_call(bus, m, CALL_USEC, &error, &reply);
	if (r < 0 && (sd_bus_error_has_name(&error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
			     sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER)))
		r = err_set(e, -ENOENT, "systemd-resolved doesn't run here");
	else if (r < 0)
		r = err_set(e, r == -ENOENT ? -EIO : r, "systemd-resolved can't be asked: %s",
			error.message ? error.message : strerror(-r));
	sd_bus_error_free(&error);
	if (r < 0)
		return r;
	r = sd_bus_message_enter_container(reply, 'v', type);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', type + 1);
	if (r < 0)
		return err_sys(e, r, "systemd-resolved's %s", property);
	*ret = TAKE_PTR(reply);
	return 0;
}

/* Whether ADDRESS:PORT is a server of the link IFINDEX, or of LOOPBACK, which it says of all that are there. -errno */
static int has_server(sd_bus_message *m, int ifindex, uint32_t address, uint16_t port)
{
	uint32_t wanted = htonl(address);
	bool found = false;
	int r;

	while ((r = sd_bus_message_enter_container(m, 'r', "iiayqs")) > 0) {
		const void *bytes;
		const char *name;
		int32_t link, family;
		uint16_t at;
		size_t n;

		if ((r = sd_bus_message_read(m, "ii", &link, &family)) < 0 ||
			(r = sd_bus_message_read_array(m, 'y', &bytes, &n)) < 0 ||
			(r = sd_bus_message_read(m, "qs", &at, &name)) < 0 ||
			(r = sd_bus_message_exit_container(m)) < 0)
			return r;
		found |= (link == ifindex || link == LOOPBACK) && family == AF_INET && n == sizeof(wanted) &&
			 memcmp(bytes, &wanted, sizeof(wanted)) == 0 && at == port;
	}
	return r < 0 ? r : found;
}

static int has_domain(sd_bus_message *m, int ifindex, const char *wanted)
{
	bool found = false;
	int r;

	while ((r = sd_bus_message_enter_container(m, 'r', "isb")) > 0) {
		const char *domain;
		int32_t link;
		int route;

		if ((r = sd_bus_message_read(m, "isb", &link, &domain, &route)) < 0 ||
			(r = sd_bus_message_exit_container(m)) < 0)
			return r;
		found |= link == ifindex && strcmp(domain, wanted) == 0;
	}
	return r < 0 ? r : found;
}

int resolved_check(const char *bridge, uint32_t address, uint16_t port, struct err *e)
{
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *servers = NULL, *domains = NULL;
	int ifindex = (int)if_nametoindex(bridge), r;

	if (sd_bus_open_system(&bus) < 0)
		return err_set(e, -ENOENT, "systemd-resolved doesn't run here");
	if ((r = get(bus, "DNSEx", "a(iiayqs)", &servers, e)) < 0 ||
		(r = get(bus, "Domains", "a(isb)", &domains, e)) < 0)
		return r;
	if (ifindex == 0)
		return err_set(e, -EADDRNOTAVAIL, "the first VM that starts makes the link that it goes by");
	r = has_server(servers, ifindex, address, port);
	if (r > 0)
		r = has_domain(domains, ifindex, DNS_ZONE);
	if (r < 0)
		return err_sys(e, r, "systemd-resolved's answer");
	return r > 0 ? 0
		     : err_set(e, -EADDRNOTAVAIL, "systemd-resolved isn't told: sudo banger system names");
}
