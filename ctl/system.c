/* The instance as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/place.h"
#include "daemons.h"
#include "doctor.h"
#include "names.h"
#include "progress.h"
#include "service.h"
#include "show.h"
#include "system.h"
#include "tree.h"

#define END_MSEC 30000

int system_need_root(const char *what)
{
	return geteuid() == 0 ? EXIT_OK : ctl_fail("%s: needs root: sudo banger %s", what, what);
}

int system_owner(const char *what, const char *named, uid_t *ret)
{
	const char *sudo = getenv("SUDO_USER");
	const char *name = named ? named : sudo && strcmp(sudo, "root") != 0 ? sudo : "banger";
	struct passwd *p = getpwnam(name);

	if (!p)
		return ctl_fail(
			"%s: there is no user %s: banger %s --owner USER, or adduser --system --group banger",
			what, name, what);
	if (p->pw_uid == 0)
		return ctl_fail(
			"%s: the owner cannot be root: banger's point is that only its helper is", what);
	*ret = p->pw_uid;
	return EXIT_OK;
}

/*
 * What of the guests' network somebody has removed or changed is made anew, where there is any. That it can't be is said, and is the next
 * start's error.
 */
static void mend_network(struct ctl *c, const struct helper_hello *hello)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_(helper_freep) struct helper *h = NULL;
	_cleanup_err_ struct err e = {0};
	struct helper_entry entry = {0};
	bool needed = if_nametoindex(hello->bridge) > 0;

	if (place_path(c->instance, PLACE_HELPER_SOCKET, &path, &e) < 0 || helper_new(path, &h, &e) < 0)
		return;
	while (!needed && helper_list(h, entry.vm, &entry, NULL) == 0)
		needed = entry.has_tap;
	if (needed && helper_net_up(h, &e) < 0)
		fprintf(stderr, "banger: the guests' network: %s\n", err_text(&e));
}

/* Where it can be done already; that it can't is said by host/dns. */
static void route_names(struct ctl *c)
{
	_cleanup_free_ char *said = NULL;

	names_route(c, &said);
}

static int up(struct ctl *c, int argc, char **argv)
{
	_cleanup_close_ int lock = -EBADF;
	const char *named = NULL;
	struct helper_hello hello;
	char *options[60];
	size_t n = 0;
	uid_t owner = 0;
	pid_t fsd;
	int r;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--owner") == 0 && i + 1 < argc)
			named = argv[++i];
		else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc && n < ELEMENTSOF(options))
			options[n++] = argv[++i];
		else
			return ctl_usage(ctl_command("up"));
	}
	r = system_need_root("up");
	if (r == EXIT_OK && service_installed(c)) {
		if (named || n)
			return ctl_fail("up: banger is a service here, and has its owner: banger up, and "
					"settings in %s/config",
				c->mount);
		r = service_up(c);
		if (r == EXIT_OK && daemons_helper(c, &hello))
			mend_network(c, &hello);
		return r;
	}
	if (r == EXIT_OK)
		r = system_owner("up", named, &owner);
	if (r != EXIT_OK)
		return r;
	lock = daemons_lock(c);
	if (lock < 0)
		return EXIT_FAILED;
	if (!daemons_helper(c, &hello)) {
		r = daemons_start_helper(c, owner);
		if (r != EXIT_OK)
			return r;
	} else if (hello.owner != owner) {
		return ctl_fail("up: this instance belongs to user %u: sudo banger down first", hello.owner);
	}
	if (daemons_helper(c, &hello))
		mend_network(c, &hello);
	while ((fsd = daemons_fsd(c))) {
		/* This file makes the daemon look at its helper, so that a new one is given the mount. */
		if (tree_probe(c, "host/helper", TREE_PATIENCE_MSEC) == TREE_ANSWERS) {
			route_names(c);
			puts("already up");
			return EXIT_OK;
		}
		/* One that was killed just now holds its lock until the kernel has taken it down. */
		if (!daemons_gone(fsd, 0))
			return ctl_fail("up: banger-fsd is process %d, but the tree doesn't answer: banger "
					"down, then up",
				fsd);
	}
	r = daemons_start_fsd(c, owner, options, n);
	if (r == EXIT_OK) {
		route_names(c);
		printf("up: %s\n", c->mount);
	}
	return r;
}

/* Without the daemon: the helper puts down what is left. */
static int force_down(struct ctl *c)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_(helper_freep) struct helper *h = NULL;
	_cleanup_err_ struct err e = {0};
	struct helper_entry entry;
	uint32_t after = 0;

	if (place_path(c->instance, PLACE_HELPER_SOCKET, &path, &e) < 0 || helper_new(path, &h, &e) < 0)
		return ctl_fail("down: %s", err_text(&e));
	while (helper_list(h, after, &entry, NULL) == 0) {
		_cleanup_close_ int pidfd = -EBADF;
		struct helper_process process;

		after = entry.vm;
		if (helper_pidfd(h, entry.vm, &process, &pidfd, NULL) == 0) {
			fprintf(stderr, "killing VM %u, process %d\n", entry.vm, process.pid);
			helper_signal(h, 0, entry.vm, HELPER_SIGKILL, NULL);
			daemons_gone(process.pid, END_MSEC);
		}
		if (helper_release(h, 0, entry.vm, &e) < 0)
			ctl_fail("down: VM %u: %s", entry.vm, err_text(&e));
	}
	if (helper_unmount(h, &e) < 0 || helper_net_down(h, &e) < 0)
		return ctl_fail("down: %s", err_text(&e));
	return EXIT_OK;
}

/* The files in the folder NAME of DIR_FD; with BELOW, those of the folders in it too, and they where nothing is left in them. */
static void clear_folder(int dir_fd, const char *name, bool below)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		close_fd(fd);
	while (dir && (entry = readdir(dir)))
		if (entry->d_type != DT_DIR) {
			unlinkat(fd, entry->d_name, 0);
		} else if (below && entry->d_name[0] != '.') {
			clear_folder(fd, entry->d_name, false);
			unlinkat(fd, entry->d_name, AT_REMOVEDIR);
		}
}

/* The daemon's runtime files, when it could not clear them away itself. */
static void clear_run(struct ctl *c)
{
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int fd = -EBADF;

	if (place_path(c->instance, PLACE_FSD_DIR, &dir, NULL) < 0)
		return;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	clear_folder(fd, "vm", true);
	clear_folder(fd, ".", true);
}

static int end_helper(struct ctl *c)
{
	_cleanup_free_ char *run = NULL, *log = NULL, *lock = NULL;
	struct helper_hello hello;

	if (service_installed(c))
		service_end_helper();
	if (daemons_helper(c, &hello)) {
		kill(hello.pid, SIGTERM);
		if (!daemons_gone(hello.pid, END_MSEC)) {
			kill(hello.pid, SIGKILL);
			daemons_gone(hello.pid, END_MSEC);
		}
	}
	if (place_path(c->instance, PLACE_RUN, &run, NULL) < 0 || asprintf(&log, "%s/helper.log", run) < 0 ||
		asprintf(&lock, "%s.lock", run) < 0)
		return EXIT_FAILED;
	unlink(log);
	if (service_installed(c))
		service_clear_run(run);
	if (rmdir(run) < 0 && errno != ENOENT)
		return ctl_fail("down: %s is not empty: look at what is in it", run);
	unlink(lock);
	return EXIT_OK;
}

int system_down(struct ctl *c)
{
	_cleanup_close_ int lock = -EBADF;
	_cleanup_free_ char *run = NULL;
	struct helper_hello hello;
	struct stat st;
	pid_t fsd;
	int r;

	lock = daemons_lock(c);
	if (lock < 0 || place_path(c->instance, PLACE_RUN, &run, NULL) < 0)
		return EXIT_FAILED;
	if (stat(run, &st) < 0) {
		_cleanup_free_ char *file = NULL;

		puts("already down");
		if (asprintf(&file, "%s.lock", run) > 0)
			unlink(file);
		return EXIT_OK;
	}
	/* What is left is the helper's to put down: one is needed, whoever it belonged to. */
	if (!daemons_helper(c, &hello)) {
		_cleanup_free_ char *dir = NULL;
		uid_t owner = 65534;

		if (place_path(c->instance, PLACE_FSD_DIR, &dir, NULL) == 0 && stat(dir, &st) == 0 &&
			st.st_uid != 0)
			owner = st.st_uid;
		r = daemons_start_helper(c, owner);
		if (r != EXIT_OK)
			return r;
	}
	fsd = daemons_fsd(c);
	if (fsd && tree_probe(c, "version", TREE_PATIENCE_MSEC) == TREE_ANSWERS && ctl_need_tree(c)) {
		r = progress_write(c, "ctl", "shutdown", "shutdown");
		c->fs = close_fd(c->fs);
		if (r < 0 && r != -ENOTCONN && r != -ECONNABORTED)
			ctl_fail("down: the daemon could not do it in order (%s): by force", strerror(-r));
		else if (daemons_gone(fsd, END_MSEC))
			fsd = 0;
	}
	if (service_installed(c))
		service_end_fsd();
	else if (fsd)
		kill(fsd, SIGKILL);
	if (fsd)
		daemons_gone(fsd, END_MSEC);
	r = force_down(c);
	clear_run(c);
	if (end_helper(c) != EXIT_OK)
		r = EXIT_FAILED;
	if (r == EXIT_OK)
		puts("down");
	return r;
}

static int down(struct ctl *c, int argc, char **argv)
{
	int r;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("down"));
	r = system_need_root("down");
	return r == EXIT_OK ? system_down(c) : r;
}

static int status(struct ctl *c, int argc, char **argv)
{
	unsigned counts[8] = {0};
	static const char *const states[] = {
		"created", "starting", "running", "paused", "stopping", "stopped", "failed"};
	pid_t fsd;
	char **names;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("status"));
	fsd = daemons_fsd(c);
	if (tree_probe(c, "version", TREE_PATIENCE_MSEC) != TREE_ANSWERS || !tree_open_root(c)) {
		printf("down: nothing is served at %s\n", c->mount);
		return EXIT_DOWN;
	}
	printf("up: %s", c->mount);
	if (fsd)
		printf(", banger-fsd is process %d", fsd);
	puts("");
	names = tree_names(c, "vms");
	for (size_t i = 0; names && names[i]; i++) {
		_cleanup_free_ char *state = tree_read(c, "vms/%s/state", names[i]);

		for (size_t k = 0; state && k < ELEMENTSOF(states); k++)
			counts[k] += strcmp(state, states[k]) == 0;
	}
	tree_free_names(names);
	for (size_t k = 0; k < ELEMENTSOF(states); k++)
		if (counts[k])
			printf("%s: %u\n", states[k], counts[k]);
	names = tree_names(c, "ops");
	for (size_t i = 0; names && names[i]; i++) {
		_cleanup_free_ char *kind = tree_read(c, "ops/%s/kind", names[i]),
				    *target = tree_read(c, "ops/%s/target", names[i]),
				    *stage = tree_read(c, "ops/%s/stage", names[i]);

		printf("operation %s: %s %s: %s\n", names[i], kind ? kind : "", target ? target : "",
			stage ? stage : "");
	}
	tree_free_names(names);
	return EXIT_OK;
}

static int where(struct ctl *c, int argc, char **argv)
{
	if (argc > 2)
		return ctl_usage(ctl_command("where"));
	if (argc == 1)
		puts(c->mount);
	else
		printf("%s/vms/%s\n", c->mount, argv[1]);
	return EXIT_OK;
}

static int version(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct helper_hello hello;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("version"));
	puts("banger " BANGER_VERSION);
	if (tree_probe(c, "version", TREE_PATIENCE_MSEC) == TREE_ANSWERS &&
		asprintf(&path, "%s/version", c->mount) > 0 &&
		io_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) == 0 &&
		strncmp(text, "version ", 8) == 0) {
		text[8 + strcspn(text + 8, "\n")] = '\0';
		printf("banger-fsd %s\n", text + 8);
		if (strcmp(text + 8, BANGER_VERSION) != 0)
			return ctl_fail("the daemon is of another version: banger down, then up");
	}
	if (daemons_helper(c, &hello)) {
		printf("banger-helper %s\n", hello.version);
		if (strcmp(hello.version, BANGER_VERSION) != 0)
			return ctl_fail("the helper is of another version: banger down, then up");
	}
	return EXIT_OK;
}

static int doctor(struct ctl *c, int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;

	if (argc > 1 + json)
		return ctl_usage(ctl_command("doctor"));
	return doctor_run(c, json);
}

const struct command commands_system[] = {
	{"up", "[--owner USER] [-o KEY=VALUE]...",
		"start banger (root): its helper, and its daemon as the owner", up},
	{"down", "", "stop every VM in order, then banger (root)", down},
	{"status", "", "whether it is up, and what runs; exit code 3 when down", status},
	{"where", "[NAME]", "the path of the tree, or of a VM in it", where},
	{"version", "", "versions of command, daemon and helper", version},
	{"doctor", "[--json]", "what a start needs, and how to get what is missing", doctor},
	{NULL, NULL, NULL, NULL},
};
