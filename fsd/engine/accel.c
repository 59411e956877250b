#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "engine/engine.h"
#include "kernel/kernel.h"

#define TSC_USEC      20000
#define PROBE_MEMORY  (128ull << 20)
#define PROBE_CONSOLE 65536
#define CACHE_MAX     16384

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

/* What a kept answer holds for: this boot, this kernel, these programs. No blank at its end. */
static char *cache_key(const struct engine *engine, int kernel_dir_fd)
{
	_cleanup_free_ char *boot = NULL, *version = NULL, *programs = NULL;
	char *key = NULL;

	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, NULL, NULL) < 0 ||
		io_read_file(kernel_dir_fd, "version", 256, &version, NULL, NULL) < 0 ||
		engine->programs(&programs, NULL) < 0)
		return NULL;
	boot[strcspn(boot, "\n")] = '\0';
	version[strcspn(version, "\n")] = '\0';
	return asprintf(&key, "%s %s %s %s", engine->name, boot, version, programs) < 0 ? NULL : key;
}

/* The next record of *REST, an answer behind its key: a line. Modifies it. */
static bool next_record(char **rest, char **ret_key, char **ret_why)
{
	char *line;

	while ((line = strsep(rest, "\n"))) {
		*ret_why = strchr(line, '\t');
		if (!*ret_why)
			continue;
		*(*ret_why)++ = '\0';
		*ret_key = line;
		return true;
	}
	return false;
}

/* What is kept of a proof with ENGINE: "" (proven) or the reason, the caller's; NULL: nothing. */
static char *kept(const struct engine *engine, int kernel_dir_fd, int cache_dir_fd)
{
	_cleanup_free_ char *text = NULL, *key = cache_key(engine, kernel_dir_fd);
	char *rest, *of, *why;

	if (!key || io_read_file(cache_dir_fd, "accel", CACHE_MAX, &text, NULL, NULL) < 0)
		return NULL;
	rest = text;
	while (next_record(&rest, &of, &why))
		if (strcmp(of, key) == 0)
			return strdup(why);
	return NULL;
}

/* Beside what is kept of other engines. */
static void keep(const struct engine *engine, int kernel_dir_fd, int cache_dir_fd, const char *why)
{
	_cleanup_free_ char *key = cache_key(engine, kernel_dir_fd), *text = NULL;
	const struct engine *other;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	if (key)
		fprintf(out, "%s\t%s\n", key, why);
	for (size_t i = 0; (other = engine_each(i)); i++) {
		_cleanup_free_ char *theirs = other == engine ? NULL : cache_key(other, kernel_dir_fd),
				    *said = other == engine ? NULL : kept(other, kernel_dir_fd, cache_dir_fd);

		if (theirs && said)
			fprintf(out, "%s\t%s\n", theirs, said);
	}
	if (fclose(out) == 0)
		io_replace_file(cache_dir_fd, "accel", text, size, 0600, NULL);
}

char *engine_said(int cache_dir_fd)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *key, *why, *first = NULL;

	if (io_read_file(cache_dir_fd, "accel", CACHE_MAX, &text, NULL, NULL) < 0)
		return NULL;
	rest = text;
	while (next_record(&rest, &key, &why))
		if (!*why || !first)
			first = why;
	return first ? strdup(first) : NULL;
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
	const struct engine_wish *wish;
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

/* What a VMM that ended by itself had to say about it. */
static void add_last_words(int exit_fd, struct err *e)
{
	_cleanup_(engine_exit_clear) struct engine_exit x = {0};

	if (engine_await_exit(exit_fd, &x, NULL) == 0 && x.known && !x.signal && x.text && *x.text)
		err_join(e, "%.*s", (int)strcspn(x.text, "\n"), x.text);
}

/* A VM that has nothing but a kernel and our agent, in a folder of its own, which goes again. */
static int probe(const struct probe *p, struct err *e)
{
	_cleanup_close_ int runs = -EBADF, dir = -EBADF, pidfd = -EBADF, agent = -EBADF;
	uint8_t token[AGENT_TOKEN];
	struct guest_spec spec = {.probe = true, .token = token};
	int fds[LAUNCH_FD_COUNT], r = 0;
	char boot_id[40], name[16];
	struct pollfd end;

	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		fds[i] = -EBADF;
	snprintf(name, sizeof(name), "%u", ENGINE_PROBE_VM);
	if (mkdirat(p->wish->cache_dir_fd, ENGINE_RUNS, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, ENGINE_RUNS);
	runs = openat(p->wish->cache_dir_fd, ENGINE_RUNS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds[LAUNCH_FD_KERNEL] = openat(p->wish->kernel_dir_fd, "vmlinux", O_RDONLY | O_CLOEXEC);
	if (runs < 0 || fds[LAUNCH_FD_KERNEL] < 0)
		r = err_sys(e, -errno, "vmlinux");
	if (r == 0)
		r = engine_make_token(token, e);
	if (r == 0)
		r = kernel_initramfs_for(p->wish->kernel_dir_fd, &spec, &fds[LAUNCH_FD_INITRD], e);
	for (int i = LAUNCH_FD_IMAGE; r == 0 && i <= LAUNCH_FD_EXIT; i++)
		if (scratch("banger-probe", i < LAUNCH_FD_CONSOLE ? 1 << 20 : 0, &fds[i]) < 0)
			r = err_sys(e, -errno, "probe");
	if (r == 0 && (r = reopen_readonly(&fds[LAUNCH_FD_IMAGE])) < 0)
		r = err_sys(e, r, "probe");
	if (r == 0)
		r = engine_make_folder(p->engine, runs, name, token, fds, &dir, e);
	if (r == 0)
		r = launch_probe(p, dir, fds, &pidfd, e);
	if (r == 0)
		r = engine_wait_agent(
			dir, pidfd, p->wish->timeout_msec, op_cancel_fd(p->op), &agent, boot_id, e);
	if (pidfd >= 0) {
		helper_signal(p->helper, op_id(p->op), ENGINE_PROBE_VM, HELPER_SIGKILL, NULL);
		end = (struct pollfd){.fd = pidfd, .events = POLLIN};
		poll(&end, 1, 5000);
	}
	if (r < 0 && r != -EINTR && pidfd >= 0)
		add_last_words(fds[LAUNCH_FD_EXIT], e);
	helper_release(p->helper, op_id(p->op), ENGINE_PROBE_VM, NULL);
	engine_remove_folder(runs, name);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		close_fd(fds[i]);
	return r;
}

/* Proofs are of one VM's number and one folder: one at a time. Who waited for another's finds what that one kept. */
static pthread_mutex_t proving = PTHREAD_MUTEX_INITIALIZER;

static int proof_begin(const struct op *op, struct err *e)
{
	struct timespec until;
	int r = 0;

	do {
		r = op_check(op, e);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
	} while (r == 0 && pthread_mutex_timedlock(&proving, &until) == ETIMEDOUT);
	return r;
}

/* *RET_WHY "", or why KVM isn't to be used with this engine. */
static int try_proof(const struct probe *p, char **ret_why, struct err *e)
{
	_cleanup_err_ struct err failed = {0};
	const char *lack = kvm_lacks();
	int r = lack ? err_set(&failed, -ENODEV, "%s", lack) : 0;

	if (r == 0 && p->engine->check)
		r = p->engine->check(p->op, &failed);
	if (r == 0 && (r = probe(p, &failed)) < 0)
		err_wrap(&failed, "a guest didn't come up with KVM");
	if (r == -EINTR || r == -ECONNREFUSED)
		return err_move(e, &failed);
	*ret_why = strdup(r < 0 ? err_text(&failed) : "");
	if (!*ret_why)
		return err_sys(e, -ENOMEM, "accelerator");
	keep(p->engine, p->wish->kernel_dir_fd, p->wish->cache_dir_fd, *ret_why);
	return 0;
}

/* Likewise, where nothing is kept of a proof already. */
static int prove(const struct probe *p, char **ret_why, struct err *e)
{
	int r = 0;

	*ret_why = kept(p->engine, p->wish->kernel_dir_fd, p->wish->cache_dir_fd);
	if (*ret_why)
		return 0;
	r = proof_begin(p->op, e);
	if (r < 0)
		return r;
	*ret_why = kept(p->engine, p->wish->kernel_dir_fd, p->wish->cache_dir_fd);
	if (!*ret_why)
		r = try_proof(p, ret_why, e);
	pthread_mutex_unlock(&proving);
	return r;
}

/* With ENGINE: 0, or what is against it. */
static int try(const struct probe *p, enum helper_accel *ret_accel, char **ret_why, struct err *e)
{
	_cleanup_free_ char *why = NULL, *programs = NULL;
	bool tcg = strcmp(p->wish->accel, "tcg") == 0;
	int r = p->engine->programs(&programs, e);

	if (r < 0)
		return r;
	if (tcg)
		why = strdup("the setting accel is tcg");
	else if ((r = prove(p, &why, e)) < 0)
		return r;
	if (!why)
		return err_sys(e, -ENOMEM, "accelerator");
	if (*why && p->engine->needs_kvm)
		return err_set(e, -ENODEV, "%s: %s", p->engine->name, why);
	if (*why && strcmp(p->wish->accel, "kvm") == 0)
		return err_set(e, -ENODEV, "KVM cannot be used: %s: set config/accel to auto or tcg", why);
	*ret_accel = *why ? HELPER_ACCEL_TCG : HELPER_ACCEL_KVM;
	*ret_why = TAKE_PTR(why);
	return 0;
}

int engine_choose(struct helper *h, const struct engine_wish *wish, struct op *op, const struct engine **ret,
	enum helper_accel *ret_accel, char **ret_why, struct err *e)
{
	bool any = strcmp(wish->engine, "auto") == 0;
	_cleanup_free_ char *better = NULL, *why = NULL;
	struct probe p = {.helper = h, .wish = wish, .op = op};

	for (size_t i = 0; (p.engine = any ? engine_each(i) : engine_find(wish->engine)); i++) {
		_cleanup_err_ struct err mine = {0};
		int r = try(&p, ret_accel, &why, &mine);

		if (r == 0) {
			*ret = p.engine;
			/* Why not KVM says more than why not another engine. */
			*ret_why = *why || !better ? TAKE_PTR(why) : TAKE_PTR(better);
			return 0;
		}
		if (!any || !engine_each(i + 1) || r == -EINTR || r == -ECONNREFUSED)
			return err_move(e, &mine);
		/* That one isn't installed is no news. */
		if (r != -ENOENT && !better)
			better = strdup(err_text(&mine));
	}
	return err_set(e, -EINVAL, "there is no engine %s", wish->engine);
}
