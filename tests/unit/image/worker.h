/* Images made by a confined child: what it is given, and where it writes. */
#ifndef BANGER_TESTS_WORKER_H
#define BANGER_TESTS_WORKER_H

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/sandbox.h"
#include "image/worker.h"

struct bench {
	int out, plain_out;
	struct ops *ops;
	struct op *op;
};

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->out = memfd_create("out", MFD_CLOEXEC);
	b->plain_out = memfd_create("plain", MFD_CLOEXEC);
	assert_true(b->out >= 0 && b->plain_out >= 0);
	assert_int_equal(ops_new(1, &b->ops, NULL), 0);
	assert_int_equal(op_begin(b->ops, "import", "images/x", &b->op, NULL), 0);
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bench *b = *state;

	close_fd(b->out);
	close_fd(b->plain_out);
	op_end(b->op);
	op_unref(b->op);
	ops_free(b->ops);
	free(b);
	return 0;
}

/* FILES of N bytes each, called NAME0, NAME1 ..., in another folder for every fifty. */
static inline int tar_of(const char *name, int files, size_t n, int (*filter)(struct archive *))
{
	int fd = memfd_create("tar", MFD_CLOEXEC);
	struct archive *a = archive_write_new();
	_cleanup_free_ uint8_t *data = malloc(n);

	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	archive_write_set_format_pax(a);
	assert_int_equal(filter(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (int i = 0; i < files; i++) {
		struct archive_entry *e = archive_entry_new();
		char path[64];

		snprintf(path, sizeof(path), "\303\251%d/%s%d", i / 50, name, i);
		archive_entry_set_pathname(e, path);
		archive_entry_set_mode(e, S_IFREG | 0644);
		archive_entry_set_size(e, (int64_t)n);
		archive_entry_xattr_add_entry(e, "user.note", "here", 4);
		assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
		assert_int_equal(archive_write_data(a, data, n), n);
		archive_entry_free(e);
	}
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
