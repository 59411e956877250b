/* Layers that are unpacked side by side: whichever comes first, and however many are at work, the image has the same bytes. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "image/layers.h"

#define LAYERS 6
#define PIECE  20000u

/* The same numbers for the same seed. */
static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void add(
	struct archive *a, const char *path, uint32_t type, const char *target, const void *data, size_t n)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_filetype(e, type);
	archive_entry_set_perm(e, type == AE_IFDIR ? 0755 : 0644);
	archive_entry_set_size(e, (int64_t)n);
	if (type == AE_IFLNK)
		archive_entry_set_symlink(e, target);
	else if (target)
		archive_entry_set_hardlink(e, target);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, data, n), n);
	archive_entry_free(e);
}

static void add_random(struct archive *a, const char *path, size_t n, uint32_t *seed)
{
	_cleanup_free_ uint32_t *data = calloc(1, n + 4);

	/* Some blocks of it are zeros, some bytes compress. */
	for (size_t i = 0; i < n / 4; i++)
		data[i] = i / 1024 % 7 == 3 ? 0 : next_random(seed) & 0xff00ff;
	add(a, path, AE_IFREG, NULL, data, n);
}

/* Files of all sizes, most of them at paths that other layers have too; layers above the first also delete, and link to what is below. */
static int layer(uint32_t number)
{
	static const size_t sizes[] = {1, 700, 4096, 5000, 70000, 300000, 1 << 20, 3000000};
	int fd = memfd_create("layer", MFD_CLOEXEC);
	struct archive *a = archive_write_new();
	uint32_t seed = number;
	char path[64];

	archive_write_set_format_pax(a);
	archive_write_add_filter_gzip(a);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	if (number == 0) {
		add(a, "usr/bin/", AE_IFDIR, NULL, NULL, 0);
		add(a, "bin", AE_IFLNK, "usr/bin", NULL, 0);
	}
	for (uint32_t i = 0; i < 150; i++) {
		uint32_t where = next_random(&seed) % 250;

		snprintf(path, sizeof(path), "%s%u/file%u", where % 5 ? "d" : "bin/d", where % 20, where);
		if (number > 0 && i % 20 == 7)
			snprintf(path, sizeof(path), "d%u/.wh.file%u", where % 20, where);
		if (number > 0 && i % 50 == 13)
			snprintf(path, sizeof(path), "d%u/.wh..wh..opq", where % 20);
		add_random(a, path, strstr(path, ".wh.") ? 0 : sizes[next_random(&seed) % (i % 25 ? 5 : 8)],
			&seed);
		if (i % 30 == 3 && !strstr(path, ".wh.")) {
			char second[80];

			snprintf(second, sizeof(second), "link%u", where);
			add(a, second, AE_IFREG, path, NULL, 0);
		}
	}
	/* More than its part of the image takes: it has to wait for those below. */
	if (number == 2 || number == 3)
		add_random(a, "large", 5000000, &seed);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	return fd;
}

/* A layer that comes in pieces, each after a while. */
struct download {
	pthread_t thread;
	int whole, part, tell[2];
	uint64_t size;
	uint32_t seed, wait_msec; /* at most; 0: never */
};

static void *download_thread(void *arg)
{
	struct download *d = arg;
	_cleanup_free_ uint8_t *piece = malloc(PIECE);
	uint64_t at = 0;

	while (at < d->size) {
		size_t n = d->size - at < PIECE ? (size_t)(d->size - at) : PIECE;

		if (d->wait_msec)
			poll(NULL, 0, (int)(next_random(&d->seed) % d->wait_msec));
		assert_int_equal(pread(d->whole, piece, n, (off_t)at), n);
		assert_int_equal(io_pwrite_full(d->part, piece, n, (off_t)at), 0);
		at += n;
		assert_int_equal(io_write_full(d->tell[1], &at, sizeof(at)), 0);
	}
	assert_int_equal(io_write_full(d->tell[1], &at, sizeof(at)), 0);
	d->tell[1] = close_fd(d->tell[1]);
	return NULL;
}

static void download_begin(struct download *d, int whole, uint32_t seed, uint32_t wait_msec)
{
	struct stat st;

	assert_int_equal(fstat(whole, &st), 0);
	*d = (struct download){.whole = whole,
		.part = memfd_create("part", MFD_CLOEXEC),
		.size = (uint64_t)st.st_size,
		.seed = seed,
		.wait_msec = wait_msec};
	assert_int_equal(pipe2(d->tell, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&d->thread, NULL, download_thread, d), 0);
}

/* Of all that isn't zeros, and where. */
static void digest(int fd, unsigned char ret[32])
{
	static const uint8_t zeros[4096];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t block[4096];
	off_t at = 0;

	assert_int_equal(EVP_DigestInit_ex(c, EVP_sha256(), NULL), 1);
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		for (at -= at % 4096; at < end; at += 4096) {
			assert_int_equal(pread(fd, block, sizeof(block), at), sizeof(block));
			if (memcmp(block, zeros, sizeof(block)) == 0)
				continue;
			EVP_DigestUpdate(c, &at, sizeof(at));
			EVP_DigestUpdate(c, block, sizeof(block));
		}
	}
	EVP_DigestFinal_ex(c, ret, NULL);
	EVP_MD_CTX_free(c);
}

/* How many at once, and how long each layer may take for each piece. */
struct round {
	unsigned at_once;
	uint32_t wait_msec[LAYERS];
};

static void merge(const int *layers, const struct round *round, uint32_t seed, unsigned char ret[32])
{
	char path[] = "/tmp/banger-at-once-XXXXXX";
	const char *const argv[] = {"e2fsck", "-fn", path, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};
	struct image_layer l[LAYERS];
	struct download d[LAYERS];
	struct image_result result;
	int out = mkostemp(path, O_CLOEXEC);

	for (uint32_t i = 0; i < LAYERS; i++) {
		download_begin(&d[i], layers[i], seed + i, round->wait_msec[i]);
		l[i] = (struct image_layer){.fd = d[i].part, .grow = d[i].tell[0], .size = d[i].size};
	}
	/* Nobody says how much these are. */
	l[2].size = l[3].size = 0;
	if (image_from_layers_by(round->at_once, l, LAYERS, out, "seed", NULL, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	for (size_t i = 0; i < LAYERS; i++) {
		pthread_join(d[i].thread, NULL);
		close_fd(d[i].part);
		close_fd(d[i].tell[0]);
	}
	digest(out, ret);
	spec.argv = argv;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0)
		fail_msg("e2fsck: %s\n%s", err_text(&e), text ? text : "");
	close_fd(out);
	unlink(path);
}

static void same_bytes(void **state)
{
	static const struct round rounds[] = {
		{1, {0}},
		{4, {0}},
		{4, {3, 3, 3, 3, 3, 3}},
		{4, {0, 6, 0, 6, 0, 6}},
		{4, {9, 0, 0, 0, 0, 0}}, /* all others are there before the lowest */
		{2, {0, 0, 0, 9, 0, 0}},
	};
	unsigned char first[32], other[32];
	const int *layers = *state;

	for (uint32_t i = 0; i < ELEMENTSOF(rounds); i++) {
		merge(layers, &rounds[i], i * 100, i ? other : first);
		if (i > 0)
			assert_memory_equal(first, other, sizeof(first));
	}
}

/* What is wrong with a layer ends all, also those that wait for their turn or for a download that never ends. */
static void one_is_bad(void **state)
{
	_cleanup_close_ int broken = memfd_create("broken", MFD_CLOEXEC);
	const int *layers = *state;
	uint8_t garbage[4096];

	memset(garbage, 0xff, sizeof(garbage));
	memcpy(garbage, "\x1f\x8b\x08\0\0\0\0\0\0\0", 10);
	assert_int_equal(io_pwrite_full(broken, garbage, sizeof(garbage), 0), 0);
	for (uint32_t bad = 0; bad < 3; bad++) {
		_cleanup_close_ int out = memfd_create("image", MFD_CLOEXEC),
				    endless = memfd_create("part", MFD_CLOEXEC);
		_cleanup_err_ struct err e = {0};
		struct image_layer l[5];
		struct image_result result;
		char wanted[32];
		int never[2];

		assert_int_equal(pipe2(never, O_CLOEXEC), 0);
		for (uint32_t i = 0; i < 4; i++) {
			l[i] = (struct image_layer){.fd = i == bad ? broken : layers[i], .grow = -1};
			lseek(l[i].fd, 0, SEEK_SET);
		}
		l[4] = (struct image_layer){.fd = endless, .grow = never[0]};
		assert_int_equal(image_from_layers_by(4, l, 5, out, "seed", NULL, &result, &e), -EBADMSG);
		snprintf(wanted, sizeof(wanted), "layer %u (", bad + 1);
		assert_non_null(strstr(err_text(&e), wanted));
		close_fd(never[0]);
		close_fd(never[1]);
	}
}

static int setup(void **state)
{
	static int layers[LAYERS];

	for (uint32_t i = 0; i < LAYERS; i++)
		layers[i] = layer(i);
	*state = layers;
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < LAYERS; i++)
		close_fd(((int *)*state)[i]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bytes),
		cmocka_unit_test(one_is_bad),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
