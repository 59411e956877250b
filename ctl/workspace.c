#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "progress.h"
#include "tree.h"
#include "vm.h"
#include "workspace.h"

/* The value of KEY in flat keyed TEXT. The caller's; NULL: it has none. */
static char *value_of(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (strncmp(at, key, n) == 0 && at[n] == ' ')
			return strndup(at + n + 1, strcspn(at + n + 1, "\n"));
	return NULL;
}

static int write_prepare(struct ctl *c, const char *vm, const char *path, const char *ref, bool force)
{
	_cleanup_free_ char *line = NULL, *file = NULL, *target = NULL;
	int r;

	if (strpbrk(path, "\"\n"))
		return ctl_fail(
			"vm prepare: %s: its path has a quote or a newline: give it another name", path);
	if (asprintf(&line, "prepare %s\"%s\"%s%s", force ? "force " : "", path, *ref ? " " : "", ref) < 0 ||
		asprintf(&file, "vms/%s/workspace.ctl", vm) < 0 || asprintf(&target, "vms/%s", vm) < 0)
		return EXIT_FAILED;
	r = progress_write(c, file, line, target);
	return r < 0 ? tree_failure(c, "vm prepare", target, r) : EXIT_OK;
}

int workspace_prepare(struct ctl *c, const char *vm, const char *path, const char *ref, bool force)
{
	_cleanup_free_ char *absolute = realpath(path, NULL);

	if (!absolute)
		return ctl_fail("vm prepare: %s: %s", path, strerror(errno));
	return write_prepare(c, vm, absolute, ref, force);
}

int workspace_refresh(struct ctl *c, const char *vm)
{
	_cleanup_free_ char *info = tree_read(c, "vms/%s/workspace.info", vm),
			    *stale = value_of(info, "stale"), *source = value_of(info, "source"),
			    *ref = value_of(info, "ref");

	if (!stale || !source || strcmp(stale, "1") != 0)
		return EXIT_OK;
	return write_prepare(c, vm, source, ref ? ref : "", false);
}

void workspace_check(struct ctl *c, const char *vm)
{
	_cleanup_free_ char *info = tree_read(c, "vms/%s/workspace.info", vm),
			    *stale = value_of(info, "stale"), *source = value_of(info, "source"),
			    *safe = NULL;

	if (!stale || !source || strcmp(stale, "1") != 0)
		return;
	safe = tree_printable(source);
	fprintf(stderr,
		"banger: %s has moved on since %s was prepared with it: --auto-prepare, or banger vm prepare "
		"%s %s\n",
		safe ? safe : "", vm, vm, safe ? safe : "");
}

size_t workspace_changed(struct ctl *c, const char *vm)
{
	_cleanup_free_ char *text = tree_read(c, "vms/%s/workspace.status", vm);
	size_t n = text && *text ? 1 : 0;

	for (const char *at = text; at && (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

static int copy(int from, int to)
{
	char buf[65536];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = read(from, buf, sizeof(buf))) != 0) {
		if (n < 0)
			return -errno;
		r = io_write_full(to, buf, (size_t)n);
	}
	return r;
}

int workspace_save(struct ctl *c, const char *vm, const char *file, const char *to)
{
	_cleanup_close_ int from = tree_open(c, O_RDONLY, "vms/%s/%s", vm, file), out = -EBADF;
	_cleanup_free_ char *temp = NULL, *object = NULL;
	char byte;
	ssize_t n;
	int r;

	if (asprintf(&object, "vms/%s", vm) < 0)
		return EXIT_FAILED;
	if (from < 0)
		return tree_failure(c, file, object, from);
	/* That it is made, or why not, is known with the first byte: nothing of ours is touched before. */
	n = pread(from, &byte, 1, 0);
	if (n < 0)
		return tree_failure(c, file, object, -errno);
	if (!to) {
		r = copy(from, STDOUT_FILENO);
		return r < 0 && r != -EPIPE ? ctl_fail("%s: %s", file, strerror(-r)) : EXIT_OK;
	}
	if (asprintf(&temp, "%s.banger-XXXXXX", to) < 0) {
		temp = NULL;
		return EXIT_FAILED;
	}
	out = mkostemp(temp, O_CLOEXEC);
	r = out < 0 ? -errno : copy(from, out);
	if (r == 0 && (fchmod(out, 0644) < 0 || fsync(out) < 0 || rename(temp, to) < 0))
		r = -errno;
	if (r < 0) {
		if (out >= 0)
			unlink(temp);
		return ctl_fail("%s: %s", to, strerror(-r));
	}
	return EXIT_OK;
}

static int vm_prepare(struct ctl *c, int argc, char **argv)
{
	const char *ref = "", *name = NULL, *path = NULL;
	bool force = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--force") == 0)
			force = true;
		else if (strcmp(argv[i], "--ref") == 0 && i + 1 < argc)
			ref = argv[++i];
		else if (argv[i][0] != '-' && !name)
			name = argv[i];
		else if (name && !path)
			path = argv[i];
		else
			return ctl_usage(ctl_command("vm prepare"));
	}
	if (!name || !path)
		return ctl_usage(ctl_command("vm prepare"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	return vm_name_good(name) ? workspace_prepare(c, name, path, ref, force) : EXIT_USAGE;
}

static int save(struct ctl *c, int argc, char **argv, const char *command, const char *file)
{
	if (argc < 2 || argc > 3)
		return ctl_usage(ctl_command(command));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	return vm_name_good(argv[1]) ? workspace_save(c, argv[1], file, argc == 3 ? argv[2] : NULL)
				     : EXIT_USAGE;
}

static int vm_patch(struct ctl *c, int argc, char **argv)
{
	return save(c, argc, argv, "vm patch", "workspace.patch");
}

static int vm_bundle(struct ctl *c, int argc, char **argv)
{
	return save(c, argc, argv, "vm bundle", "workspace.bundle");
}

const struct command commands_workspace[] = {
	{"vm prepare", "[--force] [--ref REF] NAME PATH",
		"bring a checkout into the guest's workspace, and later what differs", vm_prepare},
	{"vm patch", "NAME [FILE]", "what the guest has changed of it, for git apply", vm_patch},
	{"vm bundle", "NAME [FILE]", "the guest's own commits, for git fetch", vm_bundle},
	{NULL, NULL, NULL, NULL},
};
