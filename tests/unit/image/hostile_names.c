/* Names, links and whiteouts that lead elsewhere. */
#include "tests/unit/image/hostile.h"

/* ---- names ---- */

static void names_refused(void **state)
{
	_cleanup_free_ char *long_name = repeated("n", 256), *long_path = repeated("abcdefghi/", 450),
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
		{{{.path = "p", .type = 'x', .value = pax_name}, {.path = "x", .type = '0'}}, "nnn: a name"},
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
