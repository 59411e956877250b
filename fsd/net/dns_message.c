#include <arpa/nameser.h>
#include <ctype.h>
#include <strings.h>

#include "banger/name.h"
#include "banger/parse.h"
#include "net/dns_message.h"

#define REVERSE_ZONE  "in-addr.arpa"
#define REVERSE_ZONE6 "ip6.arpa"
#define FLAG_QR       0x8000
#define FLAG_AA       0x0400
#define FLAG_RD       0x0100
#define RCODE_MASK    0x000f
#define EDNS_SIZE     1232 /* what fits any path: RFC 9715 */
#define SOA_MINIMUM   0    /* nobody is to remember that a VM isn't there: it may be in a moment */

/* What is being written. What doesn't fit makes it failed, and nothing is written from there on. */
struct out {
	uint8_t *data, *at, *end;
	bool failed;
};

static bool room(struct out *o, size_t n)
{
	if (!o->failed && (size_t)(o->end - o->at) < n)
		o->failed = true;
	return !o->failed;
}

static void put16(struct out *o, unsigned v)
{
	if (!room(o, NS_INT16SZ))
		return;
	ns_put16(v, o->at);
	o->at += NS_INT16SZ;
}

static void put32(struct out *o, uint32_t v)
{
	if (!room(o, NS_INT32SZ))
		return;
	ns_put32(v, o->at);
	o->at += NS_INT32SZ;
}

static void put_bytes(struct out *o, const uint8_t *data, size_t n)
{
	if (!room(o, n))
		return;
	memcpy(o->at, data, n);
	o->at += n;
}

static void put_name(struct out *o, const char *name)
{
	int n = o->failed ? -1 : ns_name_compress(name, o->at, (size_t)(o->end - o->at), NULL, NULL);

	if (n < 0)
		o->failed = true;
	else
		o->at += n;
}

/* The beginning of a record of class IN; its length is put in by record_end(). */
static uint8_t *record_begin(struct out *o, const char *name, unsigned type)
{
	uint8_t *length;

	put_name(o, name);
	put16(o, type);
	put16(o, ns_c_in);
	put32(o, 0);
	length = o->at;
	put16(o, 0);
	return length;
}

static void record_end(const struct out *o, uint8_t *length)
{
	if (!o->failed)
		ns_put16((unsigned)(o->at - length - NS_INT16SZ), length);
}

static void put_soa(struct out *o)
{
	uint8_t *length = record_begin(o, DNS_ZONE, ns_t_soa);

	put_name(o, DNS_ZONE);
	put_name(o, "root." DNS_ZONE);
	put32(o, 1);  /* serial: nobody copies the zone */
	put32(o, 60); /* refresh, retry, expire: likewise */
	put32(o, 60);
	put32(o, 60);
	put32(o, SOA_MINIMUM);
	record_end(o, length);
}

static void put_opt(struct out *o, unsigned extended_rcode)
{
	put_name(o, ".");
	put16(o, ns_t_opt);
	put16(o, EDNS_SIZE);
	put32(o, extended_rcode << 24);
	put16(o, 0);
}

/* What is to be said. */
struct verdict {
	unsigned rcode;
	bool ours;       /* with authority */
	bool soa_answer; /* the SOA is the answer itself */
	bool in_vm;      /* what is denied is denied by the zone's SOA */
	bool has_ip, has_ip6;
	struct dns_addresses addresses;
	const char *name;
};

/*
 * Whether NAME, as ns_parserr() writes it (a dot within a label is "\\."), is ZONE or below it. *RET_N: how much of NAME is before
 * ZONE and its dot; 0: it is ZONE itself.
 */
static bool inside(const char *name, const char *zone, size_t *ret_n)
{
	size_t n = strlen(name), of_zone = strlen(zone), escapes = 0;

	if (n < of_zone || strcasecmp(name + n - of_zone, zone) != 0)
		return false;
	if (n == of_zone) {
		*ret_n = 0;
		return true;
	}
	n -= of_zone + 1;
	while (escapes < n && name[n - 1 - escapes] == '\\')
		escapes++;
	if (n == 0 || name[n] != '.' || escapes % 2 != 0)
		return false;
	*ret_n = n;
	return true;
}

/* The first N bytes of QNAME are asked for, in the zone .vm. */
static struct verdict ask_forward(const struct dns_zone *zone, const char *qname, size_t n, unsigned type)
{
	struct verdict v = {.ours = true, .in_vm = true};
	char label[NS_MAXLABEL + 1];

	if (n == 0) {
		v.soa_answer = type == ns_t_soa || type == ns_t_any;
		return v;
	}
	v.rcode = ns_r_nxdomain;
	if (n > NS_MAXLABEL)
		return v;
	for (size_t i = 0; i < n; i++)
		label[i] = (char)tolower((unsigned char)qname[i]);
	label[n] = '\0';
	if (!name_vm_valid(label) || !zone->addresses(zone->user, label, &v.addresses))
		return v;
	v.rcode = ns_r_noerror;
	v.has_ip = type == ns_t_a || type == ns_t_any;
	v.has_ip6 = v.addresses.has_ip6 && (type == ns_t_aaaa || type == ns_t_any);
	return v;
}

static struct verdict ask_reverse(const struct dns_zone *zone, const char *qname, size_t n, unsigned type)
{
	struct verdict v = {.rcode = ns_r_refused};
	char quad[sizeof("255.255.255.255")];
	const char *name;
	uint32_t address;

	if (n >= sizeof(quad))
		return v;
	memcpy(quad, qname, n);
	quad[n] = '\0';
	if (parse_ipv4(quad, &address) < 0)
		return v;
	address = __builtin_bswap32(address);
	if (zone->subnet.prefix == 0 || (address ^ zone->subnet.network) >> (32 - zone->subnet.prefix) != 0)
		return v;
	v.ours = true;
	name = zone->name(zone->user, address, NULL);
	v.rcode = name ? ns_r_noerror : ns_r_nxdomain;
	if (type == ns_t_ptr || type == ns_t_any)
		v.name = name;
	return v;
}

/* RFC 3596 2.5: half a byte a label, the lowest first. */
static struct verdict ask_reverse6(const struct dns_zone *zone, const char *qname, size_t n, unsigned type)
{
	struct verdict v = {.rcode = ns_r_refused};
	uint8_t ip6[16] = {0};
	const char *name;

	if (n != 2 * 2 * sizeof(ip6) - 1 || !zone->subnet.has_ip6)
		return v;
	for (size_t i = 0; i < 2 * sizeof(ip6); i++) {
		int c = tolower((unsigned char)qname[2 * i]);

		if (!isxdigit(c) || (2 * i + 1 < n && qname[2 * i + 1] != '.'))
			return v;
		ip6[15 - i / 2] |= (uint8_t)((isdigit(c) ? c - '0' : c - 'a' + 10) << (i % 2 ? 4 : 0));
	}
	if (memcmp(ip6, zone->subnet.prefix6, sizeof(zone->subnet.prefix6)) != 0)
		return v;
	v.ours = true;
	name = zone->name(zone->user, 0, ip6);
	v.rcode = name ? ns_r_noerror : ns_r_nxdomain;
	if (type == ns_t_ptr || type == ns_t_any)
		v.name = name;
	return v;
}

static struct verdict ask(const struct dns_zone *zone, const char *qname, unsigned type, unsigned class)
{
	size_t n;

	/* Transfers are for whoever keeps a copy: nobody. */
	if (class != ns_c_in || type == ns_t_axfr || type == ns_t_ixfr)
		return (struct verdict){.rcode = ns_r_refused};
	if (inside(qname, DNS_ZONE, &n))
		return ask_forward(zone, qname, n, type);
	if (inside(qname, REVERSE_ZONE, &n))
		return ask_reverse(zone, qname, n, type);
	if (inside(qname, REVERSE_ZONE6, &n))
		return ask_reverse6(zone, qname, n, type);
	return (struct verdict){.rcode = ns_r_refused};
}

static size_t put_header(struct out *o, const uint8_t *query, unsigned flags, unsigned qd, unsigned an,
	unsigned ns, unsigned ar)
{
	unsigned asked = ns_get16(query + NS_INT16SZ);

	put16(o, ns_get16(query));
	put16(o, FLAG_QR | flags | (asked & FLAG_RD) | (asked & 0x7800));
	put16(o, qd);
	put16(o, an);
	put16(o, ns);
	put16(o, ar);
	return NS_HFIXEDSZ;
}

/* *RET: whether there is an OPT record, of which version. -1: what follows the question is no DNS. */
static int find_opt(ns_msg *msg, bool *ret, unsigned *ret_version)
{
	bool found = false;
	ns_rr rr;

	for (int i = 0; i < ns_msg_count(*msg, ns_s_ar); i++) {
		if (ns_parserr(msg, ns_s_ar, i, &rr) < 0)
			return -1;
		if (ns_rr_type(rr) != ns_t_opt)
			continue;
		if (found)
			return -1;
		found = true;
		*ret_version = ns_rr_ttl(rr) >> 16 & 0xff;
	}
	*ret = found;
	return 0;
}

static void put_verdict(struct out *o, const uint8_t *query, const ns_rr *question, const struct verdict *v,
	bool edns, unsigned extended_rcode)
{
	char qname[NS_MAXDNAME];
	unsigned answers = (unsigned)v->has_ip + v->has_ip6 + (v->name != NULL) + v->soa_answer;
	uint8_t *length;
	int n = snprintf(qname, sizeof(qname), "%s", ns_rr_name(*question));

	if (n < 0 || (size_t)n >= sizeof(qname)) {
		o->failed = true;
		return;
	}
	put_header(o, query, v->rcode | (v->ours ? FLAG_AA : 0), 1, answers, v->in_vm && !answers, edns);
	put_name(o, qname);
	put16(o, ns_rr_type(*question));
	put16(o, ns_rr_class(*question));
	if (v->has_ip) {
		length = record_begin(o, qname, ns_t_a);
		put32(o, v->addresses.ip);
		record_end(o, length);
	}
	if (v->has_ip6) {
		length = record_begin(o, qname, ns_t_aaaa);
		put_bytes(o, v->addresses.ip6, sizeof(v->addresses.ip6));
		record_end(o, length);
	}
	if (v->name) {
		char target[NS_MAXLABEL + sizeof("." DNS_ZONE)];

		snprintf(target, sizeof(target), "%.*s." DNS_ZONE, NS_MAXLABEL, v->name);
		length = record_begin(o, qname, ns_t_ptr);
		put_name(o, target);
		record_end(o, length);
	}
	if (v->in_vm && (v->soa_answer || !answers))
		put_soa(o);
	if (edns)
		put_opt(o, extended_rcode);
}

size_t dns_answer(const struct dns_zone *zone, const uint8_t *query, size_t n, uint8_t ret[DNS_ANSWER_MAX])
{
	struct out o = {.data = ret, .at = ret, .end = ret + DNS_ANSWER_MAX};
	unsigned version = 0, flags;
	struct verdict v = {0};
	bool edns = false;
	ns_rr question;
	ns_msg msg;

	if (n < NS_HFIXEDSZ || n > DNS_QUERY_MAX)
		return 0;
	flags = ns_get16(query + NS_INT16SZ);
	/* To answer an answer would be to talk to oneself for ever. */
	if (flags & FLAG_QR)
		return 0;
	if ((flags >> 11 & 0xf) != ns_o_query)
		return put_header(&o, query, ns_r_notimpl, 0, 0, 0, 0);
	if (ns_initparse(query, (int)n, &msg) < 0 || ns_msg_count(msg, ns_s_qd) != 1 ||
		ns_parserr(&msg, ns_s_qd, 0, &question) < 0 || find_opt(&msg, &edns, &version) < 0)
		return put_header(&o, query, ns_r_formerr, 0, 0, 0, 0);
	/* BADVERS is 16: its upper bits are the OPT record's. */
	if (edns && version != 0)
		put_verdict(&o, query, &question, &v, true, ns_r_badvers >> 4);
	else {
		v = ask(zone, ns_rr_name(question), ns_rr_type(question), ns_rr_class(question));
		put_verdict(&o, query, &question, &v, edns, 0);
	}
	if (!o.failed)
		return (size_t)(o.at - o.data);
	o = (struct out){.data = ret, .at = ret, .end = ret + DNS_ANSWER_MAX};
	return put_header(&o, query, ns_r_servfail, 0, 0, 0, 0);
}
