/* Which files of a home go into guests: never one from outside of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "repo/homefiles.h"

struct bench {
	char dir[40];
	char *home;
	int fd, home_fd;
	struct homefiles files;
};

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	close(fd);
}

static int setup(void **state)
{
	static const char template[] = "/tmp/banger-homefiles.XXXXXX";
	struct bench *b = calloc(1, sizeof(*b));

	memcpy(b->dir, template, sizeof(template));
	assert_non_null(mkdtemp(b->dir));
	assert_true(asprintf(&b->home, "%s/home", b->dir) > 0);
	assert_int_equal(mkdir(b->home, 0700), 0);
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->home_fd = open(b->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	umask(022);
	put(b->fd, "secret", "secret");
	put(b->home_fd, "file", "text");
	assert_int_equal(mkdirat(b->home_fd, "folder", 0755), 0);
	put(b->home_fd, "folder/inner", "x");
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	const char *const argv[] = {"rm", "-rf", b->dir, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;

	homefiles_clear(&b->files);
	close_fd(b->fd);
	close_fd(b->home_fd);
	spec.argv = argv;
	assert_int_equal(proc_run(&spec, NULL, NULL, NULL, NULL), 0);
	free(b->home);
	free(b);
	return 0;
}

static void lines_are_checked(void **state)
{
	static const char *const bad[] = {
		"one", "/etc/passwd /x", "a b", "a b/c", "a /x y", "a /", "a /../x", "a /x/./y"};

	(void)state;
	assert_int_equal(homefiles_check("", NULL), 0);
	assert_int_equal(homefiles_check("a /b\n~/c ~/d/\n\n.e\t/f", NULL), 0);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(homefiles_check(bad[i], NULL), -EINVAL);
}

static void files_and_folders(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *text = NULL;
	int fd;

	assert_int_equal(homefiles_look(b->home, "file ~/f\nfolder /opt/x\nmissing /y", &b->files, NULL), 0);
	assert_int_equal(b->files.count, 3);
	assert_string_equal(b->files.files[0].path, "root/f");
	assert_int_equal(b->files.files[0].mode, S_IFREG | 0640);
	assert_string_equal(b->files.files[1].path, "opt/x");
	assert_true(S_ISDIR(b->files.files[1].mode));
	assert_string_equal(b->files.files[2].path, "opt/x/inner");
	assert_int_equal(b->files.note_count, 1);
	fd = homefiles_open(&b->files, &b->files.files[0]);
	assert_int_equal(io_read_fd(fd, 64, &text, NULL), 0);
	assert_string_equal(text, "text");
	close(fd);
	fd = homefiles_open(&b->files, &b->files.files[2]);
	assert_true(fd >= 0);
	close(fd);
}

/* An entry may be a link within the home; below one none is followed; out of the home nothing leads. */
static void links(void **state)
{
	struct bench *b = *state;

	assert_int_equal(symlinkat("file", b->home_fd, "inside"), 0);
	assert_int_equal(symlinkat("../secret", b->home_fd, "up"), 0);
	assert_int_equal(symlinkat("/etc/passwd", b->home_fd, "absolute"), 0);
	assert_int_equal(symlinkat("..", b->home_fd, "parent"), 0);
	assert_int_equal(symlinkat("../file", b->home_fd, "folder/link"), 0);
	assert_int_equal(mkfifoat(b->home_fd, "folder/fifo", 0600), 0);
	assert_int_equal(
		homefiles_look(b->home,
			"inside /a\nup /b\nabsolute /c\nparent/secret /d\nparent /e\nfolder /f\n../secret /g",
			&b->files, NULL),
		0);
	assert_int_equal(b->files.count, 3);
	assert_string_equal(b->files.files[0].path, "a");
	assert_string_equal(b->files.files[1].path, "f");
	assert_string_equal(b->files.files[2].path, "f/inner");
	assert_int_equal(b->files.note_count, 7);
}

/* What becomes a link between the look and the reading is not followed either. */
static void it_changes_meanwhile(void **state)
{
	struct bench *b = *state;

	assert_int_equal(homefiles_look(b->home, "folder /x", &b->files, NULL), 0);
	assert_int_equal(b->files.count, 2);
	assert_int_equal(unlinkat(b->home_fd, "folder/inner", 0), 0);
	assert_int_equal(symlinkat("../../secret", b->home_fd, "folder/inner"), 0);
	assert_true(homefiles_open(&b->files, &b->files.files[1]) < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_checked),
		TEST(files_and_folders),
		TEST(links),
		TEST(it_changes_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
