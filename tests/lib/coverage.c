/*
 * Linked into what `make COVERAGE=1` builds: where a program leaves its counts when it ends. Helper, daemon and owner's command are different users, under a umask that
 * keeps each out of the other's files; so each user has a folder of his own, and scripts/coverage adds them up. GCOV_PREFIX and GCOV_ERROR_FILE are
 * libgcov's (gcc's manual, "Data File Relocation to Support Cross-Profiling"); it reads them as it writes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* As it ends, and before libgcov's own, which has a priority: the helper begins by emptying its environment. */
__attribute__((destructor)) static void coverage_place(void)
{
	char *dir = NULL;

	if (asprintf(&dir, BANGER_COVERAGE "/%u", geteuid()) < 0)
		return;
	mkdir(dir, 0700);
	setenv("GCOV_PREFIX", dir, 1);
	/* Who can't write says nothing: a case compares what programs say. */
	setenv("GCOV_ERROR_FILE", "/dev/null", 1);
	free(dir);
}
