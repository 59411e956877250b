/*
 * Times open + read to the end + close of a file: readloop FILE ROUNDS prints the median and the 99th percentile in
 * nanoseconds, as "MEDIAN P99".
 */
#include <fcntl.h>
#include <stdint.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/parse.h"

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	_cleanup_free_ uint64_t *times = NULL;
	uint64_t rounds;
	char buf[4096];

	if (argc != 3 || parse_u64(argv[2], 1, 1000000, &rounds) < 0)
		return 2;
	times = calloc(rounds, sizeof(*times));
	if (!times)
		return 1;
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t began = now();
		int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
		ssize_t n, total = 0;

		if (fd < 0) {
			perror(argv[1]);
			return 1;
		}
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			total += n;
		close(fd);
		times[i] = now() - began;
		if (total == 0) {
			fprintf(stderr, "%s: empty\n", argv[1]);
			return 1;
		}
	}
	qsort(times, rounds, sizeof(*times), compare);
	printf("%lu %lu\n", times[rounds / 2], times[rounds * 99 / 100]);
	return 0;
}
