/*
 * Layers that somebody made to do harm, or that are damaged: each ends in an error that names layer and entry, soon, or in what is written here. Entries are
 * written byte by byte, as no archiver would; the real CVEs have their numbers in the tests' names.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ext2fs/ext2fs.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "image/layers.h"
#include "image/tree.h"

#define BLOCK 512u
/* What a machine with a sanitizer and other things to do needs for any of these; hangs are hours. */
#define SOON_USEC 120000000ull

struct bench {
	char path[40];
	int out;
	ext2_filsys fs;
};

/* One entry: a header and what follows it. */
struct entry {
	const char *path;
	char type; /* as in the header: '0' file, '5' folder, '2', '1' links, 'x', 'g' pax, 'L', 'K', 'S' */
	const char *value; /* contents, target, or a pax header's records as they stand */
	size_t n;          /* of the contents, where they have NULs; 0: a text */
	const char *size;  /* the header's field, where it lies; 12 bytes */
	const char *data;  /* of a link, which has none */
	uint32_t mode;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->path, "/tmp/banger-hostile-XXXXXX", sizeof("/tmp/banger-hostile-XXXXXX"));
	b->out = mkostemp(b->path, O_CLOEXEC);
	assert_true(b->out >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (b->fs)
		ext2fs_close_free(&b->fs);
	close_fd(b->out);
	unlink(b->path);
	free(b);
	return 0;
}

static void set_checksum(char head[BLOCK])
{
	unsigned sum = 0;

	memset(head + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)head[i];
	snprintf(head + 148, 8, "%06o", sum & 0777777);
}

static void set_head(
	char head[BLOCK], const char *path, char type, const char *link, uint64_t size, uint32_t mode)
{
	memset(head, 0, BLOCK);
	memcpy(head, path, strnlen(path, 100));
	snprintf(head + 100, 8, "%07o", mode ? mode & 07777 : type == '5' ? 0755 : 0644);
	snprintf(head + 108, 8, "%07o", 0);
	snprintf(head + 116, 8, "%07o", 0);
	snprintf(head + 124, 12, "%011llo", (unsigned long long)size);
	snprintf(head + 136, 12, "%011o", 1700000000);
	head[156] = type;
	memcpy(head + 157, link, strnlen(link, 100));
	memcpy(head + 257,
		"ustar\0"
		"00",
		8);
	set_checksum(head);
}

static void put_data(FILE *f, const char *data, size_t n)
{
	static const char zeros[BLOCK];

	assert_int_equal(fwrite(data, 1, n, f), n);
	fwrite(zeros, 1, (BLOCK - n % BLOCK) % BLOCK, f);
}

static void put_entry(FILE *f, const struct entry *x)
{
	bool link = x->type == '1' || x->type == '2';
	const char *data = link ? (x->data ? x->data : "") : x->value ? x->value : "";
	size_t n = x->n ? x->n : strlen(data);
	char head[BLOCK];

	set_head(head, x->path, x->type, link ? x->value : "", n, x->mode);
	if (x->size) {
		memcpy(head + 124, x->size, 12);
		set_checksum(head);
	}
	assert_int_equal(fwrite(head, 1, BLOCK, f), BLOCK);
	put_data(f, data, n);
}

/* The tar of ENTRIES, up to one without a path. The caller frees it. */
static char *tar_of(const struct entry *entries, size_t *ret_n)
{
	char end[2 * BLOCK] = {0}, *data = NULL;
	FILE *f = open_memstream(&data, ret_n);

	assert_non_null(f);
	for (; entries->path; entries++)
		put_entry(f, entries);
	fwrite(end, 1, sizeof(end), f);
	fclose(f);
	return data;
}

static int file_of(const void *data, size_t n)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, data, n), 0);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int layer_of(const struct entry *entries)
{
	size_t n;
	_cleanup_free_ char *data = tar_of(entries, &n);

	return file_of(data, n);
}

/* Takes the descriptors. */
static int merge(struct bench *b, const int *fds, size_t n, struct err *e)
{
	struct image_layer l[3];
	struct image_result result;
	uint64_t began = io_now_usec();
	int r;

	for (size_t i = 0; i < n; i++)
		l[i] = (struct image_layer){.fd = fds[i], .grow = -1};
	assert_int_equal(ftruncate(b->out, 0), 0);
	r = image_from_layers(l, n, b->out, "seed", NULL, &result, e);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (io_now_usec() - began > SOON_USEC)
		fail_msg("took %llu s", (unsigned long long)(io_now_usec() - began) / 1000000);
	return r;
}

/* The last of N layers is refused with CODE, and SAYS is in the text. */
static void refuse(struct bench *b, const int *fds, size_t n, int code, const char *says)
{
	_cleanup_err_ struct err e = {0};
	char layer[32];
	int r = merge(b, fds, n, &e);

	snprintf(layer, sizeof(layer), "layer %zu ", n);
	if (r != code || !strstr(err_text(&e), layer) || !strstr(err_text(&e), says))
		fail_msg("%d (wanted %d, '%s', '%s'): %s", r, code, layer, says, err_text(&e));
}

static void refuse_entries(struct bench *b, const struct entry *entries, int code, const char *says)
{
	int fd = layer_of(entries);

	refuse(b, &fd, 1, code, says);
}

static void refuse_bytes(struct bench *b, const void *data, size_t n, int code, const char *says)
{
	int fd = file_of(data, n);

	refuse(b, &fd, 1, code, says);
}

static void take(struct bench *b, const int *fds, size_t n)
{
	const char *const argv[] = {"e2fsck", "-fn", b->path, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};

	if (b->fs)
		ext2fs_close_free(&b->fs);
	if (merge(b, fds, n, &e) < 0)
		fail_msg("%s", err_text(&e));
	spec.argv = argv;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0)
		fail_msg("e2fsck: %s\n%s", err_text(&e), text ? text : "");
	assert_int_equal(ext2fs_open(b->path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &b->fs), 0);
}

static void take_layers(struct bench *b, const struct entry *low, const struct entry *up)
{
	int fds[2] = {layer_of(low), up ? layer_of(up) : -1};

	take(b, fds, up ? 2 : 1);
}

static ext2_ino_t lookup(struct bench *b, const char *path)
{
	ext2_ino_t ino;

	return ext2fs_namei(b->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) == 0 ? ino : 0;
}

static uint32_t mode_of(struct bench *b, const char *path)
{
	struct ext2_inode inode;

	if (!lookup(b, path))
		fail_msg("%s isn't there", path);
	assert_int_equal(ext2fs_read_inode(b->fs, lookup(b, path), &inode), 0);
	return inode.i_mode;
}

/* WANTED: NULL: nothing is there. */
static void expect(struct bench *b, const char *path, const char *wanted)
{
	char buf[BLOCK];
	ext2_file_t f;
	unsigned n;

	if (!wanted) {
		if (lookup(b, path))
			fail_msg("%s is there", path);
		return;
	}
	assert_true(S_ISREG(mode_of(b, path)));
	assert_int_equal(ext2fs_file_open(b->fs, lookup(b, path), 0, &f), 0);
	assert_int_equal(ext2fs_file_read(f, buf, sizeof(buf), &n), 0);
	ext2fs_file_close(f);
	if (n != strlen(wanted) || memcmp(buf, wanted, n) != 0)
		fail_msg("%s: '%.*s', wanted '%s'", path, (int)n, buf, wanted);
}

static char *repeated(const char *part, size_t times)
{
	size_t n = strlen(part);
	char *s = calloc(1, n * times + 1);

	assert_non_null(s);
	for (size_t i = 0; i < times; i++)
		memcpy(s + i * n, part, n);
	return s;
}

/* "LENGTH KEY=VALUE\n"; the caller frees it. */
static char *record(const char *key, const char *value)
{
	size_t n = strlen(key) + strlen(value) + 3, total = n + 1;
	char *s;

	for (size_t limit = 10; total >= limit; limit *= 10)
		if (total < limit * 10 || total + 1 >= limit * 10)
			total++;
	/* Its own digits are counted too: tried until they fit. */
	for (total = n + 1;; total++) {
		if (asprintf(&s, "%zu %s=%s\n", total, key, value) < 0)
			fail_msg("out of memory");
		if (strlen(s) == total)
			return s;
		free(s);
	}
}

/* ---- names ---- */

static void names_refused(void **state)
{
	_cleanup_free_ char *long_name = repeated("x", 256), *long_path = repeated("abcdefghi/", 450),
			    *deep = repeated("d/", 300);
	_cleanup_free_ char *pax_name = record("path", long_name), *pax_path = record("path", long_path),
			    *pax_deep = record("path", deep);
	const struct {
		struct entry entries[4];
		const char *says;
	} rows[] = {
		{{{.path = "../x", .type = '0'}}, "../x: "},
		{{{.path = "a/../../x", .type = '0'}}, "a/../../x: "},
		{{{.path = "a/..", .type = '5'}}, "a/..: "},
		{{{.path = "/..", .type = '5'}}, "/..: "},
		{{{.path = "p", .type = 'x', .value = pax_name}, {.path = "x", .type = '0'}}, "xxx: a name"},
		{{{.path = "p", .type = 'x', .value = pax_path}, {.path = "x", .type = '0'}},
			"longer than 4095"},
		{{{.path = "p", .type = 'x', .value = pax_deep}, {.path = "x", .type = '5'}},
			"more than 255 folders"},
		/* A folder's way is as deep as a file's. */
		{{{.path = "p", .type = 'L', .value = deep}, {.path = "x", .type = '0'}},
			"more than 255 folders"},
		/* 4 KiB of one name. */
		{{{.path = "p", .type = 'L', .value = long_name}, {.path = "x", .type = '0'}},
			"longer than 255"},
		{{{.path = "f", .type = '0'}, {.path = "f/x", .type = '0'}}, "f/x: "},
		{{{.path = "", .type = '0'}}, "an entry without a name"},
		{{{.path = "before", .type = '0'}, {.path = "", .type = '0'}},
			"behind before: an entry without a name"},
		{{{.path = "a\nb\x1b[2J/../x", .type = '0'}}, "a?b?[2J/../x"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		refuse_entries(*state, rows[i].entries, -EBADMSG, rows[i].says);
}

/* What is behind a NUL is none of the name. Absolute names are below the image's root, as "./x" and "x" are. */
static void names_taken(void **state)
{
	_cleanup_free_ char *name = repeated("n", 255), *deep = repeated("d/", 255);
	_cleanup_free_ char *pax_name = record("path", name), *pax_deep = record("path", deep);
	static const char nul[] = "17 path=nul\0evil\n";
	const struct entry low[] = {{.path = "/abs", .type = '0', .value = "1"},
		{.path = "././/dot", .type = '0', .value = "2"},
		{.path = "p", .type = 'x', .value = pax_name}, {.path = "x", .type = '0', .value = "3"},
		{.path = "p", .type = 'x', .value = pax_deep}, {.path = "x", .type = '5'},
		{.path = "p", .type = 'x', .value = nul, .n = sizeof(nul) - 1},
		{.path = "x", .type = '0', .value = "4"}, {0}};
	struct bench *b = *state;

	take_layers(b, low, NULL);
	expect(b, "/abs", "1");
	expect(b, "/dot", "2");
	expect(b, name, "3");
	assert_true(S_ISDIR(mode_of(b, deep)));
	expect(b, "/nul", "4");
	expect(b, "/evil", NULL);
}

static void twice(void **state)
{
	const struct entry low[] = {{.path = "f", .type = '0', .value = "first"},
		{.path = "f", .type = '0', .value = "last"}, {.path = "d", .type = '5', .mode = 0700},
		{.path = "d/in", .type = '0', .value = "in"}, {.path = "d/", .type = '5', .mode = 0711},
		{.path = "g", .type = '5'}, {.path = "g/in", .type = '0'},
		{.path = "g", .type = '0', .value = "file"}, {0}};
	struct bench *b = *state;

	take_layers(b, low, NULL);
	expect(b, "/f", "last");
	expect(b, "/d/in", "in");
	assert_int_equal(mode_of(b, "/d"), S_IFDIR | 0711);
	expect(b, "/g", "file");
}

/* ---- links ---- */

static void links_refused(void **state)
{
	static const struct {
		struct entry entries[5];
		const char *says;
	} rows[] = {
		{{{.path = "h", .type = '1', .value = "nothing"}},
			"h: a hard link to 'nothing', which isn't there"},
		{{{.path = "h", .type = '1', .value = "h"}}, "h: a hard link to 'h', which isn't there"},
		{{{.path = "h", .type = '1', .value = "../../etc/passwd"}}, "h: "},
		{{{.path = "h", .type = '1', .value = "/etc/passwd"}}, "h: "},
		{{{.path = "h", .type = '1', .value = "no/such/folder"}}, "h: there is no 'no'"},
		{{{.path = "d", .type = '5'}, {.path = "h", .type = '1', .value = "d"}},
			"h: a hard link to the folder 'd'"},
		{{{.path = "h", .type = '1', .value = "."}}, "h: a hard link to the folder"},
		{{{.path = "h", .type = '1', .value = "/"}}, "h: a hard link to the folder"},
		{{{.path = "f", .type = '0'}, {.path = "f/h", .type = '1', .value = "f"}}, "f/h: "},
		{{{.path = "f", .type = '0'}, {.path = "./", .type = '1', .value = "f"}},
			"the root must be a folder"},
		{{{.path = "a", .type = '2', .value = "b"}, {.path = "b", .type = '2', .value = "a"},
			 {.path = "a/x", .type = '0'}},
			"a/x: a loop of symbolic links"},
		{{{.path = "l", .type = '2', .value = "l"}, {.path = "l/x", .type = '5'}}, "l/x: a loop"},
		{{{.path = "l", .type = '2', .value = "l/l"}, {.path = "h", .type = '1', .value = "l/x"}},
			"h: a loop"},
		{{{.path = "l", .type = '2', .value = ""}}, "l: a symbolic link to nothing"},
		{{{.path = "l", .type = '2', .value = "f"}, {.path = "f", .type = '0'},
			 {.path = "l/x", .type = '0'}},
			"l/x: 'f' on the way is no folder"},
	};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		refuse_entries(*state, rows[i].entries, -EBADMSG, rows[i].says);
}

/* A hard link to itself, where the file is there, changes nothing; one to a link is one to the link. */
static void links_taken(void **state)
{
	const struct entry low[] = {{.path = "f", .type = '0', .value = "f"},
		{.path = "f", .type = '1', .value = "./f"}, {.path = "l", .type = '2', .value = "f"},
		{.path = "h", .type = '1', .value = "l"}, {0}};
	struct bench *b = *state;

	take_layers(b, low, NULL);
	expect(b, "/f", "f");
	assert_true(S_ISLNK(mode_of(b, "/h")) || lookup(b, "/h") == lookup(b, "/f"));
}

static void target_too_long(void **state)
{
	_cleanup_free_ char *long_target = repeated("x", 4096), *fits = repeated("x", 4095);
	_cleanup_free_ char *refused = record("linkpath", long_target), *taken = record("linkpath", fits);
	const struct entry bad[] = {
		{.path = "p", .type = 'x', .value = refused}, {.path = "l", .type = '2', .value = "x"}, {0}};
	const struct entry good[] = {
		{.path = "p", .type = 'x', .value = taken}, {.path = "l", .type = '2', .value = "x"}, {0}};

	refuse_entries(*state, bad, -EBADMSG, "l: a symbolic link");
	take_layers(*state, good, NULL);
}

/* umoci: the root's entry as a link, and then everything else through it. */
static void cve_2021_29136_root_is_no_folder(void **state)
{
	static const char *const names[] = {".", "./", "/", "//", "./."};

	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		for (const char *type = "0231"; *type; type++) {
			const struct entry entries[] = {{.path = "f", .type = '0'},
				{.path = names[i],
					.type = *type,
					.value = *type == '1'   ? "f"
						 : *type == '2' ? "/etc"
								: ""},
				{0}};

			/* A file whose name ends so is a folder to POSIX's tar of old. */
			if (*type == '0' && names[i][strlen(names[i]) - 1] == '/')
				continue;
			refuse_entries(*state, entries, -EBADMSG, "the root must be a folder");
		}
}

/* docker cp, and containers/storage: a link that leads out, and then a file through it. It stays inside, whatever the target. */
static void cve_2018_15664_cve_2024_9676_through_a_link(void **state)
{
	const struct entry low[] = {{.path = "out", .type = '2', .value = "/"},
		{.path = "up", .type = '2', .value = "../../../../.."},
		{.path = "tmp", .type = '2', .value = "/tmp"}, {0}};
	const struct entry up[] = {{.path = "out/banger-was-here", .type = '0', .value = "1"},
		{.path = "up/etc/banger-was-here", .type = '0', .value = "2"},
		{.path = "tmp/banger-was-here", .type = '0', .value = "3"}, {0}};
	struct bench *b = *state;

	refuse(b, (const int[]){layer_of(low), layer_of(up)}, 2, -EBADMSG, "tmp/banger-was-here: a loop");
	take_layers(b, low, (const struct entry[]){up[0], up[1], {0}});
	expect(b, "/banger-was-here", "1");
	expect(b, "/etc/banger-was-here", "2");
	assert_int_equal(access("/banger-was-here", F_OK), -1);
	assert_int_equal(access("/etc/banger-was-here", F_OK), -1);
}

/* docker: links with absolute targets and "..", soft and hard. */
static void cve_2014_6407_cve_2014_9356_links_out(void **state)
{
	const struct entry hard[] = {{.path = "x", .type = '1', .value = "/etc/hostname"}, {0}};
	const struct entry dots[] = {{.path = "x", .type = '1', .value = "a/../../../etc/hostname"}, {0}};
	const struct entry soft[] = {
		{.path = "l", .type = '2', .value = "/etc"}, {.path = "l/../x", .type = '0'}, {0}};

	refuse_entries(*state, hard, -EBADMSG, "x: there is no 'etc'");
	refuse_entries(*state, dots, -EBADMSG, "x: ");
	refuse_entries(*state, soft, -EBADMSG, "l/../x: ");
}

/* containerd: attributes of an entry over a link changed what the link led to. */
static void cve_2021_32760_mode_through_a_link(void **state)
{
	const struct entry low[] = {{.path = "secret", .type = '0', .value = "s", .mode = 0600},
		{.path = "dir", .type = '5', .mode = 0700}, {.path = "l", .type = '2', .value = "secret"},
		{.path = "ld", .type = '2', .value = "dir"}, {.path = "h", .type = '1', .value = "secret"},
		{0}};
	const struct entry up[] = {{.path = "l", .type = '0', .value = "mine", .mode = 04777},
		{.path = "ld", .type = '5', .mode = 0777},
		{.path = "h", .type = '0', .value = "mine", .mode = 04777}, {0}};
	struct bench *b = *state;

	take_layers(b, low, up);
	assert_int_equal(mode_of(b, "/secret"), S_IFREG | 0600);
	expect(b, "/secret", "s");
	assert_int_equal(mode_of(b, "/dir"), S_IFDIR | 0700);
	assert_int_equal(mode_of(b, "/ld"), S_IFDIR | 0777);
	expect(b, "/l", "mine");
}

/* libarchive: a hard link with contents wrote them to what it leads to. */
static void cve_2016_5418_hard_link_with_contents(void **state)
{
	const struct entry low[] = {
		{.path = "f", .type = '0', .value = "before"}, {.path = "l", .type = '2', .value = "f"}, {0}};
	const struct entry up[] = {{.path = "p", .type = 'x', .value = "30 mtime=1700000000.000000001\n"},
		{.path = "h", .type = '1', .value = "f", .data = "overwritten"},
		{.path = "p", .type = 'x', .value = "30 mtime=1700000000.000000001\n"},
		{.path = "hl", .type = '1', .value = "l", .data = "overwritten"},
		{.path = "after", .type = '0', .value = "a"}, {0}};
	struct bench *b = *state;

	take_layers(b, low, up);
	expect(b, "/f", "before");
	expect(b, "/h", "before");
	expect(b, "/after", "a");
}

/* undock, nbc: a hard link, or a copy in its place, to a file of the host's. */
static void undock_460_nbc_85_86_host_files(void **state)
{
	const struct entry low[] = {{.path = "l", .type = '2', .value = "/etc"}, {0}};
	const struct entry up[] = {{.path = "copy", .type = '1', .value = "l/hostname"}, {0}};

	refuse(*state, (const int[]){layer_of(low), layer_of(up)}, 2, -EBADMSG, "copy: ");
}

/* ---- whiteouts ---- */

static void whiteouts_refused(void **state)
{
	static const char *const names[] = {".wh.", "a/.wh.", ".wh..", ".wh...", "./.wh..", ".wh./",
		"../.wh.x", "a/../.wh.x", ".wh.x/y", "a/.wh.x/y/z"};

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		const struct entry entries[] = {{.path = names[i], .type = '0'}, {0}};

		refuse_entries(*state, entries, -EBADMSG, names[i]);
	}
}

/* ".wh..wh..opq" of the root is a whole new image; what else aufs has is passed over; a folder's kind of name deletes as well. */
static void whiteouts_taken(void **state)
{
	const struct entry low[] = {
		{.path = "a", .type = '5'}, {.path = "a/f", .type = '0'}, {.path = "b", .type = '0'}, {0}};
	const struct entry up[] = {{.path = ".wh..wh.aufs", .type = '0'},
		{.path = ".wh..wh.orph", .type = '5'}, {.path = "new", .type = '0', .value = "new"},
		{.path = ".wh..wh..opq", .type = '0'}, {0}};
	const struct entry dir[] = {{.path = ".wh.a/", .type = '5'}, {.path = "none/such/.wh.x", .type = '0'},
		{.path = "b/.wh.x", .type = '0'}, {.path = "b/c/.wh..wh..opq", .type = '0'}, {0}};
	struct bench *b = *state;

	take_layers(b, low, up);
	expect(b, "/a", NULL);
	expect(b, "/b", NULL);
	expect(b, "/.wh..wh.aufs", NULL);
	expect(b, "/.wh..wh.orph", NULL);
	expect(b, "/new", "new");
	take_layers(b, low, dir);
	expect(b, "/a", NULL);
	expect(b, "/none", NULL);
	expect(b, "/b", "");
}

/* smolvm: a whiteout through a link deleted the host's files. */
static void smolvm_whiteout_through_a_link(void **state)
{
	const struct entry low[] = {{.path = "etc", .type = '5'}, {.path = "etc/f", .type = '0'},
		{.path = "d/l", .type = '2', .value = "../../../etc"},
		{.path = "loop", .type = '2', .value = "loop"}, {0}};
	const struct entry up[] = {
		{.path = "d/l/.wh.f", .type = '0'}, {.path = "d/l/.wh.hostname", .type = '0'}, {0}};
	const struct entry loop[] = {{.path = "loop/.wh.f", .type = '0'}, {0}};
	struct bench *b = *state;

	take_layers(b, low, up);
	expect(b, "/etc/f", NULL);
	assert_true(S_ISDIR(mode_of(b, "/etc")));
	refuse(b, (const int[]){layer_of(low), layer_of(loop)}, 2, -EBADMSG, "loop/.wh.f: a loop");
}

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

/* Headers on the way through a pipe: more of them than fit anywhere. */
struct flood {
	pthread_t thread;
	int to;
	uint64_t count;
	/* Writes the I-th header's path to its first 100 bytes, and the target behind, and sets its type. */
	void (*name)(uint64_t i, char head[BLOCK]);
};

static void *flood_thread(void *arg)
{
	struct flood *f = arg;
	size_t many = 256;
	_cleanup_free_ char *buf = malloc(many * BLOCK);
	char head[BLOCK];

	signal(SIGPIPE, SIG_IGN);
	set_head(head, "", '0', "", 0, 0);
	for (uint64_t i = 0; i < f->count;) {
		for (size_t k = 0; k < many; k++, i++) {
			f->name(i, head);
			set_checksum(head);
			memcpy(buf + k * BLOCK, head, BLOCK);
		}
		if (io_write_full(f->to, buf, many * BLOCK) < 0)
			break;
	}
	close(f->to);
	return NULL;
}

static void flood(struct bench *b, void (*name)(uint64_t i, char *head), const char *says)
{
	struct flood f = {.count = 10000000, .name = name};
	_cleanup_err_ struct err e = {0};
	struct image_layer l = {.grow = -1};
	struct image_result result;
	uint64_t began = io_now_usec();
	int fds[2], r;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
	l.fd = fds[0];
	f.to = fds[1];
	assert_int_equal(pthread_create(&f.thread, NULL, flood_thread, &f), 0);
	assert_int_equal(ftruncate(b->out, 0), 0);
	r = image_from_layers(&l, 1, b->out, "seed", NULL, &result, &e);
	close(fds[0]);
	pthread_join(f.thread, NULL);
	if (r != -EFBIG || !strstr(err_text(&e), "layer 1 ") || !strstr(err_text(&e), says))
		fail_msg("%d: %s", r, err_text(&e));
	print_message("# %s: %llu ms\n", says, (unsigned long long)(io_now_usec() - began) / 1000);
	assert_true(io_now_usec() - began < SOON_USEC);
}

static void name_same(uint64_t i, char *head)
{
	(void)i;
	memcpy(head, "same", 5);
}

static void name_each(uint64_t i, char *head)
{
	snprintf(head, 100, "%02x/%02x/%llx", (unsigned)(i & 0xff), (unsigned)(i >> 8 & 0xff),
		(unsigned long long)i);
}

static void ten_million_entries(void **state)
{
	flood(*state, name_same, "same: more than 4000000 entries");
	flood(*state, name_each, ": more than 4000000 entries");
}

/* A million files, and then the same folder made opaque again and again: each sweep looks at all of them. */
static void name_opaque(uint64_t i, char *head)
{
	if (i < 1000000)
		snprintf(head, 100, "d/%llx", (unsigned long long)i);
	else
		snprintf(head, 100, i % 2 ? "d/.wh..wh..opq" : ".wh.d");
}

static void many_whiteouts(void **state)
{
	flood(*state, name_opaque, "more than 4000000 entries");
}

/* Links whose targets are long ways, one behind the other: 80000 steps for each entry. */
static void name_links(uint64_t i, char *head)
{
	memset(head, 0, 100);
	memset(head + 157, 0, 100);
	head[156] = '2';
	if (i < 38) {
		snprintf(head, 100, "l%llu", (unsigned long long)i);
		for (size_t k = 0; k < 45; k++)
			memcpy(head + 157 + 2 * k, "./", 2);
		snprintf(head + 157 + 90, 10, "l%llu", (unsigned long long)i + 1);
	} else if (i == 38) {
		memcpy(head, "l38", 4);
		memcpy(head + 157, ".", 2);
	} else {
		head[156] = '0';
		memcpy(head, "l0/x", 5);
	}
}

static void long_ways(void **state)
{
	flood(*state, name_links, "l0/x: ");
}

/* ---- packings ---- */

static size_t gzipped(const void *data, size_t n, char *out, size_t room)
{
	z_stream z = {.next_in = (void *)data,
		.avail_in = (unsigned)n,
		.next_out = (void *)out,
		.avail_out = (unsigned)room};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t zstded(const void *data, size_t n, char *out, size_t room)
{
	size_t k = ZSTD_compress(out, room, data, n, 3);

	assert_false(ZSTD_isError(k));
	return k;
}

static const struct entry small[] = {
	{.path = "a", .type = '0', .value = "one"}, {.path = "b", .type = '0', .value = "two"}, {0}};

/* Cut off anywhere, packed or not; only where an entry ends and nothing else says so does it look whole (its diff_id tells). */
static void cut_anywhere(void **state)
{
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n), *packed = malloc(65536);

	for (int packing = 0; packing < 3; packing++) {
		size_t size = packing == 0   ? n
			      : packing == 1 ? gzipped(tar, n, packed, 65536)
					     : zstded(tar, n, packed, 65536);
		const char *data = packing == 0 ? tar : packed;

		for (size_t at = packing == 0 ? 1 : 4; at < size; at += packing == 0 ? 61 : 1) {
			_cleanup_err_ struct err e = {0};
			int fd = file_of(data, at), r = merge(*state, &fd, 1, &e);

			if (packing == 0 && (at % (2 * BLOCK) == 0 || at >= 4 * BLOCK))
				continue;
			if (r != -EBADMSG || !strstr(err_text(&e), "layer 1 "))
				fail_msg("packing %d, %zu of %zu bytes: %d: %s", packing, at, size, r,
					err_text(&e));
		}
	}
}

/* What follows the end: of the tar nobody reads it, of gzip it is passed over as gzip does, of zstd it is an error; digests have it all. */
static void trailing(void **state)
{
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n), *packed = calloc(1, 65536),
			    *longer = calloc(1, n + 1000);
	size_t size = gzipped(tar, n, packed, 60000);
	struct bench *b = *state;
	int fd;

	memcpy(longer, tar, n);
	memset(longer + n, 'x', 1000);
	fd = file_of(longer, n + 1000);
	take(b, &fd, 1);
	memcpy(packed + size, "garbage", 7);
	fd = file_of(packed, size + 7);
	take(b, &fd, 1);
	size = zstded(tar, n, packed, 60000);
	memcpy(packed + size, "garbage", 7);
	refuse_bytes(b, packed, size + 7, -EBADMSG, "zstd");
	/* A second tar within the first stream is behind its end, too. */
	fd = file_of(tar, n);
	take(b, &fd, 1);
	expect(b, "/b", "two");
}

static void reserved_gzip_flags(void **state)
{
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n), *packed = calloc(1, 65536);
	size_t size = gzipped(tar, n, packed, 65536);

	for (int bit = 5; bit < 8; bit++) {
		packed[3] = (char)(1 << bit);
		refuse_bytes(*state, packed, size, -EBADMSG, "gzip");
	}
}

static void packed_twice(void **state)
{
	size_t n, one, two;
	_cleanup_free_ char *tar = tar_of(small, &n), *once = malloc(65536), *again = malloc(65536);

	for (int outer = 0; outer < 2; outer++)
		for (int inner = 0; inner < 2; inner++) {
			one = inner ? zstded(tar, n, once, 65536) : gzipped(tar, n, once, 65536);
			two = outer ? zstded(once, one, again, 65536) : gzipped(once, one, again, 65536);
			refuse_bytes(*state, again, two, -EBADMSG, "layer 1 ");
		}
	/* What no layer is packed with. */
	refuse_bytes(*state,
		"\xfd"
		"7zXZ\0\0\4\xe6\xd6\xb4\x46\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\1\0\0\0\0\4YZ",
		32, -EBADMSG, "layer 1 ");
}

/* 7 GiB of zeros in a few KiB of zstd, and in 8 MiB of gzip: the former is a bomb, of the latter each file stays below what an image may have. */
static void ratio_bombs(void **state)
{
	const size_t piece = 16 << 20;
	size_t n, packed_n, head_n;
	_cleanup_free_ char *zeros = calloc(1, piece), *packed = malloc(1 << 20), *head = NULL, *all = NULL;
	FILE *f;
	char entry[BLOCK];

	for (int zstd = 0; zstd < 2; zstd++) {
		set_head(entry, "bomb", '0', "", 7ull << 30, 0);
		free(head);
		head = malloc(4096);
		head_n = zstd ? zstded(entry, BLOCK, head, 4096) : gzipped(entry, BLOCK, head, 4096);
		packed_n =
			zstd ? zstded(zeros, piece, packed, 1 << 20) : gzipped(zeros, piece, packed, 1 << 20);
		free(all);
		all = NULL;
		f = open_memstream(&all, &n);
		fwrite(head, 1, head_n, f);
		for (int i = 0; i < 64 + 8; i++)
			fwrite(packed, 1, packed_n, f);
		fclose(f);
		/* gzip's is cut off behind 1.1 GiB: no bomb, but not whole. */
		refuse_bytes(*state, all, n, -EBADMSG,
			zstd ? "bomb: unpacks to more than 1200 times its size" : "bomb: ");
	}
}

/* Frames of nothing, and frames to pass over, for ever. */
static void frames_of_nothing(void **state)
{
	const size_t many = 1 << 20;
	_cleanup_free_ char *frames = malloc(many * 9);
	struct bench *b = *state;
	int fd;

	for (size_t i = 0; i < many; i++)
		memcpy(frames + 9 * i, i % 2 ? "\x50\x2a\x4d\x18\1\0\0\0x" : "\x28\xb5\x2f\xfd\x20\0\1\0\0",
			9);
	fd = file_of(frames, many * 9);
	take(b, &fd, 1);
}

static void wrong_digests(void **state)
{
	static const char wrong[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n);
	struct bench *b = *state;

	for (int which = 0; which < 2; which++) {
		_cleanup_err_ struct err e = {0};
		struct image_layer l[2] = {
			{.fd = file_of(tar, n), .grow = -1}, {.fd = file_of(tar, n), .grow = -1}};
		struct image_result result;

		*(which ? &l[1].diff_id : &l[1].digest) = wrong;
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(image_from_layers(l, 2, b->out, "seed", NULL, &result, &e), -EBADMSG);
		if (!strstr(err_text(&e), "layer 2 ") ||
			!strstr(err_text(&e), which ? "diff_id" : "its digest is sha256:") ||
			!strstr(err_text(&e), wrong))
			fail_msg("%s", err_text(&e));
		close(l[0].fd);
		close(l[1].fd);
	}
}

/* ---- what ext4 has of its own ---- */

static void lost_and_found(void **state)
{
	const struct entry folder[] = {{.path = "lost+found", .type = '5', .mode = 0751},
		{.path = "lost+found/x", .type = '0', .value = "x"}, {0}};
	const struct entry none[] = {{.path = "a", .type = '0'}, {0}},
			   gone[] = {{.path = ".wh.lost+found", .type = '0'}, {0}};
	struct bench *b = *state;

	take_layers(b, folder, NULL);
	assert_int_equal(mode_of(b, "/lost+found"), S_IFDIR | 0751);
	expect(b, "/lost+found/x", "x");
	take_layers(b, none, NULL);
	assert_int_equal(mode_of(b, "/lost+found"), S_IFDIR | 0700);
	take_layers(b, folder, gone);
	expect(b, "/lost+found/x", NULL);
	assert_int_equal(mode_of(b, "/lost+found"), S_IFDIR | 0700);
	for (int i = 0; i < 2; i++) {
		const struct entry other[] = {
			{.path = "lost+found", .type = i ? '2' : '0', .value = i ? "a" : "mine"},
			{.path = "a", .type = '5'}, {0}};

		take_layers(b, other, NULL);
		if (i == 0)
			expect(b, "/lost+found", "mine");
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_refused),
		TEST(names_taken),
		TEST(twice),
		TEST(links_refused),
		TEST(links_taken),
		TEST(target_too_long),
		TEST(cve_2021_29136_root_is_no_folder),
		TEST(cve_2018_15664_cve_2024_9676_through_a_link),
		TEST(cve_2014_6407_cve_2014_9356_links_out),
		TEST(cve_2021_32760_mode_through_a_link),
		TEST(cve_2016_5418_hard_link_with_contents),
		TEST(undock_460_nbc_85_86_host_files),
		TEST(whiteouts_refused),
		TEST(whiteouts_taken),
		TEST(smolvm_whiteout_through_a_link),
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
		TEST(ten_million_entries),
		TEST(many_whiteouts),
		TEST(long_ways),
		TEST(cut_anywhere),
		TEST(trailing),
		TEST(reserved_gzip_flags),
		TEST(packed_twice),
		TEST(ratio_bombs),
		TEST(frames_of_nothing),
		TEST(wrong_digests),
		TEST(lost_and_found),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
