#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "processes.h"

/* Fields of /proc/PID/stat behind the program's name (proc(5)): the 3rd and the 9th. */
#define FIELD_STATE 0
#define FIELD_FLAGS 6
#define STAT_MAX    4096

#define KERNEL_THREAD 0x00200000 /* in its flags: PF_KTHREAD (include/linux/sched.h, since 2.6.27) */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

size_t processes_list(int proc, uint32_t **ret)
{
	int fd = fcntl(proc, F_DUPFD_CLOEXEC, 3);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	uint32_t *pids = NULL, *more;
	size_t n = 0, room = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		uint64_t pid;

		if (!isdigit((unsigned char)entry->d_name[0]) ||
			parse_u64(entry->d_name, 1, UINT32_MAX, &pid) < 0)
			continue;
		if (n == room) {
			room = room ? room * 2 : 256;
			more = realloc(pids, room * sizeof(*pids));
			if (!more)
				break;
			pids = more;
		}
		pids[n++] = (uint32_t)pid;
	}
	if (n > 0)
		qsort(pids, n, sizeof(*pids), by_number);
	*ret = pids;
	return n;
}

/* Somebody who has just gone isn't there any more. */
static bool runs(int proc, uint32_t pid)
{
	_cleanup_free_ char *path = NULL, *stat = NULL;
	const char *state = "";
	uint64_t flags = 0;
	char *rest, *word;
	int r;

	if (asprintf(&path, "%u/stat", pid) < 0) {
		path = NULL;
		return true;
	}
	r = io_read_file(proc, path, STAT_MAX, &stat, NULL, NULL);
	if (r < 0)
		return r != -ENOENT && r != -ESRCH;
	/* The name may have blanks and parentheses of its own. */
	rest = strrchr(stat, ')');
	if (!rest)
		return true;
	rest += strspn(rest, ") ");
	for (int i = 0; i <= FIELD_FLAGS; i++) {
		word = strsep(&rest, " ");
		if (!word)
			return true;
		if (i == FIELD_STATE)
			state = word;
		else if (i == FIELD_FLAGS && parse_u64(word, 0, UINT64_MAX, &flags) < 0)
			return true;
	}
	return *state != 'Z' && *state != 'X' && !(flags & KERNEL_THREAD);
}

bool processes_others_run(void)
{
	_cleanup_close_ int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ uint32_t *pids = NULL;
	size_t n = proc < 0 ? 0 : processes_list(proc, &pids);

	for (size_t i = 0; i < n; i++)
		if (pids[i] != 1 && pids[i] != (uint32_t)getpid() && runs(proc, pids[i]))
			return true;
	return n == 0;
}
