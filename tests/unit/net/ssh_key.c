/* The instance's key: made once, the same ever after, and whole again after a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "net/ssh_key.h"

static void once(void **state)
{
	char path[] = "/tmp/banger-sshkey-XXXXXX";
	_cleanup_free_ char *first = NULL, *second = NULL, *third = NULL, *fourth = NULL, *private = NULL,
			    *again = NULL;
	_cleanup_err_ struct err e = {0};
	int fd, made;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ssh_key_ensure(fd, &first, &e), 0);
	assert_memory_equal(first, "ssh-ed25519 ", 12);
	assert_null(strchr(first, '\n'));
	assert_int_equal(fstatat(fd, "ssh", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(fd, "ssh/id_ed25519", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(io_read_file(fd, "ssh/id_ed25519", 65536, &private, NULL, NULL), 0);

	/* What a crash has left is of no importance. */
	made = openat(fd, "ssh/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close_fd(made);
	assert_int_equal(ssh_key_ensure(fd, &second, &e), 0);
	assert_string_equal(first, second);
	assert_int_equal(unlinkat(fd, "ssh/id_ed25519.pub", 0), 0);
	if (ssh_key_ensure(fd, &third, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_string_equal(first, third);
	assert_int_equal(io_read_file(fd, "ssh/id_ed25519", 65536, &again, NULL, NULL), 0);
	assert_string_equal(private, again);

	/* What would say more than one thing in authorized_keys is no key. */
	made = openat(fd, "ssh/id_ed25519.pub", O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(io_write_full(made, "ssh-rsa a\nssh-rsa b\n", 20), 0);
	close_fd(made);
	assert_int_equal(ssh_key_ensure(fd, &fourth, &e), -EBADMSG);
	assert_null(fourth);
	/* A private half that has gone: another pair, both halves of it. */
	assert_int_equal(unlinkat(fd, "ssh/id_ed25519", 0), 0);
	assert_int_equal(ssh_key_ensure(fd, &fourth, &e), 0);
	assert_string_not_equal(first, fourth);

	unlinkat(fd, "ssh/new", 0);
	unlinkat(fd, "ssh/id_ed25519", 0);
	unlinkat(fd, "ssh/id_ed25519.pub", 0);
	assert_int_equal(unlinkat(fd, "ssh", AT_REMOVEDIR), 0);
	close_fd(fd);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(once)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
