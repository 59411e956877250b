/* A datagram from anybody on the host: what is answered can be read again, is an answer, and never longer than UDP carries. */
#include <arpa/nameser.h>
#include <stdint.h>

#include "net/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool find_addresses(void *user, const char *name, struct dns_addresses *ret)
{
	(void)user;
	*ret = (struct dns_addresses){.ip = 0x0a420002, .has_ip6 = true};
	return name[0] == 'b';
}

static const char *find_name(void *user, uint32_t ip, const uint8_t *ip6)
{
	(void)user;
	return (ip6 ? ip6[15] : ip) & 1 ? "box1" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct dns_zone zone = {
		.subnet = {.network = 0x0a420000, .prefix = 16, .has_ip6 = true, .prefix6 = {0xfd}},
		.addresses = find_addresses,
		.name = find_name};
	uint8_t answer[DNS_ANSWER_MAX];
	size_t length = dns_answer(&zone, data, n, answer), again;
	uint8_t none[DNS_ANSWER_MAX];
	ns_msg msg;
	ns_rr rr;

	if (length == 0)
		return 0;
	if (length > sizeof(answer) || ns_initparse(answer, (int)length, &msg) < 0)
		abort();
	for (ns_sect s = ns_s_qd; s < ns_s_max; s++)
		for (int i = 0; i < ns_msg_count(msg, s); i++)
			if (ns_parserr(&msg, s, i, &rr) < 0)
				abort();
	again = dns_answer(&zone, answer, length, none);
	if (again != 0)
		abort();
	return 0;
}
