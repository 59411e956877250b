/* What a guest says of what listens in it: checked, and as text. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "guest/ports.h"

struct said {
	uint8_t data[4096];
	size_t n;
};

static struct agent_port http(void)
{
	return (struct agent_port){.socket = 7,
		.pid = 12,
		.port = 80,
		.protocol = IPPROTO_TCP,
		.family = 4,
		.speaks = AGENT_SPEAKS_HTTP};
}

static void add(struct said *s, struct agent_port p, const void *comm, size_t comm_n, const void *command,
	size_t command_n)
{
	p.comm_length = (uint8_t)comm_n;
	p.command_length = (uint16_t)command_n;
	memcpy(s->data + s->n, &p, sizeof(p));
	s->n += sizeof(p);
	memcpy(s->data + s->n, comm, comm_n);
	s->n += comm_n;
	memcpy(s->data + s->n, command, command_n);
	s->n += command_n;
}

/* The caller's; NULL: refused, and nothing was written. */
static char *print(const struct said *s)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	int r;

	assert_non_null(out);
	r = ports_print(s->data, s->n, out);
	assert_int_equal(fclose(out), 0);
	if (r == 0)
		return text;
	assert_int_equal(r, -EPROTO);
	assert_int_equal(n, 0);
	free(text);
	return NULL;
}

static void lines(void **state)
{
	struct said s = {.n = 0};
	struct agent_port p = http();
	_cleanup_free_ char *text = NULL;

	(void)state;
	add(&s, p, "httpd", 5, "httpd -p 80", 11);
	p.family = 6;
	p.address[15] = 1;
	p.speaks = AGENT_SPEAKS_HTTPS;
	p.pid = 0;
	add(&s, p, "", 0, "", 0);
	p.protocol = IPPROTO_UDP;
	p.port = 65535;
	add(&s, p, "x", 1, "y", 1);
	p.protocol = IPPROTO_TCP;
	p.speaks = AGENT_SPEAKS_UNKNOWN;
	add(&s, p, "x", 1, "y", 1);
	text = print(&s);
	assert_string_equal(text, "80 tcp 0.0.0.0 http 12 httpd httpd -p 80\n"
				  "80 tcp ::1 https - - -\n"
				  "65535 udp ::1 - - x y\n"
				  "65535 tcp ::1 ? - x y\n");
}

static void no_lines(void **state)
{
	struct said s = {.n = 0};
	_cleanup_free_ char *text = print(&s);

	(void)state;
	assert_string_equal(text, "");
}

/* Nothing that a guest writes there is a line or a column more, or means something to a terminal. */
static void escapes(void **state)
{
	static const char odd[] = "a b\nc\x1b[31m\\\x7f\xff\0\t";
	struct said s = {.n = 0};
	_cleanup_free_ char *text = NULL;

	(void)state;
	add(&s, http(), odd, sizeof(odd), odd, sizeof(odd));
	text = print(&s);
	assert_string_equal(text,
		"80 tcp 0.0.0.0 http 12 a\\040b\\012c\\033[31m\\134\\177\\377\\000\\011\\000 "
		"a b\\012c\\033[31m\\134\\177\\377\\000\\011\\000\n");
}

static void refused(void **state)
{
	struct agent_port bad[8];
	struct said s;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		bad[i] = http();
	bad[0].port = 0;
	bad[1].protocol = IPPROTO_ICMP;
	bad[2].family = 5;
	bad[3].address[4] = 1;
	bad[4].speaks = AGENT_SPEAKS_HTTPS + 1;
	bad[5].zero = 1;
	bad[6].speaks = 255;
	bad[7].family = 0;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		s.n = 0;
		add(&s, http(), "a", 1, "b", 1);
		add(&s, bad[i], "a", 1, "b", 1);
		if (print(&s))
			fail_msg("%zu was taken", i);
	}
	/* Cut off anywhere. */
	s.n = 0;
	add(&s, http(), "abc", 3, "def", 3);
	for (s.n--; s.n > 0; s.n--)
		assert_null(print(&s));
}

static void too_many(void **state)
{
	_cleanup_free_ struct agent_port *all = calloc(AGENT_PORTS_MAX + 1, sizeof(*all));
	FILE *out = fopen("/dev/null", "we");

	(void)state;
	assert_non_null(all);
	for (size_t i = 0; i <= AGENT_PORTS_MAX; i++)
		all[i] = http();
	assert_int_equal(ports_print(all, AGENT_PORTS_MAX * sizeof(*all), out), 0);
	assert_int_equal(ports_print(all, (AGENT_PORTS_MAX + 1) * sizeof(*all), out), -EPROTO);
	fclose(out);
}

static void on_loopback(void **state)
{
	static const struct {
		unsigned family;
		uint8_t address[16];
		bool is;
	} cases[] = {
		{4, {0}, true},
		{4, {127, 0, 0, 1}, true},
		{4, {127, 0, 1, 1}, false},
		{4, {10, 66, 0, 2}, false},
		{6, {0}, true},
		{6, {[15] = 1}, true},
		{6, {[15] = 2}, false},
		{6, {0xfe, 0x80, [15] = 1}, false},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		assert_int_equal(ports_on_loopback(cases[i].family, cases[i].address), cases[i].is);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(no_lines),
		cmocka_unit_test(escapes),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_many),
		cmocka_unit_test(on_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
