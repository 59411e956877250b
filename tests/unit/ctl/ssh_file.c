/* The user's ~/.ssh/config: byte for byte the same after install and uninstall, whatever it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "ctl/ssh_file.h"

static char home[] = "/tmp/banger-sshfile-XXXXXX";
static char line[128]; /* what is put at the top, with its newline */
static int fd = -1;

static int set_up(void **state)
{
	(void)state;
	memcpy(home + strlen(home) - 6, "XXXXXX", 6);
	if (!mkdtemp(home))
		return -1;
	snprintf(line, sizeof(line), SSH_FILE_LINE_HEAD "%s" SSH_FILE_LINE_TAIL "\n", home);
	fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {
		".ssh/config", ".ssh/banger.conf", ".ssh/known_hosts", "dotfiles/ssh"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		unlinkat(fd, files[i], 0);
	unlinkat(fd, ".ssh", AT_REMOVEDIR);
	unlinkat(fd, "dotfiles", AT_REMOVEDIR);
	fd = close_fd(fd);
	return rmdir(home);
}

static void put(const char *path, const void *data, size_t n, mode_t mode)
{
	int file = openat(fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	assert_int_equal(io_write_full(file, data, n), 0);
	assert_int_equal(fchmod(file, mode), 0);
	close(file);
}

static void has(const char *path, const void *data, size_t n, mode_t mode)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t size;

	assert_int_equal(io_read_file(fd, path, 65536, &text, &size, NULL), 0);
	assert_int_equal(size, n);
	assert_memory_equal(text, data, n);
	assert_int_equal(fstatat(fd, path, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static bool there(const char *path)
{
	return faccessat(fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void install(void)
{
	_cleanup_err_ struct err e = {0};

	if (ssh_file_install(home, "Host *.vm\n", NULL, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void uninstall(int expected)
{
	_cleanup_err_ struct err e = {0};
	int done = -1;

	if (ssh_file_uninstall(home, &done, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(done, expected);
}

static void __attribute__((format(printf, 1, 2))) edited_put(const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) > 0);
	va_end(ap);
	put(".ssh/config", text, strlen(text), 0600);
}

static void whatever_it_was(void **state)
{
	static const struct {
		const char *data;
		size_t n;
		mode_t mode;
	} cases[] = {
#define CASE(text, mode) {text, sizeof(text) - 1, mode}
		CASE("Host a\n\tUser b\n", 0600),
		CASE("Host a\n\tUser b", 0644),
		CASE("Host a\r\n\tUser b\r\n", 0640),
		CASE("Host a\r\n\tUser b", 0600),
		CASE("", 0600),
		CASE("\n", 0600),
		CASE("\n\n\nHost a\n\n\n", 0400),
		CASE("\xef\xbb\xbf# with a mark\n", 0600),
		CASE("nul \0 and more\n", 0600),
		CASE("Include banger.conf\n# Include \"/home/a/.ssh/banger.conf\"\n"
		     " Include \"/home/a/.ssh/banger.conf\"\nInclude \"/home/a/.ssh/banger.conf\" x",
			0600),
	};

	(void)state;
	assert_int_equal(mkdirat(fd, ".ssh", 0700), 0);
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *text = NULL;
		size_t n;

		put(".ssh/config", cases[i].data, cases[i].n, cases[i].mode);
		/* Twice does no more than once. */
		install();
		install();
		assert_int_equal(io_read_file(fd, ".ssh/config", 65536, &text, &n, NULL), 0);
		assert_int_equal(n, cases[i].n + strlen(line));
		assert_memory_equal(text, line, strlen(line));
		assert_true(there(".ssh/banger.conf"));
		uninstall(1);
		has(".ssh/config", cases[i].data, cases[i].n, cases[i].mode);
		assert_false(there(".ssh/banger.conf"));
		uninstall(0);
		has(".ssh/config", cases[i].data, cases[i].n, cases[i].mode);
	}
}

static void where_there_was_none(void **state)
{
	(void)state;
	uninstall(0);
	install();
	install();
	has(".ssh/config", line, strlen(line), 0600);
	uninstall(1);
	assert_false(there(".ssh"));
	/* A folder without a config; and one into which something has come since. */
	assert_int_equal(mkdirat(fd, ".ssh", 0700), 0);
	install();
	uninstall(1);
	assert_true(there(".ssh"));
	assert_false(there(".ssh/config"));
	assert_int_equal(unlinkat(fd, ".ssh", AT_REMOVEDIR), 0);
	install();
	put(".ssh/known_hosts", "x\n", 2, 0600);
	edited_put("%sHost mine\n", line);
	uninstall(1);
	has(".ssh/config", "Host mine\n", 10, 0600);
	has(".ssh/known_hosts", "x\n", 2, 0600);
}

static void what_was_edited_since(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(fd, ".ssh", 0700), 0);
	put(".ssh/config", "Host a\r\n", 8, 0600);
	install();
	edited_put("# mine\r\n%.*s\r\nHost a\r\n", (int)strlen(line) - 1, line);
	uninstall(1);
	has(".ssh/config", "# mine\r\nHost a\r\n", 16, 0600);
	/* The home was another then. */
	install();
	edited_put("Include \"/old/home/.ssh/banger.conf\"\nHost b");
	uninstall(1);
	has(".ssh/config", "Host b", 6, 0600);
	/* The line was taken out by hand: ours goes, the rest isn't written to. */
	install();
	put(".ssh/config", "Host b", 6, 0600);
	uninstall(1);
	has(".ssh/config", "Host b", 6, 0600);
}

static void a_link(void **state)
{
	_cleanup_free_ char *whole = NULL;
	_cleanup_err_ struct err e = {0};
	struct stat st;
	int done;

	(void)state;
	assert_int_equal(mkdirat(fd, ".ssh", 0700), 0);
	assert_int_equal(mkdirat(fd, "dotfiles", 0755), 0);
	put("dotfiles/ssh", "Host a", 6, 0640);
	assert_int_equal(symlinkat("../dotfiles/ssh", fd, ".ssh/config"), 0);
	install();
	assert_int_equal(fstatat(fd, ".ssh/config", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_true(asprintf(&whole, "%sHost a", line) > 0);
	has("dotfiles/ssh", whole, strlen(whole), 0640);
	assert_true(there(".ssh/banger.conf"));
	uninstall(1);
	assert_int_equal(fstatat(fd, ".ssh/config", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	has("dotfiles/ssh", "Host a", 6, 0640);
	/* One to nowhere is the user's to mend. */
	assert_int_equal(unlinkat(fd, "dotfiles/ssh", 0), 0);
	assert_int_equal(ssh_file_install(home, "", NULL, &e), -ENOENT);
	assert_int_equal(ssh_file_uninstall(home, &done, &e), -ENOENT);
	assert_false(there(".ssh/banger.conf"));
}

static int never(const char *path, struct err *e)
{
	assert_int_equal(access(path, R_OK), 0);
	return err_set(e, -EIO, "ssh doesn't like it");
}

static void what_is_refused(void **state)
{
	_cleanup_err_ struct err e = {0};
	int done;

	(void)state;
	assert_int_equal(ssh_file_install("/home/a\"b", "", NULL, &e), -EINVAL);
	assert_int_equal(ssh_file_install(home, "", never, &e), -EIO);
	assert_false(there(".ssh"));
	assert_int_equal(mkdirat(fd, ".ssh", 0700), 0);
	put(".ssh/config", "Host a", 6, 0600);
	assert_int_equal(ssh_file_install(home, "", never, &e), -EIO);
	assert_false(there(".ssh/banger.conf"));
	put(".ssh/banger.conf", "somebody's\n", 11, 0600);
	assert_int_equal(ssh_file_install(home, "", NULL, &e), -EEXIST);
	assert_int_equal(ssh_file_uninstall(home, &done, &e), -EEXIST);
	has(".ssh/banger.conf", "somebody's\n", 11, 0600);
	has(".ssh/config", "Host a", 6, 0600);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whatever_it_was, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_there_was_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_edited_since, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
