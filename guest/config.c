#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "config.h"

static int set_hostname(struct config *c, const char *v)
{
	size_t n = strlen(v);

	if (n >= sizeof(c->hostname))
		return -EINVAL;
	memcpy(c->hostname, v, n + 1);
	return 0;
}

static int set_address(struct config *c, const char *v)
{
	char *slash = strchr(v, '/');
	uint64_t prefix;
	int r;

	if (!slash)
		return -EINVAL;
	*slash = '\0';
	r = parse_ipv4(v, &c->address);
	if (r == 0)
		r = parse_u64(slash + 1, 1, 32, &prefix);
	if (r < 0)
		return r;
	c->prefix = (uint32_t)prefix;
	c->network = true;
	return 0;
}

static int set_gateway(struct config *c, const char *v)
{
	return parse_ipv4(v, &c->gateway);
}

static int set_ip6(struct config *c, const char *v)
{
	char *slash = strchr(v, '/');
	uint64_t prefix;
	int r;

	if (!slash)
		return -EINVAL;
	*slash = '\0';
	r = parse_u64(slash + 1, 1, 128, &prefix);
	if (r < 0 || inet_pton(AF_INET6, v, &c->ip6) != 1)
		return -EINVAL;
	c->prefix6 = (uint32_t)prefix;
	c->has_ip6 = true;
	return 0;
}

static int set_gateway6(struct config *c, const char *v)
{
	c->has_gateway6 = inet_pton(AF_INET6, v, &c->gateway6) == 1;
	return c->has_gateway6 ? 0 : -EINVAL;
}

static int add_dns(struct config *c, const char *v)
{
	if (c->dns_count == CONFIG_DNS_MAX)
		return 0;
	return parse_ipv4(v, &c->dns[c->dns_count++]);
}

static int set_ssh_key(struct config *c, const char *v)
{
	free(c->ssh_key);
	c->ssh_key = strdup(v);
	return c->ssh_key ? 0 : -ENOMEM;
}

static int set_clock(struct config *c, const char *v)
{
	return parse_u64(v, 0, UINT64_MAX, &c->clock_usec);
}

static int set_token(struct config *c, const char *v)
{
	int r = parse_hex(v, c->token, sizeof(c->token));

	c->has_token = r == 0;
	return r;
}

static int set_probe(struct config *c, const char *v)
{
	return parse_bool(v, &c->probe);
}

static int set_root(struct config *c, const char *v)
{
	c->root_disk = strcmp(v, GUEST_ROOT_DISK) == 0;
	return c->root_disk ? 0 : -EINVAL;
}

static int add_disk(struct config *c, const char *v)
{
	if (c->disk_count == CONFIG_DISKS_MAX)
		return -E2BIG;
	c->disks[c->disk_count] = strdup(v);
	return c->disks[c->disk_count++] ? 0 : -ENOMEM;
}

static const struct {
	const char *key;
	int (*set)(struct config *c, const char *v);
} keys[] = {
	{GUEST_KEY_HOSTNAME, set_hostname},
	{GUEST_KEY_ADDRESS, set_address},
	{GUEST_KEY_GATEWAY, set_gateway},
	{GUEST_KEY_IP6, set_ip6},
	{GUEST_KEY_GATEWAY6, set_gateway6},
	{GUEST_KEY_DNS, add_dns},
	{GUEST_KEY_SSH, set_ssh_key},
	{GUEST_KEY_CLOCK, set_clock},
	{GUEST_KEY_TOKEN, set_token},
	{GUEST_KEY_PROBE, set_probe},
	{GUEST_KEY_ROOT, set_root},
	{GUEST_KEY_DISK, add_disk},
};

int config_read(struct config *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct config c = {.hostname = "localhost"};
	char *rest, *line;
	int r;

	r = io_read_file(AT_FDCWD, GUEST_CONFIG_PATH, 65536, &text, NULL, e);
	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		/* Keys of a newer banger are passed over. */
		for (size_t i = 0; i < ELEMENTSOF(keys); i++)
			if (strcmp(line, keys[i].key) == 0 && keys[i].set(&c, value) < 0)
				return err_set(e, -EINVAL, GUEST_CONFIG_PATH ": bad value of %s", line);
	}
	*ret = c;
	return 0;
}
