/* What ssh is told of VMs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banger/cleanup.h"
#include "banger/ssh_config.h"

static char *written(const char *instance, const char *program, int wanted)
{
	_cleanup_err_ struct err e = {0};
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(ssh_config_write(out, instance, program, &e), wanted);
	fclose(out);
	return text;
}

static void names_program_key_and_hosts(void **state)
{
	_cleanup_free_ char *text = written("", "/usr/bin/banger", 0), *other = written("lab", "banger", 0);

	(void)state;
	assert_non_null(strstr(text, "ProxyCommand '/usr/bin/banger' ssh-config connect '%h'\n"));
	assert_non_null(strstr(text, "IdentityFile \"/var/lib/banger/ssh/id_ed25519\"\n"));
	assert_non_null(strstr(text, "UserKnownHostsFile \"/run/banger/fs/known_hosts\"\n"));
	assert_non_null(strstr(other, "ProxyCommand 'banger' --instance lab ssh-config connect '%h'\n"));
	assert_non_null(strstr(other, "UserKnownHostsFile \"/run/banger-lab/fs/known_hosts\"\n"));
}

static void what_would_mean_something_else_is_refused(void **state)
{
	static const char bad[] = "'\"\\%$`\n";

	(void)state;
	for (size_t i = 0; bad[i]; i++) {
		char program[] = "/opt/x/banger";
		_cleanup_free_ char *text = NULL;

		program[5] = bad[i];
		text = written("", program, -EINVAL);
		assert_string_equal(text, "");
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_program_key_and_hosts),
		cmocka_unit_test(what_would_mean_something_else_is_refused),
	};

	unsetenv("BANGER_RUN_BASE");
	unsetenv("BANGER_STATE_BASE");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
