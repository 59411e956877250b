/* What zlib alone takes for a gzip file, its sum left out, its input in memory and its output nobody's: inflate FILE. Prints milliseconds of a processor. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "banger/io.h"
#include "image/inflate.h"

#define BLOCK (1u << 20) /* what an image's worker unpacks at a time */

int main(int argc, char **argv)
{
	static uint8_t plain[BLOCK];
	_cleanup_(inflate_freep) struct inflate *f = NULL;
	_cleanup_free_ char *packed = NULL;
	_cleanup_err_ struct err e = {0};
	const uint8_t *in;
	struct timespec began, now;
	size_t n;
	int r = argc == 2 ? io_read_file(AT_FDCWD, argv[1], (size_t)1 << 30, &packed, &n, &e) : -EINVAL;

	if (r == 0)
		r = inflate_new(INFLATE_ZLIB, &f, &e);
	if (r < 0) {
		fprintf(stderr, "inflate: %s\n", err_text(&e));
		return 1;
	}
	inflate_unverified(f);
	in = (const uint8_t *)packed;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
	while (r == 0 && n > 0) {
		uint8_t *out = plain;
		size_t room = sizeof(plain);

		r = inflate_step(f, &in, &n, &out, &room, &e);
	}
	if (r != 1 || n > 0) {
		fprintf(stderr, "inflate: %s\n", r < 0 ? err_text(&e) : "not one member, whole");
		return 1;
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	printf("%ld\n", (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000);
	return 0;
}
