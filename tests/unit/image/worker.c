/* Images made by a confined child: the same bytes and errors as without one, and what its reports may say. */
#include "tests/unit/image/worker.h"

#include <zlib.h>

#include "banger/io.h"
#include "image/worker_wire.h"

static void assert_same_file(int a, int b)
{
	_cleanup_free_ uint8_t *x = malloc(1 << 20), *y = malloc(1 << 20);
	struct stat sa, sb;

	assert_int_equal(fstat(a, &sa), 0);
	assert_int_equal(fstat(b, &sb), 0);
	assert_true(sa.st_size > 0 && sa.st_size == sb.st_size);
	/* Where neither has data both read as zeros. */
	for (off_t at = 0; at < sa.st_size; at += 1 << 20) {
		off_t da = lseek(a, at, SEEK_DATA), db = lseek(b, at, SEEK_DATA);
		ssize_t n;

		if (da < 0 && db < 0)
			break;
		at = da < 0 || (db >= 0 && db < da) ? db : da;
		n = pread(a, x, 1 << 20, at);
		assert_true(n > 0);
		assert_int_equal(pread(b, y, 1 << 20, at), n);
		assert_memory_equal(x, y, (size_t)n);
	}
}

static void assert_same_result(const struct image_result *a, const struct image_result *b)
{
	assert_true(a->content == b->content);
	assert_true(a->entries == b->entries && a->entries > 0);
	assert_string_equal(a->digest, b->digest);
	assert_string_equal(a->arch, b->arch);
}

static void a_tar(void **state)
{
	static int (*const filters[])(struct archive *) = {archive_write_add_filter_none,
		archive_write_add_filter_gzip, archive_write_add_filter_xz, archive_write_add_filter_zstd,
		archive_write_add_filter_bzip2, archive_write_add_filter_lz4};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
		_cleanup_close_ int tar = tar_of("file", 300, 9000, filters[i]);
		struct worker_request q = {
			.task = WORKER_TAR, .input = tar, .output = b->out, .seed = "seed"};
		struct image_result result = {0}, plain = {0};
		_cleanup_err_ struct err e = {0};

		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(ftruncate(b->plain_out, 0), 0);
		if (worker_run(&q, b->op, &result, &e) < 0)
			fail_msg("filter %zu: %s", i, err_text(&e));
		lseek(tar, 0, SEEK_SET);
		assert_int_equal(image_from_tar(tar, b->plain_out, "seed", NULL, &plain, &e), 0);
		assert_same_result(&result, &plain);
		assert_same_file(b->out, b->plain_out);
	}
}

static void two_layers(void **state)
{
	struct bench *b = *state;
	struct image_layer l[2] = {{.fd = tar_of("low", 60, 5000, archive_write_add_filter_gzip), .grow = -1},
		{.fd = tar_of("up", 60, 100, archive_write_add_filter_zstd), .grow = -1}};
	struct worker_request q = {
		.task = WORKER_LAYERS, .output = b->out, .layers = l, .layer_count = 2, .seed = "seed"};
	struct image_result result = {0}, plain = {0};
	_cleanup_err_ struct err e = {0};

	if (worker_run(&q, b->op, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	for (size_t i = 0; i < 2; i++)
		lseek(l[i].fd, 0, SEEK_SET);
	assert_int_equal(image_from_layers(l, 2, b->plain_out, "seed", NULL, &plain, &e), 0);
	assert_same_result(&result, &plain);
	assert_same_file(b->out, b->plain_out);
	/* What is promised of a layer goes with it. */
	for (int which = 0; which < 3; which++) {
		struct image_layer wrong = {.fd = l[0].fd, .grow = -1};
		_cleanup_err_ struct err mine = {0}, its = {0};

		if (which == 0)
			wrong.size = 17;
		else
			*(which == 1 ? &wrong.digest : &wrong.diff_id) = "sha256:00";
		q.layers = &wrong;
		q.layer_count = 1;
		lseek(wrong.fd, 0, SEEK_SET);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(worker_run(&q, NULL, &result, &its), -EBADMSG);
		lseek(wrong.fd, 0, SEEK_SET);
		assert_int_equal(ftruncate(b->plain_out, 0), 0);
		assert_int_equal(
			image_from_layers(&wrong, 1, b->plain_out, "seed", NULL, &plain, &mine), -EBADMSG);
		assert_string_equal(err_text(&its), err_text(&mine));
	}
	for (size_t i = 0; i < 2; i++)
		close_fd(l[i].fd);
}

/* As many as may be, each with its pipe: a thousand descriptors. */
static void most_layers(void **state)
{
	_cleanup_close_ int tar = tar_of("file", 1, 10, archive_write_add_filter_none);
	struct bench *b = *state;
	struct image_layer l[LAYERS_MAX + 1];
	struct worker_request q = {.task = WORKER_LAYERS, .output = b->out, .layers = l};
	struct image_result result;
	_cleanup_err_ struct err e = {0};
	struct stat st;
	char bytes[16384];

	assert_int_equal(fstat(tar, &st), 0);
	assert_int_equal(pread(tar, bytes, sizeof(bytes), 0), st.st_size);
	for (size_t i = 0; i < LAYERS_MAX; i++) {
		uint64_t said[] = {(uint64_t)st.st_size, (uint64_t)st.st_size};
		int p[2];

		l[i] = (struct image_layer){.fd = memfd_create("layer", MFD_CLOEXEC)};
		assert_int_equal(io_write_full(l[i].fd, bytes, (size_t)st.st_size), 0);
		lseek(l[i].fd, 0, SEEK_SET);
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		assert_int_equal(io_write_full(p[1], said, sizeof(said)), 0);
		close_fd(p[1]);
		l[i].grow = p[0];
	}
	q.layer_count = LAYERS_MAX + 1;
	assert_int_equal(worker_run(&q, NULL, &result, &e), -EBADMSG);
	q.layer_count = LAYERS_MAX;
	if (worker_run(&q, NULL, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_true(result.content == 10 * LAYERS_MAX && result.entries > 1);
	for (size_t i = 0; i < LAYERS_MAX; i++) {
		close_fd(l[i].fd);
		close_fd(l[i].grow);
	}
}

static void hostile(void **state)
{
	static const char *const names[] = {"../x", "a/../../x", "a\033[2Jb/../c"};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(names) + 1; i++) {
		_cleanup_close_ int tar = memfd_create("tar", MFD_CLOEXEC);
		struct worker_request q = {.task = WORKER_TAR, .input = tar, .output = b->out, .seed = "s"};
		struct image_result result = {.entries = 77};
		_cleanup_err_ struct err its = {0}, mine = {0};

		if (i < ELEMENTSOF(names)) {
			struct archive *a = archive_write_new();
			struct archive_entry *entry = archive_entry_new();

			archive_write_set_format_pax(a);
			archive_write_open_fd(a, tar);
			archive_entry_set_pathname(entry, names[i]);
			archive_entry_set_mode(entry, S_IFREG | 0644);
			archive_write_header(a, entry);
			archive_write_close(a);
			archive_entry_free(entry);
			archive_write_free(a);
		} else {
			assert_int_equal(io_write_full(tar, "no tar at all", 13), 0);
		}
		lseek(tar, 0, SEEK_SET);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(ftruncate(b->plain_out, 0), 0);
		assert_int_equal(worker_run(&q, b->op, &result, &its), -EBADMSG);
		assert_int_equal(result.entries, 77);
		lseek(tar, 0, SEEK_SET);
		assert_int_equal(image_from_tar(tar, b->plain_out, "s", NULL, &result, &mine), -EBADMSG);
		assert_string_equal(err_text(&its), err_text(&mine));
	}
}

/* An xz that says it wants a dictionary of 4 GiB; its writer had a small one. */
static void memory(void **state)
{
	_cleanup_close_ int tar = tar_of("file", 3, 1000, archive_write_add_filter_xz);
	struct bench *b = *state;
	struct worker_request q = {.task = WORKER_TAR, .input = tar, .output = b->out};
	struct image_result result;
	_cleanup_err_ struct err e = {0};
	uint8_t head[64];
	uint32_t sum;
	size_t size;
	int r;

	/* The block's header, xz-file-format.txt 3.1: its size, flags, LZMA2 (0x21), one byte, the dictionary's size, padding, CRC32. */
	assert_int_equal(pread(tar, head, sizeof(head), 12), sizeof(head));
	size = (size_t)(head[0] + 1) * 4;
	assert_true(size <= sizeof(head) && head[1] == 0 && head[2] == 0x21 && head[3] == 1);
	head[4] = 40;
	sum = (uint32_t)crc32(0, head, (unsigned)size - 4);
	memcpy(head + size - 4, &sum, 4);
	assert_int_equal(io_pwrite_full(tar, head, size, 12), 0);
	r = worker_run(&q, b->op, &result, &e);
	if (SANDBOX_ASAN) {
		assert_int_equal(r, 0); /* without the limit it is a good one */
		return;
	}
	assert_int_equal(r, -ENOMEM);
	if (!strstr(err_text(&e), "2048 MiB"))
		fail_msg("%s", err_text(&e));
}

/* What a child that was taken over may say. */
static void reports(void **state)
{
	_cleanup_free_ struct wire_report *r = calloc(1, sizeof(*r));
	size_t n = sizeof(*r);

	(void)state;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->kind = WIRE_RESULT;
	assert_int_equal(wire_check_report(r, n), 0);
	assert_int_equal(wire_check_report(r, n - 1), -EBADMSG);
	assert_int_equal(wire_check_report(r, WIRE_PROGRESS_SIZE), -EBADMSG);
	assert_int_equal(wire_check_report(r, 0), -EBADMSG);
	r->code = 1;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->code = INT32_MIN;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->code = -5;
	memcpy(r->text, "a\033[2J\nb", 8);
	assert_int_equal(wire_check_report(r, n), 0);
	assert_string_equal(r->text, "a?[2J?b");
	memset(r->text, 'x', sizeof(r->text));
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->text[0] = '\0';
	memset(r->result.digest, 'x', sizeof(r->result.digest));
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->result.digest[0] = '\0';
	memset(r->result.arch, 'x', sizeof(r->result.arch));
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->kind = WIRE_PROGRESS;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	assert_int_equal(wire_check_report(r, WIRE_PROGRESS_SIZE), 0);
	assert_null(wire_stage_name(0));
	assert_null(wire_stage_name(UINT32_MAX));
	assert_string_equal(wire_stage_name(wire_stage("write the image")), "write the image");
	assert_int_equal(wire_stage("another"), 0);
}

static void descriptors(void **state)
{
	struct bench *b = *state;
	struct worker_request q = {.task = WORKER_TAR, .input = 0, .output = b->out};
	struct image_result result;
	_cleanup_err_ struct err e = {0};

	assert_int_equal(worker_run(&q, NULL, &result, &e), -EBADF);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_tar),
		TEST(two_layers),
		TEST(most_layers),
		TEST(hostile),
		TEST(memory),
		TEST(descriptors),
		cmocka_unit_test(reports),
	};

	if (argc > 1 && strcmp(argv[1], WORKER_ARGUMENT) == 0)
		return worker_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
