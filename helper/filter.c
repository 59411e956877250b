#include <errno.h>
#include <seccomp.h>

#include "banger/cleanup.h"
#include "filter.h"

/* What the calls use, libnl, libnftables and libc included. By name: a call that this architecture lacks is left out. */
static const char *const allowed[] = {
	/* memory and process */
	"brk",
	"mmap",
	"munmap",
	"mprotect",
	"mremap",
	"madvise",
	"exit",
	"exit_group",
	"getpid",
	"gettid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"uname",
	"prlimit64",
	"getrandom",
	"memfd_create",
	"futex",
	"rseq",
	"set_robust_list",
	"restart_syscall",
	"sysinfo",
	/* time and signals */
	"clock_gettime",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigaltstack",
	"wait4",
	"waitid",
	"tgkill",
	"kill",
	/* descriptors */
	"read",
	"write",
	"readv",
	"writev",
	"pread64",
	"pwrite64",
	"close",
	"close_range",
	"dup",
	"dup2",
	"dup3",
	"fcntl",
	"ioctl",
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"pipe2",
	"lseek",
	"fsync",
	"fdatasync",
	"ftruncate",
	"fallocate",
	"flock",
	/* files */
	"open",
	"openat",
	"openat2",
	"access",
	"faccessat",
	"faccessat2",
	"stat",
	"lstat",
	"fstat",
	"newfstatat",
	"statx",
	"statfs",
	"fstatfs",
	"readlink",
	"readlinkat",
	"getdents64",
	"mkdir",
	"mkdirat",
	"unlink",
	"unlinkat",
	"rmdir",
	"chmod",
	"fchmod",
	"fchmodat",
	"getcwd",
	"umask",
	/* sockets */
	"socket",
	"socketpair",
	"bind",
	"connect",
	"accept",
	"accept4",
	"listen",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"shutdown",
	/* what it is here for */
	"mount",
	"umount2",
	"pidfd_open",
	"pidfd_send_signal",
#if defined(__SANITIZE_ADDRESS__) || defined(BANGER_SANITIZED)
	/* The sanitizers' own, at the end of the program. */
	"clone",
	"clone3",
	"ptrace",
	"prctl",
	"sched_yield",
	"sched_getaffinity",
	"getppid",
	"set_tid_address",
	"personality",
	"arch_prctl",
	"msync",
	"process_vm_readv",
#endif
};

int filter_install(struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(allowed); i++) {
		int number = seccomp_syscall_resolve_name(allowed[i]);

		if (number != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	}
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? err_sys(e, r, "seccomp filter") : 0;
}
