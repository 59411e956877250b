#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "ports.h"
#include "progress.h"
#include "show.h"
#include "tree.h"
#include "vm.h"

bool vm_name_good(const char *name)
{
	if (name_vm_valid(name))
		return true;
	ctl_fail("that is no VM's name: 1 to %d of a-z 0-9 -, no - at either end", NAME_VM_MAX);
	return false;
}

static int failure(struct ctl *c, const char *verb, const char *name, int code)
{
	_cleanup_free_ char *what = NULL, *object = NULL;

	if (asprintf(&what, "vm %s %s", verb, name) < 0 || asprintf(&object, "vms/%s", name) < 0)
		return EXIT_FAILED;
	return tree_failure(c, what, object, code);
}

int vm_do(struct ctl *c, const char *name, const char *verb)
{
	_cleanup_free_ char *path = NULL, *target = NULL;
	int r;

	if (!vm_name_good(name))
		return EXIT_USAGE;
	if (asprintf(&path, "vms/%s/ctl", name) < 0 || asprintf(&target, "vms/%s", name) < 0)
		return EXIT_FAILED;
	r = progress_write(c, path, verb, target);
	return r < 0 ? failure(c, verb, name, r) : EXIT_OK;
}

static int verb_all(struct ctl *c, int argc, char **argv, const char *command)
{
	int result = EXIT_OK;

	if (argc < 2)
		return ctl_usage(ctl_command(command));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	for (int i = 1; i < argc; i++) {
		int r = vm_do(c, argv[i], argv[0]);

		result = result ? result : r;
	}
	return result;
}

#define VERB(verb)                                                                                           \
	static int vm_##verb(struct ctl *c, int argc, char **argv)                                           \
	{                                                                                                    \
		return verb_all(c, argc, argv, "vm " #verb);                                                 \
	}
VERB(start)
VERB(stop)
VERB(kill)
VERB(restart)
VERB(pause)
VERB(resume)

static const char *const shown[] = {"name", "state", "image", "vcpus", "memory", "ip", "accel", NULL};

static int vm_ls(struct ctl *c, int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	json_object *list = json ? json_object_new_array() : NULL;
	struct table *table = NULL;
	char **names;

	if (argc > 1 + json)
		return ctl_usage(ctl_command("vm ls"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	names = tree_names(c, "vms");
	if (!names)
		return ctl_fail("vm ls: %s", strerror(errno));
	if (!json)
		table = table_new(
			(const char *const[]){"NAME", "STATE", "IMAGE", "VCPUS", "MEMORY", "ADDRESS", NULL});
	for (size_t i = 0; names[i]; i++) {
		json_object *one = json ? json_object_new_object() : NULL;

		for (size_t k = 0; shown[k] && strcmp(shown[k], "accel") != 0; k++) {
			_cleanup_free_ char *value =
				k == 0 ? strdup(names[i]) : tree_read(c, "vms/%s/%s", names[i], shown[k]);
			_cleanup_free_ char *safe = tree_printable(value ? value : "");
			uint64_t bytes;
			char buf[16];

			if (json)
				json_object_object_add(one, shown[k], show_json_value(value ? value : ""));
			else if (strcmp(shown[k], "memory") == 0 && value &&
				 parse_u64(value, 0, UINT64_MAX, &bytes) == 0)
				table_cell(table, show_size(bytes, buf));
			else
				table_cell(table, safe ? safe : "");
		}
		if (json)
			json_object_array_add(list, one);
	}
	tree_free_names(names);
	if (json)
		return show_json(list);
	table_end(table);
	return EXIT_OK;
}

/* Everything of a VM that is one line. */
static int vm_show(struct ctl *c, int argc, char **argv)
{
	static const char *const files[] = {"state", "error", "image", "kernel", "engine", "storage", "vcpus",
		"memory", "disk", "nat", "ip", "ip6", "mac", "pid", "boot_id", "created", "started", "uptime",
		"hostname"};
	bool json = argc == 3 && (strcmp(argv[1], "--json") == 0 || strcmp(argv[2], "--json") == 0);
	const char *name = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : argv[1];
	json_object *o;

	if (argc < 2 || argc > 2 + json)
		return ctl_usage(ctl_command("vm show"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(name))
		return EXIT_USAGE;
	if (!tree_exists(c, "vms/%s", name))
		return ctl_fail("vm show %s: there is no such VM: banger vm ls", name);
	o = json ? json_object_new_object() : NULL;
	if (json)
		json_object_object_add(o, "name", json_object_new_string(name));
	for (size_t i = 0; i < ELEMENTSOF(files); i++) {
		_cleanup_free_ char *value = tree_read(c, "vms/%s/%s", name, files[i]);
		_cleanup_free_ char *safe = tree_printable(value ? value : "");

		if (json)
			json_object_object_add(o, files[i], show_json_value(value ? value : ""));
		else
			printf("%-9s %s\n", files[i], safe ? safe : "");
	}
	return json ? show_json(o) : EXIT_OK;
}

static int set_all(struct ctl *c, const char *name, char *const *settings, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *key = strdup(settings[i]);
		char *value = key ? strchr(key, '=') : NULL;
		int r;

		if (!value)
			return ctl_fail("%s: KEY=VALUE is wanted", settings[i]);
		*value++ = '\0';
		if (strchr(key, '/') || key[0] == '.' || !tree_exists(c, "vms/%s/%s", name, key))
			return ctl_fail("vm set %s: there is no setting %s", name, key);
		r = tree_write(c, value, "vms/%s/%s", name, key);
		if (r < 0)
			return failure(c, "set", name, r);
	}
	return EXIT_OK;
}

static int vm_set(struct ctl *c, int argc, char **argv)
{
	if (argc < 3)
		return ctl_usage(ctl_command("vm set"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	return vm_name_good(argv[1]) ? set_all(c, argv[1], argv + 2, (size_t)argc - 2) : EXIT_USAGE;
}

int vm_remove(struct ctl *c, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (!vm_name_good(name))
		return EXIT_USAGE;
	if (asprintf(&path, "vms/%s", name) < 0)
		return EXIT_FAILED;
	if (unlinkat(c->fs, path, AT_REMOVEDIR) < 0) {
		int code = -errno;
		_cleanup_free_ char *pid = code == -EBUSY ? tree_read(c, "%s/pid", path) : NULL;

		return pid && strcmp(pid, "0") != 0
			       ? ctl_fail(
					 "vm delete %s: it runs: banger vm stop %s, or delete -f", name, name)
			       : failure(c, "delete", name, code);
	}
	return EXIT_OK;
}

int vm_make(struct ctl *c, const char *name, char *const *settings, size_t n)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (!vm_name_good(name))
		return EXIT_USAGE;
	if (asprintf(&path, "vms/%s", name) < 0)
		return EXIT_FAILED;
	if (mkdirat(c->fs, path, 0755) < 0)
		return errno == EEXIST ? ctl_fail("vm create %s: there is one of that name already", name)
				       : tree_failure(c, "vm create", NULL, -errno);
	r = set_all(c, name, settings, n);
	/* One that isn't what was asked for is not left behind. */
	if (r != EXIT_OK)
		unlinkat(c->fs, path, AT_REMOVEDIR);
	return r;
}

static int vm_create(struct ctl *c, int argc, char **argv)
{
	static const char *const keys[] = {"image", "kernel", "vcpus", "memory", "disk", "nat"};
	char *settings[ELEMENTSOF(keys) * 2 + 1];
	const char *name = NULL, *ports[PORTS_WORDS_MAX];
	size_t n = 0, port_count = 0;
	int r;

	for (int i = 1; i < argc; i++) {
		size_t k;

		for (k = 0; k < ELEMENTSOF(keys); k++)
			if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, keys[k]) == 0)
				break;
		if (strcmp(argv[i], "-p") == 0 && i + 1 < argc && port_count < PORTS_WORDS_MAX) {
			ports[port_count++] = argv[++i];
		} else if (k < ELEMENTSOF(keys) && i + 1 < argc && n < ELEMENTSOF(keys) * 2) {
			if (asprintf(&settings[n], "%s=%s", keys[k], argv[++i]) < 0)
				return EXIT_FAILED;
			n++;
		} else if (argv[i][0] != '-' && !name) {
			name = argv[i];
		} else {
			return ctl_usage(ctl_command("vm create"));
		}
	}
	if (!name)
		return ctl_usage(ctl_command("vm create"));
	if (port_count > 0 && !(settings[n++] = ports_setting(ports, port_count)))
		return EXIT_FAILED;
	r = ctl_need_tree(c) ? vm_make(c, name, settings, n) : EXIT_FAILED;
	while (n > 0)
		free(settings[--n]);
	return r;
}

static int vm_delete(struct ctl *c, int argc, char **argv)
{
	bool force = argc > 1 && strcmp(argv[1], "-f") == 0;
	int result = EXIT_OK;

	if (argc < 2 + force)
		return ctl_usage(ctl_command("vm delete"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	for (int i = 1 + force; i < argc; i++) {
		int r = force ? vm_do(c, argv[i], "kill") : EXIT_OK;

		if (r == EXIT_OK)
			r = vm_remove(c, argv[i]);
		result = result ? result : r;
	}
	return result;
}

static int vm_rename(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *from = NULL, *to = NULL;

	if (argc != 3)
		return ctl_usage(ctl_command("vm rename"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]) || !vm_name_good(argv[2]))
		return EXIT_USAGE;
	if (asprintf(&from, "vms/%s", argv[1]) < 0 || asprintf(&to, "vms/%s", argv[2]) < 0)
		return EXIT_FAILED;
	return renameat(c->fs, from, c->fs, to) < 0 ? failure(c, "rename", argv[1], -errno) : EXIT_OK;
}

static int vm_promote(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *path = NULL, *line = NULL, *target = NULL;
	int r;

	if (argc != 3)
		return ctl_usage(ctl_command("vm promote"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]))
		return EXIT_USAGE;
	if (asprintf(&path, "vms/%s/ctl", argv[1]) < 0 || asprintf(&line, "promote %s", argv[2]) < 0 ||
		asprintf(&target, "images/%s", argv[2]) < 0)
		return EXIT_FAILED;
	r = progress_write(c, path, line, target);
	return r < 0 ? failure(c, "promote", argv[1], r) : EXIT_OK;
}

/* FD to standard output, to its end. */
static int copy_out(int fd)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (io_write_full(STDOUT_FILENO, buf, (size_t)n) < 0)
			return EXIT_FAILED;
	return n < 0 && errno != EINTR ? EXIT_FAILED : EXIT_OK;
}

static int vm_logs(struct ctl *c, int argc, char **argv)
{
	bool follow = argc == 3 && strcmp(argv[1], "-f") == 0;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (argc != 2 + follow)
		return ctl_usage(ctl_command("vm logs"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1 + follow]))
		return EXIT_USAGE;
	fd = tree_open(c, O_RDONLY, "vms/%s/log", argv[1 + follow]);
	if (fd < 0)
		return failure(c, "logs", argv[1 + follow], fd);
	r = copy_out(fd);
	if (r != EXIT_OK || !follow)
		return r;
	close_fd(fd);
	fd = tree_open(c, O_RDONLY, "vms/%s/stream/log", argv[2]);
	return fd < 0 ? failure(c, "logs", argv[2], fd) : copy_out(fd);
}

static struct termios saved_terminal;
static bool terminal_saved;

static void terminal_restore(void)
{
	if (terminal_saved)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
	terminal_saved = false;
}

static int vm_console(struct ctl *c, int argc, char **argv)
{
	_cleanup_close_ int live = -EBADF, input = -EBADF;
	struct termios raw;
	char buf[4096];

	if (argc != 2)
		return ctl_usage(ctl_command("vm console"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]))
		return EXIT_USAGE;
	live = tree_open(c, O_RDONLY, "vms/%s/console", argv[1]);
	if (live < 0)
		return failure(c, "console", argv[1], live);
	/* What it said so far; live as well where somebody sits at a terminal. */
	copy_out(live);
	if (!isatty(STDIN_FILENO))
		return EXIT_OK;
	close_fd(live);
	live = tree_open(c, O_RDONLY | O_NONBLOCK, "vms/%s/stream/console", argv[1]);
	input = tree_open(c, O_WRONLY, "vms/%s/console", argv[1]);
	if (live < 0 || input < 0)
		return failure(c, "console", argv[1], live < 0 ? live : input);
	fprintf(stderr, "(live; Ctrl-] leaves)\n");
	if (tcgetattr(STDIN_FILENO, &saved_terminal) == 0) {
		terminal_saved = true;
		atexit(terminal_restore);
		raw = saved_terminal;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	for (;;) {
		struct pollfd p[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = live, .events = POLLIN}};
		ssize_t n;

		if (poll(p, 2, -1) < 0)
			break;
		if (p[0].revents) {
			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n <= 0 || memchr(buf, 0x1d, (size_t)n))
				break;
			(void)!write(input, buf, (size_t)n);
		}
		if (p[1].revents) {
			n = read(live, buf, sizeof(buf));
			if (n == 0 || (n < 0 && errno != EAGAIN) ||
				(n > 0 && io_write_full(STDOUT_FILENO, buf, (size_t)n) < 0))
				break;
		}
	}
	terminal_restore();
	return EXIT_OK;
}

static int vm_stats(struct ctl *c, int argc, char **argv)
{
	bool json = argc == 3 && (strcmp(argv[1], "--json") == 0 || strcmp(argv[2], "--json") == 0);
	const char *name = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : argv[1];
	_cleanup_free_ char *text = NULL;
	json_object *o;
	char *rest, *line;

	if (argc < 2 || argc > 2 + json)
		return ctl_usage(ctl_command("vm stats"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(name))
		return EXIT_USAGE;
	text = tree_read(c, "vms/%s/stats", name);
	if (!text)
		return failure(c, "stats", name, -errno);
	if (!json) {
		puts(text);
		return EXIT_OK;
	}
	o = json_object_new_object();
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (value) {
			*value++ = '\0';
			json_object_object_add(o, line, show_json_value(value));
		}
	}
	return show_json(o);
}

static int vm_wait(struct ctl *c, int argc, char **argv)
{
	_cleanup_close_ int fd = -EBADF;
	char buf[256];
	ssize_t n;

	if (argc != 3 || strchr(argv[2], '/'))
		return ctl_usage(ctl_command("vm wait"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]))
		return EXIT_USAGE;
	fd = tree_open(c, O_RDONLY, "vms/%s/wait/%s", argv[1], argv[2]);
	if (fd < 0)
		return tree_exists(c, "vms/%s", argv[1])
			       ? ctl_fail("vm wait %s: there is no state %s", argv[1], argv[2])
			       : failure(c, "wait", argv[1], fd);
	/* Where the kernel limits requests a read may end with nothing before it is so. */
	while ((n = read(fd, buf, sizeof(buf))) >= 0) {
		if (n > 0 && strncmp(buf, argv[2], strlen(argv[2])) == 0)
			return EXIT_OK;
		if (n == 0)
			lseek(fd, 0, SEEK_SET);
	}
	return errno == EINTR ? EXIT_CANCELLED : failure(c, "wait", argv[1], -errno);
}

const struct command commands_vm[] = {
	{"vm ls", "[--json]", "the VMs", vm_ls},
	{"vm create",
		"NAME [--image I] [--kernel K] [--vcpus N] [--memory SIZE] [--disk SIZE] [--nat 0|1] [-p "
		"HOST:GUEST]...",
		"make a VM", vm_create},
	{"vm show", "NAME [--json]", "all that is known of a VM", vm_show},
	{"vm set", "NAME KEY=VALUE...", "change settings of a stopped VM; nat, autostop, publish of any",
		vm_set},
	{"vm start", "NAME...", "start, and wait until the guest answers", vm_start},
	{"vm stop", "NAME...", "shut down in order", vm_stop},
	{"vm kill", "NAME...", "switch off at once", vm_kill},
	{"vm restart", "NAME...", "stop and start", vm_restart},
	{"vm pause", "NAME...", "hold still", vm_pause},
	{"vm resume", "NAME...", "go on", vm_resume},
	{"vm delete", "[-f] NAME...", "delete a stopped VM; -f kills it first", vm_delete},
	{"vm rename", "NAME NEW", "rename a stopped VM", vm_rename},
	{"vm promote", "NAME IMAGE", "make an image of a stopped VM", vm_promote},
	{"vm logs", "[-f] NAME", "what was done with it; -f follows", vm_logs},
	{"vm console", "NAME", "its serial line; Ctrl-] leaves", vm_console},
	{"vm stats", "NAME [--json]", "its counters", vm_stats},
	{"vm wait", "NAME STATE", "wait until it is running, ready, stopped ...", vm_wait},
	{NULL, NULL, NULL, NULL},
};
