/*
 * helpercost SOCKET IMAGE FOLDER COUNT: what the helper takes for COUNT VMs that are never launched: tap, nat and root disk of each, and then all of it
 * gone. As the instance's owner; the VMs have the highest numbers there are. Prints microseconds, the median of each. With an IMAGE of `-` without
 * root disks, where the kernel has no device-mapper.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/helper_client.h"
#include "banger/io.h"
#include "banger/parse.h"

#define COUNT_MAX   64
#define FIRST_VM    (HELPER_VM_MAX - 1000)
#define FIRST_GUEST 800 /* of the subnet's 1022: where no VM is yet */
#define DISK_SIZE   (1ull << 30)

enum part { TAP, NAT, DISK, RELEASE, PARTS };

static const char *const part_names[PARTS] = {"tap", "nat", "disk", "release"};
static uint64_t taken[PARTS][COUNT_MAX];

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int open_cow(const char *folder, unsigned i, int *ret, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/cow-%u", folder, i) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "cow");
	}
	*ret = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (*ret < 0 || ftruncate(*ret, DISK_SIZE + (DISK_SIZE >> 7)) < 0)
		return err_sys(e, -errno, "%s", path);
	unlink(path);
	return 0;
}

static int disk_of(struct helper *h, uint32_t vm, int image, int cow, struct err *e)
{
	int fds[DISK_FD_COUNT] = {[DISK_FD_IMAGE] = image, [DISK_FD_COW] = cow}, fd = -EBADF;
	int r = helper_disk(h, 0, vm, HELPER_DISK_READ, DISK_SIZE, fds, &fd, e);

	close_fd(fd);
	return r;
}

static int up(struct helper *h, uint32_t network, const char *folder, int image, unsigned i, struct err *e)
{
	uint32_t vm = FIRST_VM + i, address = network + FIRST_GUEST + i;
	_cleanup_close_ int cow = -EBADF;
	uint64_t begin;
	int r = image < 0 ? 0 : open_cow(folder, i, &cow, e);

	if (r < 0)
		return r;
	begin = io_now_usec();
	r = helper_tap(h, 0, vm, address, e);
	taken[TAP][i] = io_now_usec() - begin;
	begin = io_now_usec();
	if (r == 0)
		r = helper_nat(h, 0, vm, address, true, e);
	taken[NAT][i] = io_now_usec() - begin;
	begin = io_now_usec();
	if (r == 0 && image >= 0)
		r = disk_of(h, vm, image, cow, e);
	taken[DISK][i] = io_now_usec() - begin;
	return r;
}

static int run(const char *socket, const char *image_path, const char *folder, unsigned n, struct err *e)
{
	_cleanup_(helper_freep) struct helper *h = NULL;
	int disks = strcmp(image_path, "-") != 0;
	_cleanup_close_ int image = disks ? open(image_path, O_RDONLY | O_CLOEXEC) : -EBADF;
	struct helper_hello hello;
	uint64_t begin, all = 0, down;
	unsigned made = 0;
	int r;

	if (disks && image < 0)
		return err_sys(e, -errno, "%s", image_path);
	if ((r = helper_new(socket, &h, e)) < 0 || (r = helper_hello(h, &hello, e)) < 0 ||
		(r = helper_net_up(h, e)) < 0)
		return r;
	for (; r == 0 && made < n; made++)
		r = up(h, hello.network, folder, image, made, e);
	begin = io_now_usec();
	for (unsigned i = 0; i < made; i++) {
		uint64_t one = io_now_usec();
		int k = helper_release(h, 0, FIRST_VM + i, r == 0 ? e : NULL);

		taken[RELEASE][i] = io_now_usec() - one;
		r = r == 0 ? k : r;
	}
	down = io_now_usec() - begin;
	for (int part = 0; r == 0 && part < PARTS; part++) {
		qsort(taken[part], made, sizeof(taken[part][0]), by_size);
		all += part == RELEASE ? 0 : taken[part][made / 2];
		printf("%s %" PRIu64 "\n", part_names[part], taken[part][made / 2]);
	}
	if (r == 0)
		printf("tap_nat_disk %" PRIu64 "\nteardown_of_%u %" PRIu64 "\n", all, made, down);
	return r;
}

int main(int argc, char **argv)
{
	_cleanup_err_ struct err e = {0};
	uint64_t n;

	if (argc != 5 || parse_u64(argv[4], 1, COUNT_MAX, &n) < 0) {
		fprintf(stderr, "usage: helpercost SOCKET IMAGE FOLDER COUNT\n");
		return 2;
	}
	if (run(argv[1], argv[2], argv[3], (unsigned)n, &e) < 0) {
		fprintf(stderr, "helpercost: %s\n", err_text(&e));
		return 1;
	}
	return 0;
}
