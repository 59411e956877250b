#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "mountinfo.h"

#define TEXT_MAX (16u << 20)

static int is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Blanks, newlines and backslashes of a path stand there as \ and three octal digits. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* ID PARENT MAJOR:MINOR ROOT PLACE OPTIONS [FIELD...] - TYPE SOURCE OPTIONS */
static int parse_line(char *line, struct mountinfo *ret)
{
	char *fields[6], *device, *field;
	uint64_t major_number, minor_number;

	for (size_t i = 0; i < ELEMENTSOF(fields); i++)
		if (!(fields[i] = strsep(&line, " ")))
			return -EINVAL;
	do
		field = strsep(&line, " ");
	while (field && strcmp(field, "-") != 0);
	field = strsep(&line, " ");
	device = fields[2];
	fields[2] = strsep(&device, ":");
	if (!field || !device || parse_u64(fields[2], 0, UINT32_MAX, &major_number) < 0 ||
		parse_u64(device, 0, UINT32_MAX, &minor_number) < 0)
		return -EINVAL;
	unescape(fields[4]);
	*ret = (struct mountinfo){.dev = makedev((unsigned)major_number, (unsigned)minor_number),
		.place = fields[4],
		.type = field};
	return 0;
}

void mountinfo_parse(char *text, mountinfo_fn fn, void *user)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		struct mountinfo m;

		if (parse_line(line, &m) == 0)
			fn(user, &m);
	}
}

int mountinfo_each(mountinfo_fn fn, void *user, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = io_read_file(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, &text, NULL, e);

	if (r < 0)
		return r;
	mountinfo_parse(text, fn, user);
	return 0;
}
