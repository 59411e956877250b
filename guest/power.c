#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "guest.h"
#include "handle.h"
#include "power.h"

#define REMOUNT_USEC 3000000

static int own_file = -EBADF;

/* Waits for the kernel to say that the remount is over (fs/super.c: do_emergency_remount). */
static void remount_all_readonly(void)
{
	_cleanup_close_ int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int trigger = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	uint64_t end = io_now_usec() + REMOUNT_USEC;
	char record[8192];

	if (log >= 0)
		lseek(log, 0, SEEK_END);
	if (trigger < 0 || write(trigger, "u", 1) != 1)
		return;
	while (log >= 0 && io_now_usec() < end) {
		struct pollfd p = {.fd = log, .events = POLLIN};
		ssize_t n;

		poll(&p, 1, 100);
		n = read(log, record, sizeof(record) - 1);
		if (n <= 0)
			continue;
		record[n] = '\0';
		if (strstr(record, "Emergency Remount complete"))
			return;
	}
}

static bool off_by_reset(void)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *word;

	if (io_read_file(AT_FDCWD, "/proc/cmdline", 65536, &text, NULL, NULL) < 0)
		return false;
	rest = text;
	while ((word = strsep(&rest, " \n")))
		if (strcmp(word, GUEST_OFF_BY_RESET) == 0)
			return true;
	return false;
}

void power_off_now(void)
{
	mkdir("/proc", 0555);
	mount("proc", "/proc", "proc", 0, NULL);
	/* What has no name and is open would have to be cleared away by e2fsck. */
	handle_unpin_all();
	sync();
	remount_all_readonly();
	/* Such a machine would only halt, and stay. */
	if (off_by_reset())
		reboot(RB_AUTOBOOT);
	reboot(RB_POWER_OFF);
	/* No way to switch it off: a halt is the next best, the VMM's owner ends it. */
	reboot(RB_HALT_SYSTEM);
	for (;;)
		pause();
}

static int has_systemd(const char *root)
{
	_cleanup_free_ char *path = NULL;

	return asprintf(&path, "%s/lib/systemd/systemd", root) > 0 && access(path, X_OK) == 0;
}

int power_keep_last_act(const char *root)
{
	if (!has_systemd(root))
		return 0;
	own_file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	return own_file < 0 ? -errno : 0;
}

void power_place_last_act(void)
{
	_cleanup_close_ int to = -EBADF;
	struct stat st;

	if (own_file < 0)
		return;
	mkdir("/run/initramfs", 0755);
	to = open("/run/initramfs/shutdown", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (to < 0 || fstat(own_file, &st) < 0 ||
		sendfile(to, own_file, &(off_t){0}, (size_t)st.st_size) != st.st_size)
		guest_say("/run/initramfs/shutdown: %s", strerror(errno));
	own_file = close_fd(own_file);
}

enum power_plan power_ask_init(int init_runs)
{
	if (!init_runs)
		return POWER_ALONE;
	/* systemd(1), SIGNALS: SIGRTMIN+4 starts poweroff.target. sd_booted(3) is this same look. */
	if (access("/run/systemd/system", F_OK) == 0) {
		kill(1, SIGRTMIN + 4);
		return POWER_INIT_DOES_IT;
	}
	/* busybox's init: SIGUSR2 is power off. Others that don't know the signal are ended by the agent's own limit. */
	kill(1, SIGUSR2);
	return POWER_WHEN_TOLD;
}
