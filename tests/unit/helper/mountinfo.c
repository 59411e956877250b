/* Lines of /proc/self/mountinfo, and what isn't one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "../../../helper/mountinfo.h"

struct seen {
	unsigned n;
	uint64_t dev;
	char place[128], type[64];
};

static void see(void *user, const struct mountinfo *m)
{
	struct seen *s = user;

	s->n++;
	s->dev = m->dev;
	assert_true(strlen(m->place) < sizeof(s->place) && strlen(m->type) < sizeof(s->type));
	memcpy(s->place, m->place, strlen(m->place) + 1);
	memcpy(s->type, m->type, strlen(m->type) + 1);
}

static struct seen parse(const char *line)
{
	struct seen s = {0};
	char *text = strdup(line);

	assert_non_null(text);
	mountinfo_parse(text, see, &s);
	free(text);
	return s;
}

static void usual(void **state)
{
	struct seen s =
		parse("36 35 98:3 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n");

	(void)state;
	assert_int_equal(s.n, 1);
	assert_int_equal(s.dev, makedev(98, 3));
	assert_string_equal(s.place, "/mnt2");
	assert_string_equal(s.type, "ext3");
}

static void optional_fields(void **state)
{
	(void)state;
	assert_string_equal(parse("1 2 0:5 / /a rw - proc proc rw").type, "proc");
	assert_string_equal(
		parse("1 2 0:5 / /a rw shared:1 master:2 propagate_from:3 - fuse.x x rw").type, "fuse.x");
}

static void escapes(void **state)
{
	(void)state;
	assert_string_equal(parse("1 2 0:5 / /a\\040b\\011c\\012d\\134e rw - t s o").place, "/a b\tc\nd\\e");
	/* A place that says " - fuse.banger" can't pass for a type. */
	assert_string_equal(parse("1 2 0:5 / /x\\040-\\040fuse.banger rw - tmpfs s o").type, "tmpfs");
	assert_string_equal(parse("1 2 0:5 / /cut\\04 rw - t s o").place, "/cut\\04");
}

static void not_lines(void **state)
{
	static const char *const lines[] = {"", "\n\n", "1", "1 2", "1 2 0:5 / /a", "1 2 0:5 / /a rw",
		"1 2 0:5 / /a rw -", "1 2 05 / /a rw - t s o", "1 2 a:b / /a rw - t s o",
		"1 2 0:99999999999 / /a rw - t s o", "1 2 -1:5 / /a rw - t s o"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		assert_int_equal(parse(lines[i]).n, 0);
}

static void several(void **state)
{
	struct seen s = parse("1 2 0:5 / /a rw - t s o\nnonsense\n1 2 0:6 / /a rw - u s o\n");

	(void)state;
	assert_int_equal(s.n, 2);
	assert_int_equal(s.dev, makedev(0, 6));
	assert_string_equal(s.type, "u");
}

static void this_machine(void **state)
{
	struct seen s = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(mountinfo_each(see, &s, &e), 0);
	assert_true(s.n > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual),
		cmocka_unit_test(optional_fields),
		cmocka_unit_test(escapes),
		cmocka_unit_test(not_lines),
		cmocka_unit_test(several),
		cmocka_unit_test(this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
