#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/landlock.h"
#include "image/sandbox.h"

#define PROGRAM_FDS 32

/* By name: a call that this architecture lacks is left out. */
static const char *const allowed[] = {
	/* memory, threads, the end */
	"brk",
	"munmap",
	"mremap",
	"madvise",
	"futex",
	"set_robust_list",
	"rseq",
	"sched_yield",
	"sched_getaffinity",
	"membarrier",
	"exit",
	"exit_group",
	"restart_syscall",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	/* what libraries ask */
	"getpid",
	"gettid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"uname",
	"sysinfo",
	"getrandom",
	"clock_gettime",
	"gettimeofday",
	"clock_nanosleep",
	"nanosleep",
	/* descriptors */
	"read",
	"write",
	"readv",
	"writev",
	"pread64",
	"pwrite64",
	"lseek",
	"_llseek",
	"fstat",
	"newfstatat", /* fstat() of glibc; what it tells of a path is no contents */
	"ftruncate",
	"fallocate",
	"fadvise64",
	"fsync",
	"fdatasync",
	"sync_file_range",
	"sync_file_range2",
	"close",
	"poll",
	"ppoll",
	"eventfd2",
#if SANDBOX_ASAN
	"sigaltstack",
	"getppid",
	"msync",
	"arch_prctl",
#endif
};

/* What reading a folder takes; the first only for reading. */
static const char *const for_folders[] = {"openat", "getdents64", "readlinkat", "listxattr", "getxattr"};

/* What a program takes beside that to begin; what it may open is Landlock's to say. */
static const char *const for_programs[] = {"execve", "openat", "open", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "statx", "stat", "lstat", "getdents64", "mmap", "mprotect", "arch_prctl",
	"set_tid_address", "getrusage", "times", "alarm"};

/* What libraries try and can do without. */
static const struct {
	const char *name;
	int error;
} refused[] = {
	{"open", EACCES}, {"openat", EACCES}, {"access", EACCES}, {"faccessat", EACCES},
	{"faccessat2", EACCES}, {"stat", EACCES}, {"lstat", EACCES}, {"statx", EACCES}, {"readlink", EACCES},
	{"readlinkat", EACCES}, {"ioctl", ENOTTY}, {"prctl", EPERM},
	{"clone3", ENOSYS}, /* its flags are out of a filter's sight; glibc goes on with clone */
};

/* Those that hang on an argument: argument ARG, of which MASK are the bits that count, has VALUE. */
struct partly {
	const char *name;
	unsigned arg;
	uint64_t mask, value;
};

static int allow(scmp_filter_ctx filter, const char *const *names, size_t n)
{
	int r = 0, number;

	for (size_t i = 0; r == 0 && i < n; i++)
		if ((number = seccomp_syscall_resolve_name(names[i])) != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	return r;
}

static bool is_for_folders(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(for_folders); i++)
		if (strcmp(for_folders[i], name) == 0)
			return true;
	return false;
}

static int add_rules(scmp_filter_ctx filter, bool folders)
{
	const struct partly partly[] = {
		{"mmap", 2, PROT_EXEC, 0},
		{"mprotect", 2, PROT_EXEC, 0},
		{"clone", 0, CLONE_THREAD, CLONE_THREAD},
		{"prlimit64", 0, UINT32_MAX, 0}, /* its own */
		{"tgkill", 0, UINT32_MAX, (uint64_t)getpid()},
		{"fcntl", 1, UINT32_MAX, F_GETFD},
		{"fcntl", 1, UINT32_MAX, F_GETFL},
		{"fcntl", 1, UINT32_MAX, F_DUPFD_CLOEXEC},
	};
	const struct scmp_arg_cmp to_read = {
		2, SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY), O_RDONLY};
	int r = allow(filter, allowed, ELEMENTSOF(allowed)), number;

	if (r == 0 && folders)
		r = allow(filter, for_folders + 1, ELEMENTSOF(for_folders) - 1);
	if (r == 0 && folders)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, &to_read);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(refused); i++)
		if (!(folders && is_for_folders(refused[i].name)) &&
			(number = seccomp_syscall_resolve_name(refused[i].name)) != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)refused[i].error), number, 0);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(partly); i++) {
		const struct scmp_arg_cmp cmp = {
			partly[i].arg, SCMP_CMP_MASKED_EQ, partly[i].mask, partly[i].value};

		if ((number = seccomp_syscall_resolve_name(partly[i].name)) != __NR_SCMP_ERROR)
			r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &cmp);
	}
	return r;
}

static int enter_seccomp(bool folders, struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter ? add_rules(filter, folders) : -ENOMEM;

	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_sys(e, r, "seccomp filter") : 0;
}

/* A program of somebody else's, of any version: what is not known is refused, and not its end. */
static int enter_seccomp_program(struct err *e)
{
	const struct scmp_arg_cmp own = {0, SCMP_CMP_EQ, 0, 0};
	const struct scmp_arg_cmp thread = {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? allow(filter, allowed, ELEMENTSOF(allowed)) : -ENOMEM;

	if (r == 0)
		r = allow(filter, for_programs, ELEMENTSOF(for_programs));
	/* Limits of its own, to be read or lowered. */
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, &own);
	/* It reads in several at once; the flags of clone3 are out of a filter's sight, and glibc goes on with clone. */
	if (r == 0)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_sys(e, r, "seccomp filter") : 0;
}

/* Never above what it has already. */
static int limit(__rlimit_resource_t what, rlim_t to, struct err *e)
{
	struct rlimit l;

	if (getrlimit(what, &l) < 0)
		return err_sys(e, -errno, "limits");
	l.rlim_max = l.rlim_max < to ? l.rlim_max : to;
	l.rlim_cur = l.rlim_max;
	return setrlimit(what, &l) < 0 ? err_sys(e, -errno, "limits") : 0;
}

static int enter_limits(uint64_t file_max, unsigned fds, struct err *e)
{
	int r = limit(RLIMIT_CORE, 0, e);

	if (r == 0)
		r = limit(RLIMIT_FSIZE, file_max, e);
	if (r == 0)
		r = limit(RLIMIT_NOFILE, fds, e);
	if (r == 0 && !SANDBOX_ASAN)
		r = limit(RLIMIT_AS, SANDBOX_MEMORY, e);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_sys(e, -errno, "no_new_privs");
	return r;
}

int sandbox_enter(uint64_t file_max, unsigned fds, int below, struct err *e)
{
	const struct landlock_rule rule = {below, LANDLOCK_READ | LANDLOCK_READ_DIR};
	int r = enter_limits(file_max, fds, e);

	if (r == 0)
		r = landlock_enter(&rule, 1, e);
	return r == 0 ? enter_seccomp(below >= 0, e) : r;
}

int sandbox_enter_program(uint64_t file_max, unsigned cpu_seconds, int disk, struct err *e)
{
	/* Programs, libraries, and what those look into; no file of anybody's. */
	static const struct {
		const char *path;
		uint64_t rights;
	} places[] = {
		{"/usr", LANDLOCK_EXECUTE | LANDLOCK_READ | LANDLOCK_READ_DIR},
		{"/lib", LANDLOCK_EXECUTE | LANDLOCK_READ | LANDLOCK_READ_DIR},
		{"/lib64", LANDLOCK_EXECUTE | LANDLOCK_READ | LANDLOCK_READ_DIR},
		{"/sbin", LANDLOCK_EXECUTE | LANDLOCK_READ | LANDLOCK_READ_DIR},
		{"/etc/ld.so.cache", LANDLOCK_READ},
		{"/dev/null", LANDLOCK_READ | LANDLOCK_WRITE},
	};
	struct landlock_rule rules[ELEMENTSOF(places) + 1];
	int r = enter_limits(file_max, PROGRAM_FDS, e);

	for (size_t i = 0; i < ELEMENTSOF(places); i++)
		rules[i] = (struct landlock_rule){open(places[i].path, O_PATH | O_CLOEXEC), places[i].rights};
	rules[ELEMENTSOF(places)] = (struct landlock_rule){disk, LANDLOCK_READ | LANDLOCK_WRITE};
	if (r == 0)
		r = limit(RLIMIT_CPU, cpu_seconds, e);
	if (r == 0)
		r = landlock_enter(rules, ELEMENTSOF(rules), e);
	for (size_t i = 0; i < ELEMENTSOF(places); i++)
		close_fd(rules[i].fd);
	return r == 0 ? enter_seccomp_program(e) : r;
}
