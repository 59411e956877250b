/*
 * Runs a fuzz target over kept inputs, as TAP: each argument is a file, or a folder of files. A target that crashes ends
 * the program, which the harness sees. No input at all is a failure: a replay of nothing proves nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count;

static void replay_file(int dirfd, const char *name)
{
	_cleanup_free_ char *buf = NULL;
	size_t n = 0;
	_cleanup_err_ struct err e = {0};

	count++;
	if (io_read_file(dirfd, name, 64u << 20, &buf, &n, &e) < 0) {
		printf("not ok %u - %s: %s\n", count, name, err_text(&e));
		return;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)buf, n);
	printf("ok %u - %s\n", count, name);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		_cleanup_closedir_ DIR *dir = opendir(argv[i]);
		struct dirent *entry;

		if (!dir) {
			replay_file(AT_FDCWD, argv[i]);
			continue;
		}
		while ((entry = readdir(dir)))
			if (entry->d_name[0] != '.')
				replay_file(dirfd(dir), entry->d_name);
	}
	if (count == 0)
		printf("not ok 1 - no inputs\n");
	printf("1..%u\n", count ? count : 1);
	return 0;
}
