#include <errno.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/place.h"
#include "banger/ssh_config.h"

/* What a path may not have for all of ssh_config(5), the shell and ssh's % and $ to take it as it is. */
#define PATH_BAD "'\"\\%$`\n\r\t"

int ssh_config_write(FILE *out, const char *instance, const char *program, struct err *e)
{
	_cleanup_free_ char *state = NULL, *mount = NULL;
	int r = place_path(instance, PLACE_STATE, &state, e);

	if (r == 0)
		r = place_path(instance, PLACE_MOUNT, &mount, e);
	if (r < 0)
		return r;
	if (strpbrk(program, PATH_BAD) || strpbrk(state, PATH_BAD) || strpbrk(mount, PATH_BAD))
		return err_set(
			e, -EINVAL, "ssh can't be given these paths: %s, %s, %s", program, state, mount);
	/* A name with a quote could end the one around it, and the rest would be the shell's. */
	fprintf(out,
		"Host *" SSH_CONFIG_ZONE " \"!*'*\"\n"
		"\tUser root\n"
		"\tIdentityFile \"%s/ssh/id_ed25519\"\n"
		"\tIdentitiesOnly yes\n" /* an agent with many keys would use up all tries before ours */
		"\tProxyCommand '%s'%s%s ssh-config connect '%%h'\n"
		"\tUserKnownHostsFile \"%s/known_hosts\"\n"
		"\tGlobalKnownHostsFile /dev/null\n"
		"\tStrictHostKeyChecking yes\n"
		"\tUpdateHostKeys no\n",
		state, program, *instance ? " --instance " : "", instance, mount);
	return 0;
}
