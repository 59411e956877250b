/*
 * The image that is always there. It has no init: banger-guest stays as the first process, which is faster and reaps as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "banger/proc.h"
#include "image/source.h"

static const struct {
	const char *path;
	uint32_t mode;
	const char *text; /* of a file; NULL: a folder */
} entries[] = {
	{"bin", S_IFDIR | 0755, NULL},
	{"sbin", S_IFDIR | 0755, NULL},
	{"etc", S_IFDIR | 0755, NULL},
	{"dev", S_IFDIR | 0755, NULL},
	{"proc", S_IFDIR | 0555, NULL},
	{"sys", S_IFDIR | 0555, NULL},
	{"run", S_IFDIR | 0755, NULL},
	{"root", S_IFDIR | 0700, NULL},
	{"home", S_IFDIR | 0755, NULL},
	{"mnt", S_IFDIR | 0755, NULL},
	{"tmp", S_IFDIR | 01777, NULL},
	{"usr", S_IFDIR | 0755, NULL},
	{"usr/bin", S_IFDIR | 0755, NULL},
	{"usr/sbin", S_IFDIR | 0755, NULL},
	{"var", S_IFDIR | 0755, NULL},
	{"var/tmp", S_IFDIR | 01777, NULL},
	{"var/log", S_IFDIR | 0755, NULL},
	{"etc/passwd", S_IFREG | 0644,
		"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"},
	{"etc/group", S_IFREG | 0644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"},
	{"etc/shadow", S_IFREG | 0600, "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"},
	{"etc/shells", S_IFREG | 0644, "/bin/sh\n/bin/ash\n"},
	{"etc/profile", S_IFREG | 0644, "PS1='\\h:\\w\\$ '\nexport PS1\n"},
	{"etc/os-release", S_IFREG | 0644, "ID=busybox\nNAME=busybox\nPRETTY_NAME=\"banger's busybox\"\n"},
	{"etc/nsswitch.conf", S_IFREG | 0644, "passwd: files\ngroup: files\nhosts: files dns\n"},
};

/* The applets: a link each in /bin, as `busybox --list` says. */
static int add_applets(struct source *s, int busybox_fd, struct err *e)
{
	_cleanup_free_ char *path = NULL, *list = NULL;
	struct proc_spec spec = PROC_SPEC_INIT;
	static const char *const argv[] = {"busybox", "--list", NULL};
	char *rest, *name;
	int r;

	/* The kernel runs what the descriptor is, not what a name has become. */
	if (asprintf(&path, "/proc/%d/fd/%d", (int)getpid(), busybox_fd) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "busybox");
	}
	spec.program = path;
	spec.argv = argv;
	spec.timeout_msec = 10000;
	r = proc_run(&spec, &list, NULL, NULL, e);
	if (r < 0)
		err_wrap(e, "listing busybox's applets");
	rest = list;
	while (r == 0 && (name = strsep(&rest, "\n"))) {
		_cleanup_free_ char *link = NULL;

		/* busybox's own init has no place beside banger's. */
		if (!*name || strcmp(name, "busybox") == 0 || strcmp(name, "init") == 0 ||
			strcmp(name, "linuxrc") == 0 || strchr(name, '/'))
			continue;
		if (asprintf(&link, "bin/%s", name) < 0) {
			link = NULL;
			return err_sys(e, -ENOMEM, "busybox");
		}
		r = source_add_link(s, link, "busybox", e);
	}
	return r;
}

int image_from_busybox(int busybox_fd, int out_fd, const char *uuid_seed, struct op *op,
	struct image_result *ret, struct err *e)
{
	_cleanup_free_ char *path = NULL, *binary = NULL;
	struct image_result result = {0};
	struct source s = {0};
	size_t n = 0;
	int r;

	op_stage(op, "make the image");
	if (asprintf(&path, "/proc/self/fd/%d", busybox_fd) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "busybox");
	}
	r = io_read_file(AT_FDCWD, path, 64u << 20, &binary, &n, e);
	if (r == 0)
		r = source_begin(out_fd, n, uuid_seed, op, &s, e);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(entries); i++)
		r = source_add(&s, entries[i].path, entries[i].mode, entries[i].text,
			entries[i].text ? strlen(entries[i].text) : 0, e);
	if (r == 0)
		r = source_add(&s, "bin/busybox", S_IFREG | 0755, binary, n, e);
	if (r == 0)
		r = add_applets(&s, busybox_fd, e);
	if (r == 0)
		r = source_finish(&s, out_fd, &result, e);
	if (r == 0) {
		memset(result.digest, 0, sizeof(result.digest));
		*ret = result;
	}
	source_clear(&s);
	return r;
}
