#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "engine/engine.h"
#include "kernel/kernel.h"

#define TSC_USEC      20000
#define PROBE_MEMORY  (128ull << 20)
#define PROBE_CONSOLE 65536

uint64_t engine_tsc_khz(void)
{
#if defined(__x86_64__)
	static _Atomic uint64_t measured;
	struct timespec a, b;
	uint64_t from, to, nsec;

	if (measured)
		return measured;
	clock_gettime(CLOCK_MONOTONIC_RAW, &a);
	from = __builtin_ia32_rdtsc();
	nanosleep(&(struct timespec){.tv_nsec = TSC_USEC * 1000}, NULL);
	clock_gettime(CLOCK_MONOTONIC_RAW, &b);
	to = __builtin_ia32_rdtsc();
	nsec = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
	if (nsec > 0)
		measured = (uint64_t)((unsigned __int128)(to - from) * 1000000 / nsec);
	return measured;
#else
	return 0;
#endif
}

/* What is plainly not there costs no proof. NULL: worth one. */
static const char *kvm_lacks(void)
{
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm;

	if (kvm < 0)
		/* The VMM opens it as another user, with the group of the device: that we may not says nothing. */
		return errno == EACCES ? NULL : "there is no /dev/kvm";
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return "/dev/kvm has another version";
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return "/dev/kvm makes no VMs";
	close_fd(vm);
	return NULL;
}

/* What a kept answer holds for: this boot, this kernel, this QEMU. */
static char *cache_key(int kernel_dir_fd)
{
	_cleanup_free_ char *boot = NULL, *version = NULL;
	struct stat st = {0};
	char *key = NULL;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL, NULL) < 0 ||
		io_read_file(kernel_dir_fd, "version", 256, &version, NULL, NULL) < 0)
		return NULL;
	boot[strcspn(boot, "\n")] = '\0';
	(void)!stat("/usr/bin/qemu-system-x86_64", &st);
	return asprintf(&key, "%s %s %lld", boot, version, (long long)st.st_mtime) < 0 ? NULL : key;
}

/* 1: kept, *RET_WHY "" (proven) or the reason; 0: not kept. */
static int cached(int cache_dir_fd, const char *key, char **ret_why)
{
	_cleanup_free_ char *text = NULL;
	char *why;

	if (!key || io_read_file(cache_dir_fd, "accel", 4096, &text, NULL, NULL) < 0)
		return 0;
	why = strchr(text, '\n');
	if (!why)
		return 0;
	*why++ = '\0';
	why[strcspn(why, "\n")] = '\0';
	if (strcmp(text, key) != 0)
		return 0;
	*ret_why = strdup(why);
	return *ret_why != NULL;
}

static void keep(int cache_dir_fd, const char *key, const char *why)
{
	_cleanup_free_ char *text = NULL;

	if (key && asprintf(&text, "%s\n%s\n", key, why) > 0)
		io_replace_file(cache_dir_fd, "accel", text, strlen(text), 0600, NULL);
}

static int scratch(const char *name, off_t size, int *ret)
{
	*ret = memfd_create(name, MFD_CLOEXEC);
	return *ret < 0 || ftruncate(*ret, size) < 0 ? -errno : 0;
}

/* The same file, open for reading alone, as a read-only disk's must be. */
static int reopen_readonly(int *fd)
{
	_cleanup_close_ int old = *fd;
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "/proc/self/fd/%d", old) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

/* A VM that has nothing but a kernel and our agent. */
static int probe(
	struct helper *h, int kernel_dir_fd, int dir_fd, unsigned timeout_msec, struct op *op, struct err *e)
{
	struct helper_launch what = {.memory = PROBE_MEMORY,
		.vcpus = 1,
		.accel = HELPER_ACCEL_KVM,
		.storage = HELPER_STORAGE_OVERLAY,
		.no_network = true,
		.console_max = PROBE_CONSOLE};
	struct helper_process process;
	struct guest_spec spec = {.probe = true};
	int pidfd = -EBADF, agent = -EBADF, r;
	char boot_id[40];
	struct pollfd p;

	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		what.fds[i] = -EBADF;
	what.fds[LAUNCH_FD_KERNEL] = openat(kernel_dir_fd, "vmlinux", O_RDONLY | O_CLOEXEC);
	r = what.fds[LAUNCH_FD_KERNEL] < 0 ? err_sys(e, -errno, "vmlinux") : 0;
	if (r == 0)
		r = kernel_initramfs_for(kernel_dir_fd, &spec, &what.fds[LAUNCH_FD_INITRD], e);
	for (int i = LAUNCH_FD_IMAGE; r == 0 && i <= LAUNCH_FD_EXIT; i++)
		if (scratch("banger-probe", 1 << 20, &what.fds[i]) < 0)
			r = err_sys(e, -errno, "probe");
	if (r == 0 && (r = reopen_readonly(&what.fds[LAUNCH_FD_IMAGE])) < 0)
		r = err_sys(e, r, "probe");
	if (r == 0)
		r = engine_listen(dir_fd, ENGINE_QMP_SOCKET, &what.fds[LAUNCH_FD_QMP], e);
	if (r == 0)
		r = engine_listen(dir_fd, ENGINE_AGENT_SOCKET, &what.fds[LAUNCH_FD_AGENT], e);
	if (r == 0)
		r = engine_listen(dir_fd, ENGINE_TTY_SOCKET, &what.fds[LAUNCH_FD_TTY], e);
	if (r == 0)
		r = helper_launch(h, op_id(op), ENGINE_PROBE_VM, &what, &process, &pidfd, e);
	if (r == 0) {
		r = engine_wait_agent(dir_fd, pidfd, timeout_msec, op_cancel_fd(op), &agent, boot_id, e);
		helper_signal(h, op_id(op), ENGINE_PROBE_VM, HELPER_SIGKILL, NULL);
		p = (struct pollfd){.fd = pidfd, .events = POLLIN};
		poll(&p, 1, 5000);
	}
	helper_release(h, op_id(op), ENGINE_PROBE_VM, NULL);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		close_fd(what.fds[i]);
	close_fd(pidfd);
	close_fd(agent);
	return r;
}

/* In a folder of its own, which goes again. */
static int probe_in_folder(struct helper *h, int kernel_dir_fd, int cache_dir_fd, unsigned timeout_msec,
	struct op *op, struct err *e)
{
	static const char *const names[] = {ENGINE_QMP_SOCKET, ENGINE_AGENT_SOCKET, ENGINE_TTY_SOCKET};
	_cleanup_close_ int dir = -EBADF;
	int r;

	if (mkdirat(cache_dir_fd, "probe", 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "probe");
	dir = openat(cache_dir_fd, "probe", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, -errno, "probe");
	r = probe(h, kernel_dir_fd, dir, timeout_msec, op, e);
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		unlinkat(dir, names[i], 0);
	unlinkat(cache_dir_fd, "probe", AT_REMOVEDIR);
	return r;
}

int engine_prove_accel(struct helper *h, const char *want, int kernel_dir_fd, int cache_dir_fd,
	unsigned timeout_msec, struct op *op, enum helper_accel *ret, char **ret_why, struct err *e)
{
	_cleanup_free_ char *key = NULL, *why = NULL;
	_cleanup_err_ struct err failed = {0};
	const char *lack;
	int r;

	if (strcmp(want, "tcg") == 0) {
		*ret = HELPER_ACCEL_TCG;
		*ret_why = strdup("the setting accel is tcg");
		return *ret_why ? 0 : err_sys(e, -ENOMEM, "accelerator");
	}
	key = cache_key(kernel_dir_fd);
	if (!cached(cache_dir_fd, key, &why)) {
		lack = kvm_lacks();
		if (lack) {
			why = strdup(lack);
		} else {
			r = probe_in_folder(h, kernel_dir_fd, cache_dir_fd, timeout_msec, op, &failed);
			if (r == -EINTR || r == -ECONNREFUSED)
				return err_move(e, &failed);
			if (r == 0)
				why = strdup("");
			else if (asprintf(&why, "a guest didn't come up with KVM: %s", err_text(&failed)) < 0)
				why = NULL;
		}
		if (!why)
			return err_sys(e, -ENOMEM, "accelerator");
		keep(cache_dir_fd, key, why);
	}
	if (*why && strcmp(want, "kvm") == 0)
		return err_set(e, -ENODEV, "KVM cannot be used: %s: set config/accel to auto or tcg", why);
	*ret = *why ? HELPER_ACCEL_TCG : HELPER_ACCEL_KVM;
	*ret_why = TAKE_PTR(why);
	return 0;
}
