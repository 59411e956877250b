/* os-release(5), as distributions write it and as they don't. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/os_release.h"

static const char debian[] = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n"
			     "VERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
static const char rocky[] = "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";

static void finds(const char *text, const char *key, const char *wanted)
{
	_cleanup_free_ char *value = NULL;

	assert_int_equal(os_release_find(text, key, &value), 0);
	assert_string_equal(value, wanted);
}

static void fails(const char *text, const char *key, int code)
{
	char *value = (char *)"untouched";

	assert_int_equal(os_release_find(text, key, &value), code);
	assert_string_equal(value, "untouched");
}

static void distributions(void **state)
{
	(void)state;
	finds(debian, "ID", "debian");
	finds(debian, "VERSION_CODENAME", "bookworm");
	finds(debian, "NAME", "Debian GNU/Linux");
	finds(rocky, "ID", "rocky");
	finds(rocky, "ID_LIKE", "rhel centos fedora");
	fails(debian, "ID_LIKE", -ENOENT);
}

static void quotes(void **state)
{
	(void)state;
	finds("ID='arch'", "ID", "arch");
	finds("ID=ar\"ch\"'linux'", "ID", "archlinux");
	finds("ID=\"a \\\"b\\\" \\$c \\`d \\\\ \\e\"", "ID", "a \"b\" $c `d \\ \\e");
	finds("ID='a \\ b'", "ID", "a \\ b");
	finds("ID=a\\ b", "ID", "a b");
	finds("ID=\"$HOME $(id)\"", "ID", "$HOME $(id)");
	finds("ID=", "ID", "");
	finds("ID=\"\"", "ID", "");
	finds("ID=nixos   # ours", "ID", "nixos");
	finds("ID=nixos\r\n", "ID", "nixos");
	fails("ID=\"arch", "ID", -EBADMSG);
	fails("ID='arch\nNAME='", "ID", -EBADMSG);
	fails("ID=arch\\", "ID", -EBADMSG);
	fails("ID=arch linux", "ID", -EBADMSG);
}

static void lines(void **state)
{
	(void)state;
	finds("# ID=comment\n\n  ID=first\nID=last", "ID", "last");
	finds("ID=\"broken\nID=whole\n", "ID", "whole");
	fails("", "ID", -ENOENT);
	fails("VERSION_ID=1\nIDX=2\nID\nID =3\n", "ID", -ENOENT);
	fails("#ID=4\n", "ID", -ENOENT);
}

static void this_host(void **state)
{
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ char *value = NULL;

	(void)state;
	assert_int_equal(os_release_get("NO_SUCH_KEY", &value, &e), -ENOENT);
	assert_null(value);
	assert_non_null(strstr(err_text(&e), "NO_SUCH_KEY"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(distributions), cmocka_unit_test(quotes),
		cmocka_unit_test(lines), cmocka_unit_test(this_host)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
