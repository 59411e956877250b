/* What an instance's things are called, and that no two VMs share any of it. */
#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../helper/pool.h"
#include "../../../helper/instance.h"
#include "banger/cleanup.h"
#include "banger/name.h"
#include "lib/need.h"

static char base[] = "/tmp/banger-instance-XXXXXX";

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	assert_non_null(mkdtemp(base));
	assert_int_equal(chmod(base, 0755), 0);
	return setenv("BANGER_RUN_BASE", base, 1);
}

static int teardown(void **state)
{
	(void)state;
	return geteuid() == 0 ? rmdir(base) : 0;
}

static void must_open(const char *name, struct instance *i)
{
	_cleanup_err_ struct err e = {0};

	need_root();
	assert_int_equal(instance_open(name, 65534, i, &e), 0);
}

static void done(struct instance *i)
{
	instance_remove(i);
	instance_close(i);
}

static void names(void **state)
{
	static const struct {
		const char *name, *bridge, *table, *tap;
	} rows[] = {
		{"", "bg0", "banger", "bg0-999999"},
		{"t1", "bgt1", "banger_t1", "bgt1-999999"},
		{"abcdef", "bgabcdef", "banger_abcdef", "bgabcdef-999999"},
	};

	(void)state;
	for (size_t k = 0; k < ELEMENTSOF(rows); k++) {
		struct instance i;
		char tap[IFNAMSIZ];

		must_open(rows[k].name, &i);
		assert_string_equal(i.bridge, rows[k].bridge);
		assert_string_equal(i.table, rows[k].table);
		instance_tap_name(&i, HELPER_VM_MAX, tap);
		assert_string_equal(tap, rows[k].tap);
		instance_tap_name(&i, 1, tap);
		assert_true(strncmp(tap, rows[k].bridge, strlen(rows[k].bridge)) == 0);
		assert_string_equal(tap + strlen(rows[k].bridge), "-1");
		done(&i);
	}
}

static void not_names(void **state)
{
	static const char *const bad[] = {
		"", "0", "1a", "A", "a-b", "a.b", "a/b", "..", "a b", "a\"b", "a\nb", "abcdefg", "\xc3\xa4"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_false(name_instance_valid(bad[i]));
}

/* A user for every VM of every instance: apart, above what others give out, and below 2^31. */
static void users(void **state)
{
	uint64_t last = INSTANCE_UID_BASE - 1;

	(void)state;
	for (unsigned piece = 0; piece < POOL_PIECES; piece++) {
		assert_true(instance_vm_uid(piece, 1) > last);
		assert_int_equal(
			instance_vm_uid(piece, HELPER_VM_MAX) - instance_vm_uid(piece, 1), HELPER_VM_MAX - 1);
		last = instance_vm_uid(piece, HELPER_VM_MAX);
	}
	assert_true(last < INT32_MAX);
}

static void folders(void **state)
{
	struct instance i, second;
	_cleanup_err_ struct err e = {0};
	struct stat st;

	(void)state;
	must_open("t1", &i);
	assert_int_equal(stat(i.run, &st), 0);
	assert_true(st.st_uid == 0 && (st.st_mode & 07777) == 0755);
	assert_int_equal(stat(i.helper_dir, &st), 0);
	assert_true(st.st_uid == 0 && (st.st_mode & 07777) == 0700);
	assert_int_equal(stat(i.fsd_dir, &st), 0);
	assert_true(st.st_uid == 65534 && (st.st_mode & 07777) == 0700);
	/* One helper an instance. */
	assert_int_equal(instance_open("t1", 65534, &second, &e), -EALREADY);
	instance_close(&second);
	done(&i);
}

/* Whether UID, of GROUP, gets at PATH. */
static bool reaches(uid_t uid, gid_t group, const char *path)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0 ||
			setresuid(uid, uid, uid) < 0 || access(path, F_OK) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The owner gets through to jails, nobody else does, be he of the owner's group; and it stays so. Nothing in there is the owner's to make. */
static void jails(void **state)
{
	_cleanup_free_ char *jail = NULL;
	struct instance i;
	struct stat st;
	bool lists;

	(void)state;
	must_open("t3", &i);
	lists = getxattr(i.jails, "system.posix_acl_access", NULL, 0) >= 0 || errno != EOPNOTSUPP;
	if (!lists)
		done(&i);
	need("acl", lists, "the file system of /tmp has no access control lists");
	assert_true(i.jails_fd >= 0);
	assert_true(asprintf(&jail, "%s/7", i.jails) > 0);
	assert_int_equal(mkdir(jail, 0777), 0);
	/* As it is, and as the next helper finds it. */
	for (int round = 0; round < 2; round++) {
		assert_true(reaches(65534, i.group, jail));
		assert_true(reaches(65534, 12345, jail));
		assert_false(reaches(12345, i.group, jail));
		assert_false(reaches(12345, 12345, jail));
		assert_int_equal(fstat(i.jails_fd, &st), 0);
		assert_true(st.st_uid == 0 && st.st_gid == 0);
		assert_int_equal(fchmod(i.jails_fd, 0710), 0);
	}
	assert_int_equal(rmdir(jail), 0);
	done(&i);
}

/* Somebody was there first: a link, or a folder of another user's. */
static void squatters(void **state)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_err_ struct err e = {0};
	struct instance i;

	(void)state;
	must_open("t2", &i);
	done(&i);
	assert_true(asprintf(&path, "%s/banger-t2", base) > 0);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_true(instance_open("t2", 65534, &i, &e) < 0);
	instance_close(&i);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(instance_open("t2", 65534, &i, &e), -EPERM);
	instance_close(&i);
	/* The owner's neither: what is root's there would be the owner's to swap. */
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_int_equal(instance_open("t2", 65534, &i, &e), -EPERM);
	instance_close(&i);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(not_names),
		cmocka_unit_test(users),
		cmocka_unit_test(folders),
		cmocka_unit_test(jails),
		cmocka_unit_test(squatters),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
