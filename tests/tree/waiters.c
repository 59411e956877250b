/*
 * Many who wait on one file, and how long another reader takes meanwhile: waiters FILE N OTHER.
 *
 * N threads read FILE, another process polls N descriptors of it. Lines on standard output: `alone QUARTILE WORST`,
 * `parked QUARTILE WORST` (microseconds of an open, read and close of OTHER), then, when all reads have returned, `woken READS POLLED QUARTILE WORST`.
 * The lower quartile: what each request costs shows in it, and what else the machine does hardly.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "banger/io.h"
#include "banger/parse.h"

#define STACK     (64u * 1024)
#define LOOKS     1000
#define LOOKS_MAX (1u << 20)

static const char *file, *other;
static uint64_t count;
static int *fds;

/* Of both processes. */
static struct shared {
	_Atomic uint64_t begun, returned, polled;
} * shared;

static void *reader(void *arg)
{
	int fd = fds[(uintptr_t)arg];
	char text[64];

	atomic_fetch_add(&shared->begun, 1);
	if (read(fd, text, sizeof(text)) > 0)
		atomic_fetch_add(&shared->returned, 1);
	return NULL;
}

static void open_all(void)
{
	fds = calloc(count, sizeof(*fds));
	for (uint64_t i = 0; fds && i < count; i++) {
		fds[i] = open(file, O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0) {
			perror(file);
			_exit(1);
		}
	}
}

/* A process of its own, for the limit of descriptors is a process's. */
static void poller(void)
{
	struct pollfd *polls = calloc(count, sizeof(*polls));

	open_all();
	for (uint64_t i = 0; polls && i < count; i++)
		polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	for (uint64_t left = count; polls && left > 0;) {
		int n = poll(polls, count, left == count && atomic_load(&shared->begun) <= count ? 0 : -1);

		if (left == count && atomic_load(&shared->begun) <= count)
			atomic_fetch_add(&shared->begun, count);
		for (uint64_t i = 0; n > 0 && i < count; i++)
			if (polls[i].fd >= 0 && polls[i].revents) {
				atomic_fetch_add(&shared->polled, (polls[i].revents & POLLIN) != 0);
				polls[i].fd = -1;
				left--;
			}
	}
	_exit(0);
}

/* Requests of FILE's file system that have no answer (Documentation/filesystems/fuse.rst). */
static uint64_t waiting(void)
{
	char path[64], text[32] = "";
	struct stat st;
	uint64_t n;
	int fd;

	if (stat(file, &st) < 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/waiting", minor(st.st_dev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0) {
		perror(path);
		exit(1);
	}
	close(fd);
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, 0, UINT64_MAX, &n) == 0 ? n : 0;
}

static uint64_t look(void)
{
	uint64_t begin = io_now_usec();
	int fd = open(other, O_RDONLY | O_CLOEXEC);
	char text[4096];

	if (fd < 0 || read(fd, text, sizeof(text)) < 0) {
		perror(other);
		exit(1);
	}
	close(fd);
	return io_now_usec() - begin;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *what, uint64_t *took, size_t n)
{
	qsort(took, n, sizeof(*took), by_size);
	printf("%s %lu %lu\n", what, took[n / 4], took[n - 1]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static uint64_t took[LOOKS_MAX];
	pthread_attr_t attr;
	pthread_t thread;
	char what[64];
	size_t n = 0;
	pid_t pid;

	if (argc != 4 || parse_u64(argv[2], 1, 1000000, &count) < 0)
		return 2;
	file = argv[1];
	other = argv[3];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < LOOKS; i++)
		took[i] = look();
	report("alone", took, LOOKS);
	pid = fork();
	if (pid == 0)
		poller();
	open_all();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	for (uint64_t i = 0; i < count; i++)
		if ((errno = pthread_create(&thread, &attr, reader, (void *)(uintptr_t)i))) {
			perror("thread");
			return 1;
		}
	/* Asked for, and taken by the daemon, which has what it was asked for before this look. */
	while (atomic_load(&shared->begun) < 2 * count || waiting() < count)
		usleep(1000);
	look();
	for (size_t i = 0; i < LOOKS; i++)
		took[i] = look();
	report("parked", took, LOOKS);
	while (n < LOOKS_MAX &&
		(atomic_load(&shared->returned) < count || atomic_load(&shared->polled) < count)) {
		took[n++] = look();
		usleep(500);
	}
	snprintf(what, sizeof(what), "woken %lu %lu", atomic_load(&shared->returned),
		atomic_load(&shared->polled));
	report(what, took, n);
	return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
