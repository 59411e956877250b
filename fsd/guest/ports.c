#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "banger/cleanup.h"
#include "guest/ports.h"

static const char *const speaks[] = {
	[AGENT_SPEAKS_UNKNOWN] = "?",
	[AGENT_SPEAKS_OTHER] = "-",
	[AGENT_SPEAKS_HTTP] = "http",
	[AGENT_SPEAKS_HTTPS] = "https",
};

static bool is_zero(const uint8_t *a, size_t n)
{
	while (n > 0 && a[n - 1] == 0)
		n--;
	return n == 0;
}

static bool is_valid(const struct agent_port *p)
{
	return p->port > 0 && (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP) &&
	       (p->family == 6 || (p->family == 4 && is_zero(p->address + 4, 12))) &&
	       p->speaks < ELEMENTSOF(speaks) && p->zero == 0;
}

int ports_next(const uint8_t **data, size_t *n, struct guest_port *ret)
{
	struct agent_port p;
	size_t text;

	if (*n == 0)
		return 0;
	if (*n < sizeof(p))
		return -EPROTO;
	memcpy(&p, *data, sizeof(p));
	text = (size_t)p.comm_length + p.command_length;
	if (!is_valid(&p) || text > *n - sizeof(p))
		return -EPROTO;
	ret->port = p;
	ret->comm = (const char *)*data + sizeof(p);
	ret->command = ret->comm + p.comm_length;
	*data += sizeof(p) + text;
	*n -= sizeof(p) + text;
	return 1;
}

bool ports_on_loopback(unsigned family, const uint8_t address[16])
{
	static const uint8_t one[16] = {[15] = 1}, local[4] = {127, 0, 0, 1};

	if (family == 4)
		return is_zero(address, 4) || memcmp(address, local, sizeof(local)) == 0;
	return is_zero(address, 16) || memcmp(address, one, sizeof(one)) == 0;
}

static void put_text(FILE *out, const char *text, size_t n, bool blanks)
{
	if (n == 0)
		putc('-', out);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c > '~' || c == '\\' || (c == ' ' && !blanks))
			fprintf(out, "\\%03o", c);
		else
			putc(c, out);
	}
}

static void print_one(const struct guest_port *g, FILE *out)
{
	const struct agent_port *p = &g->port;
	char address[INET6_ADDRSTRLEN] = "";

	inet_ntop(p->family == 4 ? AF_INET : AF_INET6, p->address, address, sizeof(address));
	fprintf(out, "%u %s %s %s ", p->port, p->protocol == IPPROTO_TCP ? "tcp" : "udp", address,
		p->protocol == IPPROTO_TCP ? speaks[p->speaks] : "-");
	if (p->pid)
		fprintf(out, "%u ", p->pid);
	else
		fputs("- ", out);
	put_text(out, g->comm, p->comm_length, false);
	putc(' ', out);
	put_text(out, g->command, p->command_length, true);
	putc('\n', out);
}

int ports_print(const void *data, size_t n, FILE *out)
{
	const uint8_t *at = data;
	struct guest_port g;
	size_t left = n, count = 0;
	int r;

	while ((r = ports_next(&at, &left, &g)) > 0)
		if (++count > AGENT_PORTS_MAX)
			return -EPROTO;
	at = data;
	left = n;
	while (r == 0 && ports_next(&at, &left, &g) > 0)
		print_one(&g, out);
	return r;
}
