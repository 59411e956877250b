#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "agent.h"
#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "boot.h"
#include "config.h"
#include "disks.h"
#include "guest.h"
#include "modules.h"
#include "network.h"
#include "place.h"
#include "power.h"

#define AGENT_REST_SEC 1 /* between two, should each of them fail at once */

static const char *const inits[] = {"/sbin/init", "/lib/systemd/systemd", "/etc/init", "/bin/init"};

static void die(const char *step, const struct err *e)
{
	guest_say("%s: %s", step, err_text(e));
	power_off_now();
}

/*
 * The kernel measures its timer against the TSC, and has none when its processor wasn't run for a tenth of a second in just that moment, as may happen to one that is
 * emulated ("APIC frequency too slow, disabling apic timer"). All works then but what waits for time: who started us does it again.
 */
static void need_timer(void)
{
	_cleanup_free_ char *name = NULL;

	if (io_read_file(AT_FDCWD, "/sys/devices/system/clockevents/clockevent0/current_device", 4096, &name,
		    NULL, NULL) < 0 ||
		*name)
		return;
	guest_say("the kernel has no timer");
	reboot(RB_AUTOBOOT);
}

static void mount_early(void)
{
	mkdir("/proc", 0555);
	mkdir("/sys", 0555);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755");
}

static void mount_one(
	const char *what, const char *where, const char *type, unsigned long flags, const char *options)
{
	mkdir(where, 0755);
	if (mount(what, where, type, flags, options) < 0)
		guest_say("mounting %s: %s", where, strerror(errno));
}

/* In the new root; an init that mounts these by itself finds them done. */
static void mount_late(void)
{
	mount_one("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_one("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_one("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755");
	mount_one("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,gid=5,ptmxmode=666");
	mount_one("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	/* Not noexec: systemd runs our last act from here (power.h). */
	mount_one("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=20%");
	mkdir("/tmp", 01777);
	if (symlink("/proc/self/fd", "/dev/fd") < 0 || symlink("fd/0", "/dev/stdin") < 0 ||
		symlink("fd/1", "/dev/stdout") < 0 || symlink("fd/2", "/dev/stderr") < 0)
		return;
}

/* The initramfs's files are memory: given back before the new root covers them. */
static void empty(int fd, dev_t device)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			st.st_dev != device)
			continue;
		if (S_ISDIR(st.st_mode)) {
			int sub = openat(
				dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0)
				empty(sub, device);
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
		} else {
			unlinkat(dirfd(dir), entry->d_name, 0);
		}
	}
}

static int switch_root(struct err *e)
{
	struct stat st;
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	umount2("/proc", MNT_DETACH);
	umount2("/sys", MNT_DETACH);
	umount2("/dev", MNT_DETACH);
	if (old < 0 || fstat(old, &st) < 0 || chdir(DISKS_ROOT) < 0)
		return err_sys(e, -errno, "new root");
	if (mount(DISKS_ROOT, "/", NULL, MS_MOVE, NULL) < 0)
		return err_sys(e, -errno, "moving the new root");
	empty(TAKE_FD(old), st.st_dev);
	if (chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, -errno, "chroot");
	return 0;
}

/* The image's own init, or NULL. */
static const char *find_init(void)
{
	for (size_t i = 0; i < ELEMENTSOF(inits); i++) {
		struct stat st;

		if (access(inits[i], X_OK) == 0 && stat(inits[i], &st) == 0 && S_ISREG(st.st_mode))
			return inits[i];
	}
	return NULL;
}

static volatile sig_atomic_t told_to_end;

static void on_end(int sig)
{
	(void)sig;
	told_to_end = 1;
}

/* What an agent is given, and the one that takes its place. */
struct agent_place {
	int port;
	enum channel_kind kind;
	const struct config *config;
	enum agent_mode mode;
	char *name; /* argv[0] of this process */
	struct agent_life *life;
};

/*
 * What is called @... systemd neither ends nor waits for at shutdown (systemd.io: ROOT_STORAGE_DAEMONS): the agent sees to it that the machine
 * goes off in time.
 */
static void stay(const struct agent_place *p)
{
	setsid();
	if (p->name && *p->name)
		p->name[0] = '@';
}

static pid_t start_agent(const struct agent_place *p)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	stay(p);
	agent_run(p->port, p->kind, p->config->has_token ? p->config->token : NULL, "/root", "/", p->mode,
		p->life);
	_exit(1);
}

/* The agent was killed. Without one nobody could do anything with this machine. */
static pid_t next_agent(const struct agent_place *p)
{
	pid_t pid = -1;

	p->life->again = true;
	if (p->kind != CHANNEL_PORT || !p->life->half_said) {
		guest_say("the agent has ended; another one begins");
		nanosleep(&(struct timespec){.tv_sec = AGENT_REST_SEC}, NULL);
		pid = start_agent(p);
	}
	if (pid < 0) {
		guest_say("the agent has ended, and no other can take its place");
		power_off_now();
	}
	return pid;
}

/* Beside an init, which knows nothing of agents. */
static pid_t start_keeper(const struct agent_place *p)
{
	pid_t pid = fork(), agent;

	if (pid != 0)
		return pid;
	stay(p);
	agent_protect();
	agent = start_agent(p);
	while (agent > 0)
		if (waitpid(agent, NULL, 0) == agent)
			agent = next_agent(p);
	_exit(1);
}

/* The image has no init: orphans are reaped here. */
static void reap_for_ever(const struct agent_place *p, pid_t agent)
{
	struct sigaction end = {.sa_handler = on_end};

	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	for (;;) {
		pid_t pid = waitpid(-1, NULL, 0);

		if (told_to_end)
			power_off_now();
		else if (pid == agent)
			agent = next_agent(p);
		else if (pid < 0 && errno == ECHILD)
			pause();
	}
}

static void set_clock(const struct config *c)
{
	struct timespec t = {.tv_sec = (time_t)(c->clock_usec / 1000000),
		.tv_nsec = (long)(c->clock_usec % 1000000) * 1000};

	if (c->clock_usec && clock_settime(CLOCK_REALTIME, &t) < 0)
		guest_say("clock: %s", strerror(errno));
}

void boot_run(char *name)
{
	_cleanup_err_ struct err e = {0};
	struct config c;
	const char *init;
	enum channel_kind kind;
	struct agent_place place;
	struct agent_life *life;
	pid_t agent;
	int port;

	umask(0);
	mount_early();
	need_timer();
	if (config_read(&c, &e) < 0)
		die("config", &e);
	modules_load();
	set_clock(&c);
	if (agent_open(&port, &kind, &e) < 0)
		die("agent's channel", &e);
	life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (life == MAP_FAILED) {
		err_sys(&e, -errno, "memory");
		die("agent", &e);
	}
	if (c.probe) {
		agent_run(port, kind, c.has_token ? c.token : NULL, "/", "/", AGENT_PROBE, life);
		power_off_now();
	}
	if (disks_mount(&c, &e) < 0)
		die("disks", &e);
	if (network_up(&c, &e) < 0)
		die("network", &e);
	if (place_all(DISKS_ROOT, &c, &e) < 0)
		die("files", &e);
	if (power_keep_last_act(DISKS_ROOT) < 0)
		guest_say("systemd's shutdown will not be ours");
	if (switch_root(&e) < 0)
		die("root", &e);
	mount_late();
	power_place_last_act();
	init = find_init();
	place = (struct agent_place){.port = port,
		.kind = kind,
		.config = &c,
		.mode = init ? AGENT_BESIDE_INIT : AGENT_WITHOUT_INIT,
		.name = name,
		.life = life};
	agent = init ? start_keeper(&place) : start_agent(&place);
	if (agent < 0) {
		err_sys(&e, -errno, "fork");
		die("agent", &e);
	}
	if (init) {
		close_fd(port);
		umask(022);
		execl(init, init, NULL);
		guest_say("%s: %s", init, strerror(errno));
	}
	umask(022);
	reap_for_ever(&place, agent);
	power_off_now();
}
