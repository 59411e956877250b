/* Sizes that lie, headers about headers, and bombs. */
#include "tests/unit/image/hostile.h"

/* ---- sizes, and headers about headers ---- */

static void sizes_refused(void **state)
{
	static const struct {
		const char *size, *pax;
		int code;
	} rows[] = {
		{"777777777777", NULL, -EFBIG},                                /* 2^36, no end */
		{"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", NULL, 0},       /* 2^63 - 1 */
		{"\x80\0\0\0\x80\0\0\0\0\0\0\0", NULL, 0},                     /* 2^63 */
		{"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", NULL, 0}, /* 2^88 - 1 */
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", NULL, 0}, /* -1 */
		{"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", NULL, 0},               /* -2^63 */
		{NULL, "28 size=9223372036854775807\n", 0},
		{NULL, "28 size=9223372036854775808\n", 0},
		{NULL, "29 size=99999999999999999999\n", 0},
		{NULL, "11 size=-1\n", 0},
		{NULL, "25 size=4611686018427387\n", 0},
	};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		const struct entry entries[] = {{.path = "first", .type = '0'},
			{.path = "p", .type = 'x', .value = rows[i].pax ? rows[i].pax : "12 comment=\n"},
			{.path = "sized", .type = '0', .value = "x", .size = rows[i].size}, {0}};
		int fd = layer_of(entries), r = merge(*state, &fd, 1, &e);

		if ((r != -EFBIG && r != -EBADMSG) || (rows[i].code && r != rows[i].code) ||
			!strstr(err_text(&e), "layer 1 ") || !strstr(err_text(&e), "sized: "))
			fail_msg("row %zu: %d: %s", i, r, err_text(&e));
	}
}

/* TARmageddon: the pax header's size counts, not that of the header behind it; otherwise what is a file's contents is read as entries. */
static void cve_2025_62518_size_of_pax_and_header(void **state)
{
	const struct entry inner[] = {{.path = "hidden", .type = '0', .value = "evil"}, {0}};
	size_t n;
	_cleanup_free_ char *contents = tar_of(inner, &n);
	char pax[32];
	const struct entry outer[] = {{.path = "p", .type = 'x', .value = pax},
		{.path = "nested.tar", .type = '0', .value = contents, .n = n, .size = "00000000000"},
		{.path = "after", .type = '0', .value = "a"}, {0}};
	struct bench *b = *state;

	assert_int_equal(n, 2048);
	snprintf(pax, sizeof(pax), "13 size=%zu\n", n);
	take_layers(b, outer, NULL);
	expect(b, "/hidden", NULL);
	expect(b, "/after", "a");
	assert_true(lookup(b, "/nested.tar") != 0);
}

/* A pax header's size is the file's, and not that of a long name's header in between. */
static void cve_2026_53655_pax_before_long_name(void **state)
{
	const struct entry inner[] = {{.path = "hidden", .type = '0', .value = "evil"}, {0}};
	size_t n;
	_cleanup_free_ char *contents = tar_of(inner, &n);
	const struct entry outer[] = {{.path = "p", .type = 'x', .value = "13 size=2048\n"},
		{.path = "././@LongLink", .type = 'L', .value = "named-by-L"},
		{.path = "short", .type = '0', .value = contents, .n = n, .size = "00000000000"},
		{.path = "after", .type = '0', .value = "a"}, {0}};
	const struct entry link[] = {{.path = "p", .type = 'x', .value = "13 size=2048\n"},
		{.path = "././@LongLink", .type = 'K', .value = "target-by-K"},
		{.path = "l", .type = '2', .value = "short"}, {.path = "after", .type = '0', .value = "a"},
		{0}};
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	int fd;

	assert_int_equal(n, 2048);
	take_layers(b, outer, NULL);
	expect(b, "/hidden", NULL);
	expect(b, "/after", "a");
	assert_true(lookup(b, "/named-by-L") != 0);
	/* A link has no contents, whatever the pax header says: libarchive goes on behind them, or refuses. */
	fd = layer_of(link);
	if (merge(b, &fd, 1, &e) < 0)
		assert_non_null(strstr(err_text(&e), "layer 1 "));
}

static void kinds_refused(void **state)
{
	/* Of an unknown type libarchive makes a file, as POSIX has it; a socket's mode comes of nothing in a tar. */
	const struct entry entries[] = {{.path = "odd", .type = 'Z', .value = "contents"}, {0}};
	struct bench *b = *state;

	take_layers(b, entries, NULL);
	expect(b, "/odd", "contents");
}

/* ---- bombs ---- */

static void pax_bombs(void **state)
{
	_cleanup_free_ char *large = repeated("x", 1 << 21), *key = NULL, *many = NULL;
	_cleanup_free_ char *comment = record("comment", large), *path = record("path", large);
	struct entry deep[402] = {0};
	const struct entry rows[][3] = {
		{{.path = "p", .type = 'x', .value = comment}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'x', .value = path}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'x', .value = "999999999 path=x\n"}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'x', .value = "0 path=x\n"}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'x', .value = "-5 path=x\n"}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'x', .value = "path=x\n"}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'L', .value = large}, {.path = "f", .type = '0'}},
		{{.path = "p", .type = 'x', .value = "x", .size = "777777777777"},
			{.path = "f", .type = '0'}},
		{{.path = "p",
			 .type = 'L',
			 .value = "x",
			 .size = "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"},
			{.path = "f", .type = '0'}},
	};

	/* Some are refused, of some a library takes what it can; none takes long, or much. */
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		int fd = layer_of(rows[i]), r = merge(*state, &fd, 1, &e);

		if (r < 0 && !strstr(err_text(&e), "layer 1 "))
			fail_msg("row %zu: %d: %s", i, r, err_text(&e));
	}
	/* Headers about headers about headers. */
	for (size_t i = 0; i < 400; i++)
		deep[i] = (struct entry){
			.path = "p", .type = "xgLK"[i % 4], .value = i % 4 < 2 ? "12 comment=\n" : "y"};
	deep[400] = (struct entry){.path = "f", .type = '0'};
	refuse_entries(*state, deep, -EBADMSG, "layer 1 ");
	(void)key;
	(void)many;
}

static void xattr_bombs(void **state)
{
	_cleanup_free_ char *value = repeated("v", 5000), *records = NULL,
			    *large = record("SCHILY.xattr.user.x", value);
	_cleanup_free_ char *long_name = repeated("n", 300), *named = NULL;
	struct bench *b = *state;
	size_t n;
	FILE *f = open_memstream(&records, &n);
	char key[64];

	for (int i = 0; i < 20000; i++) {
		char *r;

		snprintf(key, sizeof(key), "SCHILY.xattr.user.%d", i);
		r = record(key, "1");
		fputs(r, f);
		free(r);
	}
	fclose(f);
	refuse_entries(b,
		(const struct entry[]){
			{.path = "p", .type = 'x', .value = records}, {.path = "f", .type = '0'}, {0}},
		-EBADMSG, "f: extended attributes of more than");
	refuse_entries(b,
		(const struct entry[]){
			{.path = "p", .type = 'x', .value = large}, {.path = "f", .type = '5'}, {0}},
		-EBADMSG, "f: extended attributes of more than");
	/* A name that is too long, or none, is left out; so is what overlayfs would believe. */
	if (asprintf(&named, "SCHILY.xattr.user.%s", long_name) < 0)
		fail_msg("out of memory");
	for (size_t i = 0; i < 5; i++) {
		_cleanup_free_ char *r = record(i == 0   ? named
						: i == 1 ? "SCHILY.xattr.user."
						: i == 2 ? "SCHILY.xattr.trusted.overlay.opaque"
						: i == 3 ? "SCHILY.xattr.user.overlay.whiteout"
							 : "SCHILY.xattr.system.other",
			"y");
		struct ext2_xattr_handle *h;
		size_t count = 0;

		take_layers(b,
			(const struct entry[]){
				{.path = "p", .type = 'x', .value = r}, {.path = "f", .type = '0'}, {0}},
			NULL);
		assert_int_equal(ext2fs_xattrs_open(b->fs, lookup(b, "/f"), &h), 0);
		assert_int_equal(ext2fs_xattrs_read(h), 0);
		assert_int_equal(ext2fs_xattrs_count(h, &count), 0);
		ext2fs_xattrs_close(&h);
		assert_int_equal(count, 0);
	}
}

/* As many and as small as are let through fit on the disk, whatever their padding. */
static void xattrs_that_just_fit(void **state)
{
	for (size_t pad = 1; pad <= 5; pad++)
		for (int count = 100;; count++) {
			_cleanup_free_ char *records = NULL;
			_cleanup_err_ struct err e = {0};
			size_t n;
			FILE *f = open_memstream(&records, &n);
			const struct entry *entries;
			int fd, r;

			for (int i = 0; i < count; i++) {
				char key[64], *text;

				snprintf(key, sizeof(key), "SCHILY.xattr.user.%c%c%.*s", 'a' + i % 26,
					'a' + i / 26, (int)pad, "xxxxx");
				text = record(key, "1");
				fputs(text, f);
				free(text);
			}
			fclose(f);
			entries = (const struct entry[]){{.path = "p", .type = 'x', .value = records},
				{.path = "f", .type = '0'}, {0}};
			fd = layer_of(entries);
			r = merge(*state, &fd, 1, &e);
			if (r == 0)
				continue;
			if (r != -EBADMSG || !strstr(err_text(&e), "f: extended attributes"))
				fail_msg("%d of them: %d: %s", count, r, err_text(&e));
			break;
		}
}

static void access_lists(void **state)
{
	static const struct {
		const char *value;
		size_t n;
		bool good;
	} rows[] = {
#define ACL(text, good)  {text, sizeof(text) - 1, good}
#define E(tag, perm, id) tag "\0" perm "\0" id
#define NOBODY           "\xff\xff\xff\xff"
		ACL("\2\0\0\0" E("\1", "\7", NOBODY) E("\4", "\5", NOBODY) E("\x20", "\5", NOBODY), true),
		ACL("\2\0\0\0" E("\1", "\7", NOBODY) E("\2", "\6", "\1\1\0\0") E("\4", "\5", NOBODY)
				E("\x10", "\7", NOBODY) E("\x20", "\1", NOBODY),
			true),
		ACL("", false),
		ACL("\2\0\0\0", false),
		ACL("\1\0\0\0" E("\1", "\7", NOBODY), false),
		ACL("\2\0\0", false),
		ACL("\2\0\0\0" E("\1", "\7", NOBODY) "\4\0", false),
		ACL("\2\0\0\0" E("\1", "\7", NOBODY) E("\4", "\5", NOBODY), false), /* no others */
		ACL("\2\0\0\0" E("\1", "\7", NOBODY) E("\2", "\6", "\1\1\0\0") E("\4", "\5", NOBODY)
				E("\x20", "\1", NOBODY),
			false), /* no mask */
		ACL("\2\0\0\0" E("\4", "\5", NOBODY) E("\1", "\7", NOBODY) E("\x20", "\5", NOBODY),
			false), /* out of order */
		ACL("\2\0\0\0" E("\1", "\x17", NOBODY) E("\4", "\5", NOBODY) E("\x20", "\5", NOBODY), false),
		ACL("\2\0\0\0" E("\1", "\7", NOBODY) E("\4", "\5", NOBODY) E("\x20", "\5", NOBODY)
				E("\x40", "\5", NOBODY),
			false),
	};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		const char *key = "SCHILY.xattr.system.posix_acl_access=";
		_cleanup_free_ char *text = NULL;
		_cleanup_err_ struct err e = {0};
		size_t n, total = strlen(key) + rows[i].n + 2;
		char number[8];
		FILE *f = open_memstream(&text, &n);
		int fd, r;

		total += total + 2 < 100 ? 2 : 3;
		snprintf(number, sizeof(number), "%zu", total);
		fprintf(f, "%s %s", number, key);
		fwrite(rows[i].value, 1, rows[i].n, f);
		fputc('\n', f);
		fclose(f);
		assert_int_equal(n, total);
		fd = layer_of((const struct entry[]){
			{.path = "p", .type = 'x', .value = text, .n = n}, {.path = "f", .type = '0'}, {0}});
		r = merge(*state, &fd, 1, &e);
		if (r != (rows[i].good ? 0 : -EBADMSG) ||
			(r < 0 && !strstr(err_text(&e), "f: the extended attribute system.posix_acl_access")))
			fail_msg("row %zu: %d: %s", i, r, err_text(&e));
	}
}

/* Sparse maps that claim more than there is, in each of their forms. */
static void cve_2025_58183_sparse_bombs(void **state)
{
	static const char *const maps[] = {
		"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n",
		"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n43 GNU.sparse.realsize=4611686018427387904\n",
		"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n27 GNU.sparse.realsize=100\n",
		"38 GNU.sparse.size=9223372036854775807\n",
		"27 GNU.sparse.size=1000000\n36 GNU.sparse.numblocks=4000000000\n",
		("24 GNU.sparse.size=1000\n26 GNU.sparse.numblocks=1\n43 "
		 "GNU.sparse.offset=9223372036854775807\n42 GNU.sparse.numbytes=922337203685477580\n"),
		"24 GNU.sparse.size=1000\n51 GNU.sparse.map=500,10,0,10,999999999999999999,10\n",
	};
	static const char *const contents[] = {"1000000000000\n0\n1\n",
		"2\n0\n1\n9223372036854775807\n9223372036854775807\n", "1\n-5\n10\n", "garbage",
		"99999999999999999999999999999999999999\n"};

	for (size_t i = 0; i < ELEMENTSOF(maps); i++)
		for (size_t k = 0; k < ELEMENTSOF(contents); k++) {
			_cleanup_err_ struct err e = {0};
			const struct entry entries[] = {{.path = "p", .type = 'x', .value = maps[i]},
				{.path = "sparse", .type = '0', .value = contents[k]}, {0}};
			int fd = layer_of(entries), r = merge(*state, &fd, 1, &e);
			struct stat st;

			if (r < 0 && (!strstr(err_text(&e), "layer 1 ") || !strstr(err_text(&e), "sparse: ")))
				fail_msg("map %zu, contents %zu: %d: %s", i, k, r, err_text(&e));
			assert_int_equal(fstat(((struct bench *)*state)->out, &st), 0);
			assert_true(st.st_blocks < (8 << 20) / 512);
		}
}

/* GNU's own: a map in the header, and more in blocks behind it. */
static void sparse_gnu(void **state)
{
	static const struct {
		const char *offset, *size, *real;
	} rows[] = {
		{"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "00000000001",
			"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"},
		{"77777777777", "77777777777", "00000000001"},
		{"00000000000", "00000000010", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "00000000010", "00000000100"},
	};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		char tar[5 * BLOCK] = {0};
		struct stat st;
		int fd, r;

		set_head(tar, "sparse", 'S', "", 1, 0);
		memcpy(tar + 257, "ustar  ", 8);
		memcpy(tar + 386, rows[i].offset, 12);
		memcpy(tar + 398, rows[i].size, 12);
		memcpy(tar + 483, rows[i].real, 12);
		set_checksum(tar);
		fd = file_of(tar, sizeof(tar));
		r = merge(*state, &fd, 1, &e);
		if (r < 0 && (!strstr(err_text(&e), "layer 1 ") || !strstr(err_text(&e), "sparse: ")))
			fail_msg("row %zu: %d: %s", i, r, err_text(&e));
		assert_int_equal(fstat(((struct bench *)*state)->out, &st), 0);
		assert_true(st.st_blocks < (8 << 20) / 512);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sizes_refused),
		TEST(cve_2025_62518_size_of_pax_and_header),
		TEST(cve_2026_53655_pax_before_long_name),
		TEST(kinds_refused),
		TEST(pax_bombs),
		TEST(xattr_bombs),
		TEST(xattrs_that_just_fit),
		TEST(access_lists),
		TEST(cve_2025_58183_sparse_bombs),
		TEST(sparse_gnu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
