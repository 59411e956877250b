/* What is answered to which query, byte by byte where it matters, and by a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <resolv.h>
#include <sys/socket.h>

#include "banger/io.h"
#include "lib/own_network.h"
#include "net/dns.h"

#define PATIENCE 60000000 /* usec */

static bool there = true;

static const uint8_t box1_ip6[16] = {0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xbc};

static bool find_addresses(void *user, const char *name, struct dns_addresses *ret)
{
	(void)user;
	if (!there || strcmp(name, "box1") != 0)
		return false;
	ret->ip = 0x0a420002;
	ret->has_ip6 = true;
	memcpy(ret->ip6, box1_ip6, sizeof(ret->ip6));
	return true;
}

static const char *find_name(void *user, uint32_t ip, const uint8_t *ip6)
{
	(void)user;
	return there && (ip6 ? memcmp(ip6, box1_ip6, sizeof(box1_ip6)) == 0 : ip == 0x0a420002) ? "box1"
												: NULL;
}

static const struct dns_zone zone = {
	.subnet = {.network = 0x0a420000,
		.prefix = 16,
		.gateway = 0x0a420001,
		.has_ip6 = true,
		.prefix6 = {0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a}},
	.addresses = find_addresses,
	.name = find_name,
};

#define ZEROS_4 "0.0.0.0."
#define ZEROS_8 ZEROS_4 ZEROS_4
#define PREFIX6 "0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa"

struct reply {
	uint8_t bytes[DNS_ANSWER_MAX];
	size_t n;
	ns_msg msg;
	ns_rr rr; /* the first answer's */
};

static void read_reply(struct reply *r)
{
	assert_int_equal(ns_initparse(r->bytes, (int)r->n, &r->msg), 0);
	assert_true(ns_msg_getflag(r->msg, ns_f_qr));
	for (ns_sect s = ns_s_qd; s < ns_s_max; s++)
		for (int i = 0; i < ns_msg_count(r->msg, s); i++) {
			ns_rr rr;

			assert_int_equal(ns_parserr(&r->msg, s, i, &rr), 0);
		}
	if (ns_msg_count(r->msg, ns_s_an) > 0)
		assert_int_equal(ns_parserr(&r->msg, ns_s_an, 0, &r->rr), 0);
}

static int make_query(const char *name, int class, int type, uint8_t *query, int max)
{
	struct __res_state state = {0};
	int n;

	assert_int_equal(res_ninit(&state), 0);
	n = res_nmkquery(&state, ns_o_query, name, class, type, NULL, 0, NULL, query, max);
	res_nclose(&state);
	assert_true(n > 0);
	return n;
}

static void ask(const char *name, int class, int type, struct reply *r)
{
	uint8_t query[512];
	int n = make_query(name, class, type, query, sizeof(query));

	r->n = dns_answer(&zone, query, (size_t)n, r->bytes);
	assert_true(r->n > 0);
	assert_memory_equal(query, r->bytes, 2);
	read_reply(r);
}

static void answers(void **state)
{
	static const struct {
		const char *name;
		int class, type, rcode, answers, authority;
	} cases[] = {
		{"box1.vm", ns_c_in, ns_t_a, ns_r_noerror, 1, 0},
		{"box1.vm", ns_c_in, ns_t_any, ns_r_noerror, 2, 0},
		{"BOX1.Vm", ns_c_in, ns_t_a, ns_r_noerror, 1, 0},
		{"box1.vm", ns_c_in, ns_t_aaaa, ns_r_noerror, 1, 0},
		{"box2.vm", ns_c_in, ns_t_aaaa, ns_r_nxdomain, 0, 1},
		{"box1.vm", ns_c_in, ns_t_mx, ns_r_noerror, 0, 1},
		{"box2.vm", ns_c_in, ns_t_a, ns_r_nxdomain, 0, 1},
		{"www.box1.vm", ns_c_in, ns_t_a, ns_r_nxdomain, 0, 1},
		{"-.vm", ns_c_in, ns_t_a, ns_r_nxdomain, 0, 1},
		{"box1\\.vm.vm", ns_c_in, ns_t_a, ns_r_nxdomain, 0, 1},
		{"box1\\000.vm", ns_c_in, ns_t_a, ns_r_nxdomain, 0, 1},
		{"vm", ns_c_in, ns_t_soa, ns_r_noerror, 1, 0},
		{"vm", ns_c_in, ns_t_a, ns_r_noerror, 0, 1},
		{"vm", ns_c_in, ns_t_axfr, ns_r_refused, 0, 0},
		{"box1.vm", ns_c_chaos, ns_t_txt, ns_r_refused, 0, 0},
		{"box1\\.vm", ns_c_in, ns_t_a, ns_r_refused, 0, 0},
		{"box1vm", ns_c_in, ns_t_a, ns_r_refused, 0, 0},
		{"debian.org", ns_c_in, ns_t_a, ns_r_refused, 0, 0},
		{".", ns_c_in, ns_t_ns, ns_r_refused, 0, 0},
		{"2.0.66.10.in-addr.arpa", ns_c_in, ns_t_ptr, ns_r_noerror, 1, 0},
		{"2.0.66.10.IN-ADDR.arpa", ns_c_in, ns_t_ptr, ns_r_noerror, 1, 0},
		{"2.0.66.10.in-addr.arpa", ns_c_in, ns_t_a, ns_r_noerror, 0, 0},
		{"3.0.66.10.in-addr.arpa", ns_c_in, ns_t_ptr, ns_r_nxdomain, 0, 0},
		{"2.0.67.10.in-addr.arpa", ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{"66.10.in-addr.arpa", ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{"2.2.0.66.10.in-addr.arpa", ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{"in-addr.arpa", ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{"c.b." ZEROS_4 "1.0." ZEROS_8 PREFIX6, ns_c_in, ns_t_ptr, ns_r_noerror, 1, 0},
		{"C.B." ZEROS_4 "1.0." ZEROS_8 PREFIX6, ns_c_in, ns_t_ptr, ns_r_noerror, 1, 0},
		{"d.b." ZEROS_4 "1.0." ZEROS_8 PREFIX6, ns_c_in, ns_t_ptr, ns_r_nxdomain, 0, 0},
		{"c.b." ZEROS_4 "1.0." ZEROS_8 "1.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa", ns_c_in, ns_t_ptr,
			ns_r_refused, 0, 0},
		{"g.b." ZEROS_4 "1.0." ZEROS_8 PREFIX6, ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{"cb." ZEROS_4 "1.0.0." ZEROS_8 PREFIX6, ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{"c." ZEROS_4 "1.0." ZEROS_8 PREFIX6, ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
		{PREFIX6, ns_c_in, ns_t_ptr, ns_r_refused, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply r;

		print_message("# %s, type %d\n", cases[i].name, cases[i].type);
		ask(cases[i].name, cases[i].class, cases[i].type, &r);
		assert_int_equal(ns_msg_getflag(r.msg, ns_f_rcode), cases[i].rcode);
		assert_int_equal(ns_msg_getflag(r.msg, ns_f_aa), cases[i].rcode != ns_r_refused);
		assert_int_equal(ns_msg_count(r.msg, ns_s_an), cases[i].answers);
		assert_int_equal(ns_msg_count(r.msg, ns_s_ns), cases[i].authority);
		assert_int_equal(ns_msg_count(r.msg, ns_s_ar), 0);
	}
}

static void what_they_say(void **state)
{
	static const uint8_t address[] = {10, 66, 0, 2};
	char name[NS_MAXDNAME];
	struct reply r;

	(void)state;
	ask("bOx1.vm", ns_c_in, ns_t_a, &r);
	/* As it was asked: a resolver may tell a forged answer by that. */
	assert_string_equal(ns_rr_name(r.rr), "bOx1.vm");
	assert_int_equal(ns_rr_ttl(r.rr), 0);
	assert_int_equal(ns_rr_rdlen(r.rr), 4);
	assert_memory_equal(ns_rr_rdata(r.rr), address, 4);
	ask("2.0.66.10.in-addr.arpa", ns_c_in, ns_t_ptr, &r);
	assert_true(ns_name_uncompress(ns_msg_base(r.msg), ns_msg_end(r.msg), ns_rr_rdata(r.rr), name,
			    sizeof(name)) > 0);
	assert_string_equal(name, "box1.vm");
	there = false;
	ask("box1.vm", ns_c_in, ns_t_a, &r);
	there = true;
	assert_int_equal(ns_msg_getflag(r.msg, ns_f_rcode), ns_r_nxdomain);
}

static void the_longest_name(void **state)
{
	char name[260];
	struct reply r;

	(void)state;
	memset(name, 'a', sizeof(name));
	for (size_t i = 63; i < 250; i += 64)
		name[i] = '.';
	memcpy(name + 250, ".vm", 4);
	ask(name, ns_c_in, ns_t_a, &r);
	assert_int_equal(ns_msg_getflag(r.msg, ns_f_rcode), ns_r_nxdomain);
	assert_int_equal(ns_msg_count(r.msg, ns_s_ns), 1);
}

/* A query for box1.vm with an OPT record of VERSION behind it, twice if TWICE. */
static size_t edns_query(uint8_t *query, size_t max, unsigned version, bool twice)
{
	static const uint8_t opt[] = {0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0};
	size_t n = (size_t)make_query("box1.vm", ns_c_in, ns_t_a, query, (int)max);

	for (int i = 0; i <= twice; i++) {
		memcpy(query + n, opt, sizeof(opt));
		query[n + 6] = (uint8_t)version;
		n += sizeof(opt);
	}
	query[11] = (uint8_t)(1 + twice);
	return n;
}

static void edns(void **state)
{
	uint8_t query[512];
	struct reply r;
	ns_rr opt;

	(void)state;
	r.n = dns_answer(&zone, query, edns_query(query, sizeof(query), 0, false), r.bytes);
	read_reply(&r);
	assert_int_equal(ns_msg_count(r.msg, ns_s_an), 1);
	assert_int_equal(ns_msg_count(r.msg, ns_s_ar), 1);
	assert_int_equal(ns_parserr(&r.msg, ns_s_ar, 0, &opt), 0);
	assert_int_equal(ns_rr_type(opt), ns_t_opt);
	r.n = dns_answer(&zone, query, edns_query(query, sizeof(query), 1, false), r.bytes);
	read_reply(&r);
	assert_int_equal(ns_msg_count(r.msg, ns_s_an), 0);
	assert_int_equal(ns_parserr(&r.msg, ns_s_ar, 0, &opt), 0);
	assert_int_equal(ns_rr_ttl(opt) >> 24 << 4 | ns_msg_getflag(r.msg, ns_f_rcode), ns_r_badvers);
	r.n = dns_answer(&zone, query, edns_query(query, sizeof(query), 0, true), r.bytes);
	read_reply(&r);
	assert_int_equal(ns_msg_getflag(r.msg, ns_f_rcode), ns_r_formerr);
}

static void hostile(void **state)
{
	uint8_t query[DNS_QUERY_MAX + 1] = {0};
	struct reply r;
	int n = make_query("box1.vm", ns_c_in, ns_t_a, query, sizeof(query));

	(void)state;
	for (int i = 0; i < n; i++) {
		r.n = dns_answer(&zone, query, (size_t)i, r.bytes);
		assert_int_equal(r.n, i < NS_HFIXEDSZ ? 0 : NS_HFIXEDSZ);
		if (r.n > 0)
			assert_int_equal(r.bytes[3] & 15, ns_r_formerr);
	}
	/* Too long, and what follows the question is none of it. */
	assert_int_equal(dns_answer(&zone, query, sizeof(query), r.bytes), 0);
	assert_int_equal(dns_answer(&zone, query, (size_t)n + 1, r.bytes), NS_HFIXEDSZ);
	/* A name that points to itself. */
	memcpy(query + 12, "\xc0\x0c\0\1\0\1", 6);
	assert_int_equal(dns_answer(&zone, query, 18, r.bytes), NS_HFIXEDSZ);
	assert_int_equal(r.bytes[3] & 15, ns_r_formerr);
	/* Two questions, none. */
	n = make_query("box1.vm", ns_c_in, ns_t_a, query, sizeof(query));
	query[5] = 2;
	assert_int_equal(dns_answer(&zone, query, (size_t)n, r.bytes), NS_HFIXEDSZ);
	query[5] = 0;
	assert_int_equal(dns_answer(&zone, query, 12, r.bytes), NS_HFIXEDSZ);
	query[5] = 1;
	/* An update; an answer. */
	query[2] = ns_o_update << 3;
	assert_int_equal(dns_answer(&zone, query, (size_t)n, r.bytes), NS_HFIXEDSZ);
	assert_int_equal(r.bytes[3] & 15, ns_r_notimpl);
	query[2] = 0x80;
	assert_int_equal(dns_answer(&zone, query, (size_t)n, r.bytes), 0);
}

static void places(void **state)
{
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", ":53", "127.0.0.1:0",
		"127.0.0.1:65536", "192.0.2.1:53", "0.0.0.0:53", "localhost:53", "127.0.0.1:53 ", "[::1]:53"};
	uint32_t address;
	uint16_t port;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(dns_place_parse(bad[i], &address, &port, NULL), -EINVAL);
	assert_int_equal(dns_place_parse("127.1.2.3:65535", &address, &port, NULL), 0);
	assert_int_equal(address, 0x7f010203);
	assert_int_equal(port, 65535);
}

/* HERE is nobody's as a stream. */
static bool free_as_stream(const struct sockaddr_in *here)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	bool is_free;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	is_free = bind(fd, (const struct sockaddr *)here, sizeof(*here)) == 0 && listen(fd, 1) == 0;
	close(fd);
	return is_free;
}

/* A socket of ours on a port that is free, and as a stream too: others make connections meanwhile. */
static int take_port(char place[32])
{
	for (int i = 0; i < 1000; i++) {
		struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t size = sizeof(here);
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		assert_true(fd >= 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &size), 0);
		snprintf(place, 32, "127.0.0.1:%u", ntohs(here.sin_port));
		if (free_as_stream(&here))
			return fd;
		close(fd);
	}
	fail_msg("no port of 1000 is free as a stream");
	return -1;
}

static void by_a_socket(void **state)
{
	struct sockaddr_in there_is = {.sin_family = AF_INET};
	char place[32], mine[32];
	int taken = take_port(place), client = take_port(mine);
	_cleanup_err_ struct err e = {0};
	sd_event *event = NULL;
	struct dns *d = NULL;
	uint8_t query[512];
	uint32_t address;
	struct reply r;
	uint16_t port;
	char *text;
	int n;

	(void)state;
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(dns_new(event, &zone, &d, &e), 0);
	text = dns_text(d);
	assert_non_null(strstr(text, "off"));
	free(text);
	assert_int_equal(dns_listen(d, place, &e), -EADDRINUSE);
	assert_non_null(strstr(err_text(&e), place));
	text = dns_text(d);
	assert_string_equal(text, err_text(&e));
	free(text);
	close(taken);
	assert_int_equal(dns_listen(d, place, &e), 0);
	text = dns_text(d);
	assert_non_null(strstr(text, "dig @127.0.0.1 -p "));
	free(text);

	n = make_query("box1.vm", ns_c_in, ns_t_a, query, sizeof(query));
	assert_int_equal(dns_place_parse(place, &address, &port, NULL), 0);
	there_is.sin_addr.s_addr = htonl(address);
	there_is.sin_port = htons(port);
	assert_int_equal(connect(client, (struct sockaddr *)&there_is, sizeof(there_is)), 0);
	/* What is no query is passed over, also an empty datagram; what is one is answered. */
	assert_int_equal(send(client, "", 0, 0), 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_int_equal(send(client, query, (size_t)n, 0), n);
	assert_true(sd_event_run(event, 1000000) > 0);
	r.n = (size_t)recv(client, r.bytes, sizeof(r.bytes), MSG_DONTWAIT);
	read_reply(&r);
	assert_int_equal(ns_msg_count(r.msg, ns_s_an), 1);

	assert_int_equal(dns_listen(d, "", &e), 0);
	assert_int_equal(send(client, query, (size_t)n, 0), n);
	assert_int_equal(recv(client, r.bytes, sizeof(r.bytes), 0), -1);
	assert_int_equal(errno, ECONNREFUSED);
	dns_free(d);
	sd_event_unref(event);
	close(client);
}

static int connect_stream(const char *place)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t host;
	uint16_t port;
	int on = 1;

	/* What is sent is there, and not held back until what was sent before is acknowledged. */
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(dns_place_parse(place, &host, &port, NULL), 0);
	address.sin_addr.s_addr = htonl(host);
	address.sin_port = htons(port);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Until nothing is to be done any more. */
static void run_idle(sd_event *event)
{
	while (sd_event_run(event, 0) > 0)
		;
}

/* N bytes of FD, or 0 at its end: once the kernel has carried them over. */
static ssize_t hear(sd_event *event, int fd, void *data, size_t n)
{
	uint64_t end = io_now_usec() + PATIENCE;
	ssize_t got;

	do {
		run_idle(event);
		got = recv(fd, data, n, MSG_DONTWAIT | MSG_PEEK);
		if (got == 0 || got == (ssize_t)n)
			break;
		sd_event_run(event, 10000);
	} while (io_now_usec() < end);
	return recv(fd, data, n, MSG_DONTWAIT);
}

static void by_a_stream(void **state)
{
	int fds[DNS_CLIENTS_MAX], fd, n;
	_cleanup_err_ struct err e = {0};
	sd_event *event = NULL;
	struct dns *d = NULL;
	uint8_t query[514], bytes[2];
	struct reply r;
	char place[32];

	(void)state;
	assert_int_equal(sd_event_new(&event), 0);
	assert_int_equal(dns_new(event, &zone, &d, &e), 0);
	/* As a stream the port may be somebody else's. */
	for (int i = 0; i < 20; i++) {
		close(take_port(place));
		if (dns_listen(d, place, &e) == 0)
			break;
		err_clear(&e);
	}
	n = make_query("box1.vm", ns_c_in, ns_t_a, query + 2, sizeof(query) - 2);
	ns_put16((unsigned)n, query);

	/* Byte by byte, twice; then two at once. */
	fd = connect_stream(place);
	for (int i = 0; i < 2 * (n + 2); i++) {
		assert_int_equal(send(fd, query + i % (n + 2), 1, 0), 1);
		run_idle(event);
	}
	assert_int_equal(send(fd, query, (size_t)n + 2, 0), n + 2);
	assert_int_equal(send(fd, query, (size_t)n + 2, 0), n + 2);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(hear(event, fd, bytes, 2), 2);
		r.n = ns_get16(bytes);
		assert_int_equal(hear(event, fd, r.bytes, r.n), r.n);
		read_reply(&r);
		assert_int_equal(ns_msg_count(r.msg, ns_s_an), 1);
	}
	/* One that asks more than it reads is not waited for. */
	for (int i = 0; i < 20000 && send(fd, query, (size_t)n + 2, MSG_DONTWAIT) == n + 2; i++)
		sd_event_run(event, 0);
	run_idle(event);
	close(fd);
	run_idle(event);

	/* A length that is none of ours. */
	fd = connect_stream(place);
	assert_int_equal(send(fd, "\xff\xff", 2, 0), 2);
	assert_int_equal(hear(event, fd, bytes, 2), 0);
	close(fd);

	for (int i = 0; i < DNS_CLIENTS_MAX; i++)
		fds[i] = connect_stream(place);
	fd = connect_stream(place);
	assert_int_equal(hear(event, fd, bytes, 2), 0);
	close(fd);
	for (int i = 0; i < DNS_CLIENTS_MAX; i++)
		assert_int_equal(recv(fds[i], bytes, 2, MSG_DONTWAIT), -1);
	/* Those that say nothing are let go when their time is over. */
	for (int i = 0; i < DNS_CLIENTS_MAX; i++) {
		while (recv(fds[i], bytes, 2, MSG_DONTWAIT) < 0)
			assert_true(sd_event_run(event, 2 * DNS_CLIENT_USEC) > 0);
		close(fds[i]);
	}
	fd = connect_stream(place);
	run_idle(event);
	dns_free(d);
	assert_int_equal(recv(fd, bytes, 2, MSG_DONTWAIT), 0);
	close(fd);
	sd_event_unref(event);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(what_they_say),
		cmocka_unit_test(the_longest_name),
		cmocka_unit_test(edns),
		cmocka_unit_test(hostile),
		cmocka_unit_test(places),
		cmocka_unit_test(by_a_socket),
		cmocka_unit_test(by_a_stream),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
