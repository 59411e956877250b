#include "offline/repair.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/proc.h"
#include "image/sandbox.h"

#define SUPER_AT     1024          /* bytes into the disk */
#define DISK_MAX     (16ull << 40) /* image/disk.c */
#define CPU_SECONDS  600           /* an 8 GiB disk with 30000 files takes 0.04 (tests/bench) */
#define TIMEOUT_MSEC 1800000
#define UNCORRECTED  4 /* e2fsck(8): of its exit code */
#define DISK_NAME    "/proc/self/fd/0"

enum repair_state repair_state(const struct ext2_super_block *s)
{
	if ((s->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) || s->s_last_orphan ||
		(s->s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT) ||
		(s->s_state & EXT2_ERROR_FS))
		return REPAIR_JOURNAL;
	return s->s_state & EXT2_VALID_FS ? REPAIR_CLEAN : REPAIR_CUT_OFF;
}

int repair_probe(int fd, enum repair_state *ret, struct err *e)
{
	struct ext2_super_block super;
	ssize_t n = pread(fd, &super, sizeof(super), SUPER_AT);

	if (n < 0)
		return err_sys(e, -errno, "its disk");
	if ((size_t)n < sizeof(super) || super.s_magic != EXT2_SUPER_MAGIC)
		return err_set(e, -EIO, "its disk has no file system: start it to see what its kernel says");
	*ret = repair_state(&super);
	return 0;
}

int repair_run(int fd, enum repair_state state, int cancel_fd, struct err *e)
{
	const char *argv[] = {
		"/proc/self/exe", REPAIR_ARGUMENT, state == REPAIR_CUT_OFF ? "-fy" : "-p", NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err mine = {0};
	enum repair_state after;
	int code = 0, r;

	spec.argv = argv;
	spec.stdin_fd = fd;
	spec.cancel_fd = cancel_fd;
	spec.timeout_msec = TIMEOUT_MSEC;
	r = proc_run(&spec, NULL, NULL, &code, &mine);
	/* Below that bit it has made good what there was. */
	if (r == -EIO && code > 0 && code < UNCORRECTED)
		r = 0;
	if (r == -EIO && code == 127)
		return err_set(e, -ENOENT,
			"its disk was not unmounted, and there is no e2fsck to make it good: apt install "
			"e2fsprogs, or start it");
	if (r == -EIO)
		return err_set(e, -EUCLEAN,
			"its disk was not unmounted, and e2fsck could not make it good (exit code %d): start "
			"it, and look in the guest",
			code);
	if (r < 0)
		return err_move(e, &mine);
	r = repair_probe(fd, &after, e);
	if (r == 0 && after != REPAIR_CLEAN)
		return err_set(
			e, -EUCLEAN, "its disk is not clean after e2fsck: start it, and look in the guest");
	return r;
}

int repair_main(int argc, char **argv)
{
	static char *const programs[] = {(char *)"/sbin/e2fsck", (char *)"/usr/sbin/e2fsck"};
	static char *const nothing[] = {NULL};

	if (argc != 3 || (strcmp(argv[2], "-p") != 0 && strcmp(argv[2], "-fy") != 0)) {
		fprintf(stderr, REPAIR_ARGUMENT ": only for banger-fsd itself\n");
		_exit(2);
	}
	if (sandbox_enter_program(DISK_MAX, CPU_SECONDS, STDIN_FILENO, NULL) < 0)
		_exit(UNCORRECTED);
	for (size_t i = 0; i < ELEMENTSOF(programs); i++) {
		char *args[] = {programs[i], argv[2], (char *)DISK_NAME, NULL};

		execve(programs[i], args, nothing);
	}
	_exit(127);
}
