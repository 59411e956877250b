#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/place.h"
#include "banger/proc.h"
#include "daemons.h"
#include "names.h"
#include "service.h"
#include "system.h"
#include "tree.h"

#define SOCKET   "banger-helper.socket"
#define HELPER   "banger-helper.service"
#define VSOCK    "banger-vsock.socket"
#define FSD      "banger.service"
#define NAMES    "banger-names.service"
#define SLICE    "banger.slice"
#define DROP_INS "/etc/systemd/system"
#define OWNER    "owner.conf"
#define MOUNT    "/run/banger/fs" /* what the units serve (place.h) */

static const char *const units[] = {SOCKET, HELPER, VSOCK, FSD};

/* systemctl ARG...; what it says on failure is said. Its output goes to *RET when that is given. */
static int systemctl(const char *const *args, char **ret)
{
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL};
	const char *argv[16] = {"systemctl", "--no-pager"};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err e = {0};

	for (size_t i = 0; args[i] && i + 3 < ELEMENTSOF(argv); i++)
		argv[2 + i] = args[i];
	spec.argv = argv;
	spec.env = env;
	return proc_run(&spec, ret, NULL, NULL, &e) < 0
		       ? ctl_fail("%s %s: %s", argv[0], args[0], err_text(&e))
		       : EXIT_OK;
}

#define SYSTEMCTL(...) systemctl((const char *const[]){__VA_ARGS__, NULL}, NULL)

int service_show(const char *unit, const char *names, char **ret)
{
	_cleanup_free_ char *option = NULL;

	if (asprintf(&option, "--property=%s", names) < 0) {
		option = NULL;
		return ctl_fail("out of memory");
	}
	return systemctl((const char *const[]){"show", unit, option, NULL}, ret);
}

const char *service_property(const char *text, const char *name, char *buf, size_t size)
{
	size_t n = strlen(name);

	for (const char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (strncmp(at, name, n) == 0 && at[n] == '=') {
			snprintf(buf, size, "%.*s", (int)strcspn(at + n + 1, "\n"), at + n + 1);
			return buf;
		}
	return "";
}

static bool is_default(const struct ctl *c)
{
	return strcmp(c->mount, MOUNT) == 0;
}

bool service_installed(const struct ctl *c)
{
	return is_default(c) && access(DROP_INS "/" FSD ".d/" OWNER, F_OK) == 0;
}

int service_up(struct ctl *c)
{
	int r = SYSTEMCTL("start", SOCKET, FSD);

	/* Fails by itself where systemd-resolved does, and is looked at by doctor. */
	if (r == EXIT_OK)
		SYSTEMCTL("start", NAMES);
	if (r == EXIT_OK)
		printf("up: %s\n", c->mount);
	return r;
}

int service_end_fsd(void)
{
	return SYSTEMCTL("stop", FSD);
}

int service_end_helper(void)
{
	return SYSTEMCTL("stop", SOCKET, VSOCK, HELPER);
}

void service_clear_run(const char *run)
{
	_cleanup_close_ int fd = open(run, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	static const char *const files[] = {"helper/journal", "helper/lock", "helper.sock", "vsock.sock"};
	static const char *const folders[] = {"helper/jail", "helper", "jails", "fsd", "fs"};

	for (size_t i = 0; fd >= 0 && i < ELEMENTSOF(files); i++)
		unlinkat(fd, files[i], 0);
	for (size_t i = 0; fd >= 0 && i < ELEMENTSOF(folders); i++)
		unlinkat(fd, folders[i], AT_REMOVEDIR);
}

/* What every command here needs. WHAT: "system install". */
static int begin(const struct ctl *c, const char *what)
{
	struct stat st;

	if (!is_default(c))
		return ctl_fail("%s: the units serve the default instance, at " MOUNT, what);
	if (stat("/run/systemd/system", &st) < 0)
		return ctl_fail("%s: systemd doesn't run this machine: use banger up", what);
	return EXIT_OK;
}

static int write_drop_in(const char *unit, const char *text)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_err_ struct err e = {0};
	_cleanup_close_ int dir = -EBADF;

	if (asprintf(&path, DROP_INS "/%s.d", unit) < 0) {
		path = NULL;
		return ctl_fail("out of memory");
	}
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return ctl_fail("%s: %s", path, strerror(errno));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return ctl_fail("%s: %s", path, strerror(errno));
	if (io_replace_file(dir, OWNER, text, strlen(text), 0644, &e) < 0)
		return ctl_fail("%s: %s", path, err_text(&e));
	return EXIT_OK;
}

static void remove_drop_ins(void)
{
	_cleanup_close_ int etc = open(DROP_INS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; etc >= 0 && i < ELEMENTSOF(units); i++) {
		_cleanup_free_ char *dir = NULL, *file = NULL;

		if (asprintf(&dir, "%s.d", units[i]) < 0 || asprintf(&file, "%s.d/" OWNER, units[i]) < 0)
			return;
		unlinkat(etc, file, 0);
		unlinkat(etc, dir, AT_REMOVEDIR); /* stays where root has put more into it */
	}
}

/* By number: the name of a user may hold what means something in a unit. The daemon's last: it is what makes the units installed. */
static int give_owner(uid_t owner)
{
	_cleanup_free_ char *socket = NULL, *helper = NULL, *fsd = NULL;
	int r;

	if (asprintf(&socket, "[Socket]\nSocketUser=%u\n", owner) < 0 ||
		asprintf(&helper, "[Service]\nEnvironment=BANGER_OWNER=%u\n", owner) < 0 ||
		asprintf(&fsd, "[Service]\nUser=%u\n", owner) < 0)
		return ctl_fail("out of memory");
	r = write_drop_in(SOCKET, socket);
	if (r == EXIT_OK)
		r = write_drop_in(VSOCK, socket);
	if (r == EXIT_OK)
		r = write_drop_in(HELPER, helper);
	if (r == EXIT_OK)
		r = write_drop_in(FSD, fsd);
	return r;
}

/* The user that the units have, 0: none. */
static uid_t owner_now(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned uid = 0;

	if (io_read_file(AT_FDCWD, DROP_INS "/" FSD ".d/" OWNER, 4096, &text, NULL, NULL) < 0 ||
		sscanf(text, "[Service]\nUser=%u", &uid) != 1)
		return 0;
	return uid;
}

/* What would be in the way. */
static int check_free(struct ctl *c, uid_t owner)
{
	_cleanup_free_ char *state = NULL;
	_cleanup_err_ struct err e = {0};
	struct stat st;

	if (service_installed(c))
		return owner_now() == owner ? EXIT_OK
					    : ctl_fail("system install: banger belongs to user %u: banger "
						       "system uninstall first",
						      owner_now());
	if (daemons_helper(c, NULL) || daemons_fsd(c))
		return ctl_fail("system install: banger runs, started by hand: banger down first");
	if (place_path("", PLACE_STATE, &state, &e) < 0)
		return ctl_fail("%s", err_text(&e));
	if (stat(state, &st) == 0 && st.st_uid != 0 && st.st_uid != owner)
		return ctl_fail(
			"system install: %s belongs to another user (%u): --owner that one, or move it away",
			state, st.st_uid);
	return EXIT_OK;
}

static int install(struct ctl *c, int argc, char **argv)
{
	_cleanup_close_ int lock = -EBADF;
	_cleanup_free_ char *text = NULL;
	const char *named = NULL;
	uid_t owner = 0;
	int r;

	if (argc == 3 && strcmp(argv[1], "--owner") == 0)
		named = argv[2];
	else if (argc != 1)
		return ctl_usage(ctl_command("system install"));
	if ((r = system_need_root("system install")) != EXIT_OK ||
		(r = begin(c, "system install")) != EXIT_OK ||
		(r = system_owner("system install", named, &owner)) != EXIT_OK)
		return r;
	if (systemctl((const char *const[]){"cat", SOCKET, HELPER, VSOCK, FSD, NAMES, NULL}, &text) !=
		EXIT_OK)
		return ctl_fail(
			"system install: banger's units are not there: install its package (make deb)");
	lock = daemons_lock(c);
	if (lock < 0)
		return EXIT_FAILED;
	r = check_free(c, owner);
	if (r == EXIT_OK)
		r = give_owner(owner);
	if (r == EXIT_OK)
		r = SYSTEMCTL("daemon-reload");
	if (r == EXIT_OK)
		r = SYSTEMCTL("enable", "--quiet", SOCKET, FSD, NAMES);
	if (r == EXIT_OK)
		r = SYSTEMCTL("start", SOCKET, HELPER, FSD);
	/* One that was up already may have had no owner. */
	if (r == EXIT_OK)
		r = SYSTEMCTL("restart", VSOCK);
	if (r != EXIT_OK)
		return ctl_fail("system install: look at journalctl -u banger -u banger-helper; banger "
				"system uninstall takes back what was done");
	printf("up: %s\n", c->mount);
	return EXIT_OK;
}

static int status(struct ctl *c, int argc, char **argv)
{
	bool all = true;
	struct passwd *p;
	int r;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("system status"));
	if ((r = begin(c, "system status")) != EXIT_OK)
		return r;
	if (!service_installed(c)) {
		puts("not installed: sudo banger system install --owner USER");
		return EXIT_DOWN;
	}
	p = getpwuid(owner_now());
	printf("owner: %s\n", p ? p->pw_name : "a user that there is not");
	for (size_t i = 0; i < ELEMENTSOF(units); i++) {
		_cleanup_free_ char *text = NULL;
		char active[32], sub[32], pid[32], restarts[32];

		if (service_show(units[i], "ActiveState,SubState,MainPID,NRestarts", &text) != EXIT_OK)
			return EXIT_FAILED;
		all = all &&
		      strcmp(service_property(text, "ActiveState", active, sizeof(active)), "active") == 0;
		printf("%s: %s (%s)", units[i], service_property(text, "ActiveState", active, sizeof(active)),
			service_property(text, "SubState", sub, sizeof(sub)));
		if (!strstr(units[i], ".socket"))
			printf(", process %s, restarted by itself: %s",
				service_property(text, "MainPID", pid, sizeof(pid)),
				service_property(text, "NRestarts", restarts, sizeof(restarts)));
		puts("");
	}
	return all ? EXIT_OK : EXIT_DOWN;
}

/* Both at once: systemd keeps their order, and what the helper holds. */
static int restart(struct ctl *c, int argc, char **argv)
{
	int r;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("system restart"));
	if ((r = system_need_root("system restart")) != EXIT_OK ||
		(r = begin(c, "system restart")) != EXIT_OK)
		return r;
	if (!service_installed(c))
		return ctl_fail("system restart: not installed: banger system install --owner USER");
	r = SYSTEMCTL("restart", VSOCK, HELPER, FSD);
	if (r == EXIT_OK)
		puts("restarted; VMs run on");
	return r;
}

static int purge(void)
{
	_cleanup_free_ char *state = NULL;
	_cleanup_err_ struct err e = {0};
	struct proc_spec spec = PROC_SPEC_INIT;

	if (place_path("", PLACE_STATE, &state, &e) < 0)
		return ctl_fail("%s", err_text(&e));
	spec.argv = (const char *const[]){"rm", "-rf", "--one-file-system", "--", state, NULL};
	return proc_run(&spec, NULL, NULL, NULL, &e) < 0 ? ctl_fail("%s: %s", state, err_text(&e)) : EXIT_OK;
}

static int uninstall(struct ctl *c, int argc, char **argv)
{
	bool purged = argc == 2 && strcmp(argv[1], "--purge") == 0, was;
	int r;

	if (argc > 1 + purged)
		return ctl_usage(ctl_command("system uninstall"));
	if ((r = system_need_root("system uninstall")) != EXIT_OK)
		return r;
	if (!is_default(c))
		return begin(c, "system uninstall");
	r = system_down(c);
	was = service_installed(c);
	/* Nothing is in it any more, but by itself it stays. */
	if (was && r == EXIT_OK)
		r = SYSTEMCTL("stop", SLICE);
	if (was && SYSTEMCTL("disable", "--quiet", SOCKET, FSD, NAMES) != EXIT_OK)
		r = EXIT_FAILED;
	remove_drop_ins();
	if (was && SYSTEMCTL("daemon-reload") != EXIT_OK)
		r = EXIT_FAILED;
	if (purged && r == EXIT_OK)
		r = purge();
	if (r == EXIT_OK)
		puts(purged ? "uninstalled, and nothing kept" : "uninstalled; disks and images are kept");
	return r;
}

static int names(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *said = NULL;
	int r;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("system names"));
	if ((r = system_need_root("system names")) != EXIT_OK || (r = names_route(c, &said)) != EXIT_OK)
		return r;
	puts(said ? said : "systemd-resolved asks banger for NAME.vm");
	return EXIT_OK;
}

const struct command commands_service[] = {
	{"system install", "[--owner USER]", "have systemd run it from now on, for USER (root)", install},
	{"system status", "", "its units; exit code 3 when not all run", status},
	{"system restart", "", "restart helper and daemon; VMs run on (root)", restart},
	{"system uninstall", "[--purge]", "stop every VM, then take back what install did (root)", uninstall},
	{"system names", "",
		"have systemd-resolved ask banger for NAME.vm; the units do it by themselves (root)", names},
	{NULL, NULL, NULL, NULL},
};
