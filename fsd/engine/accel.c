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

/* What a kept answer holds for: this boot, this kernel, this VMM. */
static char *cache_key(const struct engine *engine, int kernel_dir_fd)
{
	_cleanup_free_ char *boot = NULL, *version = NULL;
	_cleanup_close_ int program = -EBADF;
	struct stat st = {0};
	char *key = NULL;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL, NULL) < 0 ||
		io_read_file(kernel_dir_fd, "version", 256, &version, NULL, NULL) < 0)
		return NULL;
	boot[strcspn(boot, "\n")] = '\0';
	if (engine->open_program(&program, NULL) == 0)
		(void)!fstat(program, &st);
	return asprintf(&key, "%s %s %s %lld", boot, version, engine->name, (long long)st.st_mtime) < 0 ? NULL
													: key;
}

/* What is kept of a proof: "" (proven) or the reason, the caller's; NULL: nothing. That one engine came up is proof for all; that it didn't, for it alone. */
static char *kept(const struct engine *engine, int kernel_dir_fd, int cache_dir_fd)
{
	_cleanup_free_ char *text = NULL;
	const struct engine *by;
	char *why;

	if (io_read_file(cache_dir_fd, "accel", 4096, &text, NULL, NULL) < 0)
		return NULL;
	why = strchr(text, '\n');
	if (!why)
		return NULL;
	*why++ = '\0';
	why[strcspn(why, "\n")] = '\0';
	for (size_t i = 0; (by = engine_each(i)); i++) {
		_cleanup_free_ char *key = cache_key(by, kernel_dir_fd);

		if (key && strcmp(text, key) == 0 && (!*why || by == engine))
			return strdup(why);
	}
	return NULL;
}

static void keep(const struct engine *engine, int kernel_dir_fd, int cache_dir_fd, const char *why)
{
	_cleanup_free_ char *key = cache_key(engine, kernel_dir_fd), *text = NULL;

	if (!key || asprintf(&text, "%s\n%s\n", key, why) < 0) {
		text = NULL;
		return;
	}
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

struct probe {
	struct helper *helper;
	const struct engine *engine;
	int kernel_dir_fd, cache_dir_fd;
	unsigned timeout_msec;
	struct op *op;
};

static int launch_probe(
	const struct probe *p, int dir_fd, const int fds[LAUNCH_FD_COUNT], int *ret_pidfd, struct err *e)
{
	const struct engine_machine machine = {
		.memory = PROBE_MEMORY, .vcpus = 1, .vm = ENGINE_PROBE_VM, .tap = ""};
	struct helper_launch what = {.memory = PROBE_MEMORY,
		.vcpus = 1,
		.accel = HELPER_ACCEL_KVM,
		.storage = HELPER_STORAGE_OVERLAY,
		.engine = p->engine->id,
		.no_network = true,
		.console_max = PROBE_CONSOLE};
	_cleanup_free_ char *note = NULL;
	struct helper_process process;
	int r = p->engine->jailed ? helper_jail(p->helper, op_id(p->op), ENGINE_PROBE_VM, e) : 0;

	memcpy(what.fds, fds, sizeof(what.fds));
	if (r == 0)
		r = helper_launch(p->helper, op_id(p->op), ENGINE_PROBE_VM, &what, &process, ret_pidfd, e);
	if (r == 0 && p->engine->boot)
		r = p->engine->boot(dir_fd, *ret_pidfd, &machine, p->op, &note, e);
	return r;
}

/* A VM that has nothing but a kernel and our agent, in a folder of its own, which goes again. */
static int probe(const struct probe *p, struct err *e)
{
	_cleanup_close_ int runs = -EBADF, dir = -EBADF, pidfd = -EBADF, agent = -EBADF;
	struct guest_spec spec = {.probe = true};
	int fds[LAUNCH_FD_COUNT], r = 0;
	char boot_id[40], name[16];
	struct pollfd end;

	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		fds[i] = -EBADF;
	snprintf(name, sizeof(name), "%u", ENGINE_PROBE_VM);
	if (mkdirat(p->cache_dir_fd, ENGINE_RUNS, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, ENGINE_RUNS);
	runs = openat(p->cache_dir_fd, ENGINE_RUNS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds[LAUNCH_FD_KERNEL] = openat(p->kernel_dir_fd, "vmlinux", O_RDONLY | O_CLOEXEC);
	if (runs < 0 || fds[LAUNCH_FD_KERNEL] < 0)
		r = err_sys(e, -errno, "vmlinux");
	if (r == 0)
		r = kernel_initramfs_for(p->kernel_dir_fd, &spec, &fds[LAUNCH_FD_INITRD], e);
	for (int i = LAUNCH_FD_IMAGE; r == 0 && i <= LAUNCH_FD_EXIT; i++)
		if (scratch("banger-probe", 1 << 20, &fds[i]) < 0)
			r = err_sys(e, -errno, "probe");
	if (r == 0 && (r = reopen_readonly(&fds[LAUNCH_FD_IMAGE])) < 0)
		r = err_sys(e, r, "probe");
	if (r == 0)
		r = engine_make_folder(p->engine, runs, name, fds, &dir, e);
	if (r == 0)
		r = launch_probe(p, dir, fds, &pidfd, e);
	if (r == 0)
		r = engine_wait_agent(dir, pidfd, p->timeout_msec, op_cancel_fd(p->op), &agent, boot_id, e);
	if (pidfd >= 0) {
		helper_signal(p->helper, op_id(p->op), ENGINE_PROBE_VM, HELPER_SIGKILL, NULL);
		end = (struct pollfd){.fd = pidfd, .events = POLLIN};
		poll(&end, 1, 5000);
	}
	helper_release(p->helper, op_id(p->op), ENGINE_PROBE_VM, NULL);
	engine_remove_folder(runs, name);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		close_fd(fds[i]);
	return r;
}

int engine_prove_accel(struct helper *h, const struct engine *engine, const char *want, int kernel_dir_fd,
	int cache_dir_fd, unsigned timeout_msec, struct op *op, enum helper_accel *ret, char **ret_why,
	struct err *e)
{
	const struct probe p = {.helper = h,
		.engine = engine,
		.kernel_dir_fd = kernel_dir_fd,
		.cache_dir_fd = cache_dir_fd,
		.timeout_msec = timeout_msec,
		.op = op};
	_cleanup_free_ char *why = NULL;
	_cleanup_err_ struct err failed = {0};
	const char *lack;
	int r;

	if (strcmp(want, "tcg") == 0) {
		*ret = HELPER_ACCEL_TCG;
		*ret_why = strdup("the setting accel is tcg");
		return *ret_why ? 0 : err_sys(e, -ENOMEM, "accelerator");
	}
	why = kept(engine, kernel_dir_fd, cache_dir_fd);
	if (!why) {
		lack = kvm_lacks();
		if (lack) {
			why = strdup(lack);
		} else {
			r = probe(&p, &failed);
			if (r == -EINTR || r == -ECONNREFUSED)
				return err_move(e, &failed);
			if (r == 0)
				why = strdup("");
			else if (asprintf(&why, "a guest didn't come up with KVM: %s", err_text(&failed)) < 0)
				why = NULL;
		}
		if (!why)
			return err_sys(e, -ENOMEM, "accelerator");
		keep(engine, kernel_dir_fd, cache_dir_fd, why);
	}
	if (*why && strcmp(want, "kvm") == 0)
		return err_set(e, -ENODEV, "KVM cannot be used: %s: set config/accel to auto or tcg", why);
	*ret = *why ? HELPER_ACCEL_TCG : HELPER_ACCEL_KVM;
	*ret_why = TAKE_PTR(why);
	return 0;
}
