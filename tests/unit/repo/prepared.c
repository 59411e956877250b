/* What is kept of a workspace's preparation, in its file and out of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/prepared.h"

static char dir_name[] = "/tmp/banger-prepared-XXXXXX";
static int dir;

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir_name));
	dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static int teardown(void **state)
{
	(void)state;
	unlinkat(dir, "p", 0);
	close_fd(dir);
	return rmdir(dir_name);
}

static struct prepared *make(void)
{
	static const char *const paths[] = {"z", "a/b", "two\nlines", "a", "\xff\xfe", "a"};
	struct prepared *p = prepared_new("/home/me/a b", "v1");
	uint8_t id[WORKSPACE_ID];

	assert_non_null(p);
	p->is_git = p->dirty = true;
	p->bytes = UINT64_MAX;
	p->when = 7;
	assert_int_equal(prepared_add_repo(p, "", "ref: refs/heads/main", "0123", "4567", "89ab", "cdef"), 0);
	assert_int_equal(prepared_add_repo(p, "sub\n/", "abcd", "", NULL, "", ""), 0);
	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		memset(id, (int)(0xf0 + i), sizeof(id));
		assert_int_equal(filelist_add(&p->files, paths[i], S_IFREG | 0644, id), 0);
	}
	filelist_sort(&p->files);
	memset(p->files.entries[0].guest, 0xa5, WORKSPACE_ID);
	return p;
}

static void there_and_back(void **state)
{
	_cleanup_(prepared_freep) struct prepared *p = make(), *q = NULL, *head = NULL;

	(void)state;
	assert_int_equal(p->files.count, 5);
	assert_int_equal(prepared_save(p, dir, "p", NULL), 0);
	assert_int_equal(prepared_load(dir, "p", true, &q, NULL), 0);
	assert_string_equal(q->source, "/home/me/a b");
	assert_string_equal(q->ref, "v1");
	assert_true(q->is_git && q->dirty && q->bytes == UINT64_MAX && q->when == 7 && q->file_count == 5);
	assert_int_equal(q->repo_count, 2);
	assert_string_equal(prepared_repo_find(q, "sub\n/")->head, "abcd");
	assert_string_equal(prepared_repo_find(q, "")->commit, "cdef");
	assert_null(prepared_repo_find(q, "other/"));
	assert_int_equal(q->files.count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_string_equal(q->files.entries[i].path, p->files.entries[i].path);
		assert_int_equal(q->files.entries[i].mode, S_IFREG | 0644);
		assert_memory_equal(q->files.entries[i].host, p->files.entries[i].host, WORKSPACE_ID);
		assert_memory_equal(q->files.entries[i].guest, p->files.entries[i].guest, WORKSPACE_ID);
	}
	assert_non_null(filelist_find(&q->files, "two\nlines"));
	assert_null(filelist_find(&q->files, "two"));
	assert_int_equal(prepared_load(dir, "p", false, &head, NULL), 0);
	assert_true(head->file_count == 5 && head->files.count == 0);
}

/* Cut off anywhere, or with any byte changed, it is refused or read, and never more than that. */
static void damaged(void **state)
{
	_cleanup_(prepared_freep) struct prepared *p = make();
	_cleanup_free_ char *text = NULL;
	size_t n;

	(void)state;
	assert_int_equal(prepared_save(p, dir, "p", NULL), 0);
	assert_int_equal(io_read_file(dir, "p", 1 << 20, &text, &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		_cleanup_(prepared_freep) struct prepared *q = NULL, *other = NULL;
		char kept = text[i];

		assert_int_equal(prepared_parse(text, i, true, &q, NULL), -EUCLEAN);
		text[i] = (char)(kept ^ 0x41);
		(void)!prepared_parse(text, n, true, &other, NULL);
		text[i] = kept;
	}
	assert_int_equal(prepared_load(dir, "none", true, &p, NULL), -ENOENT);
}

static void paths(void **state)
{
	static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/.", "../a"};
	static const char *const good[] = {"a", "a/b", "...", ".git", "a/..b", "-"};
	struct filelist list = {0};
	char deep[WORKSPACE_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_false(workspace_path_valid(bad[i], strlen(bad[i])));
	for (size_t i = 0; i < ELEMENTSOF(good); i++)
		assert_true(workspace_path_valid(good[i], strlen(good[i])));
	assert_false(workspace_path_valid("a\0b", 3));
	memset(deep, 'x', sizeof(deep));
	assert_false(workspace_path_valid(deep, 256));
	for (size_t i = 200; i < sizeof(deep); i += 200)
		deep[i] = '/';
	assert_true(workspace_path_valid(deep, WORKSPACE_PATH_MAX));
	assert_false(workspace_path_valid(deep, WORKSPACE_PATH_MAX + 1));
	assert_int_equal(filelist_add(&list, "../x", S_IFREG, (uint8_t[WORKSPACE_ID]){0}), -EINVAL);
	filelist_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(damaged),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
