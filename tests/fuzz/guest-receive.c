/*
 * What a host may send to the program that takes a checkout in: whatever it is, nothing outside the folder is touched, and the program comes to its
 * end. The input is its standard input, after a BEGIN; the first byte says whether it may overwrite.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "guest/beneath.c"
#include "guest/receive.c"

static char top[] = "/tmp/banger-fuzz-XXXXXX";
static int null, out; /* where the program's words go, where the test's */

static void end(void)
{
	beneath_remove(AT_FDCWD, top);
}

static void begin(void)
{
	char outside[64];
	int fd;

	if (!mkdtemp(top) || atexit(end) != 0)
		abort();
	snprintf(outside, sizeof(outside), "%s/outside", top);
	fd = open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || null < 0 || out < 0)
		abort();
	close(fd);
}

/* The folder as each input finds it: a file, a folder, links that lead out. */
static void make(const char *folder)
{
	_cleanup_close_ int dir = -EBADF, file = -EBADF;

	if (mkdir(folder, 0755) < 0 || (dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
		mkdirat(dir, "d", 0755) < 0 || symlinkat("..", dir, "up") < 0 ||
		symlinkat("../outside", dir, "out") < 0 ||
		(file = openat(dir, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int begun;
	uint32_t front[4] = {8, WORKSPACE_BEGIN, WORKSPACE_VERSION, 0};
	_cleanup_close_ int in = memfd_create("fuzz", MFD_CLOEXEC), dir = -EBADF;
	char folder[64];
	struct stat st;
	DIR *list;
	int count = 0;

	if (!begun++)
		begin();
	if (size == 0)
		return 0;
	front[3] = data[0] & WORKSPACE_FORCE;
	snprintf(folder, sizeof(folder), "%s/in", top);
	make(folder);
	if (in < 0 || write(in, front, sizeof(front)) < 0 || write(in, data + 1, size - 1) < 0 ||
		lseek(in, 0, SEEK_SET) < 0 || dup2(in, STDIN_FILENO) < 0)
		abort();
	if (dup2(null, STDOUT_FILENO) < 0)
		abort();
	receive_run(folder);
	if (dup2(out, STDOUT_FILENO) < 0)
		abort();
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fstatat(dir, "outside", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
		st.st_size != 0 || st.st_nlink != 1)
		abort();
	list = opendir(top);
	while (list && readdir(list))
		count++;
	closedir(list);
	/* ".", "..", "outside", "in". */
	if (count != 4 || beneath_remove(dir, "in") < 0)
		abort();
	return 0;
}
