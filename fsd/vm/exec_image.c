/* What jobs have of their VM's image. */
#include <errno.h>
#include <signal.h>

#include "banger/cleanup.h"
#include "registry/manifest.h"
#include "vm/exec_job.h"

#define ENV_MAX 1024 /* what the agent takes */

static struct image_config *config_of(const struct exec *x)
{
	return vms_image_config(x->vm->execs->vms, x->vm->id);
}

static size_t count_of(char *const *list, size_t *bytes)
{
	size_t n = 0;

	for (; list && list[n]; n++)
		*bytes += strlen(list[n]) + 1;
	return n;
}

/* Pointers and the bytes they point at in one block. */
static char **join(char *const *first, char *const *second)
{
	size_t bytes = 0, n = count_of(first, &bytes), m = count_of(second, &bytes);
	char **all = malloc((n + m + 1) * sizeof(*all) + bytes), *at;

	if (!all)
		return NULL;
	at = (char *)(all + n + m + 1);
	for (size_t i = 0; i < n + m; i++) {
		const char *text = i < n ? first[i] : second[i - n];
		size_t size = strlen(text) + 1;

		all[i] = memcpy(at, text, size);
		at += size;
	}
	all[n + m] = NULL;
	return all;
}

char **exec_full_env(const struct exec *x)
{
	_cleanup_(image_config_freep) struct image_config *config = config_of(x);
	size_t bytes = 0;

	/* Of an image that has more than fits its own are not worth a job that can't run. */
	if (config && count_of(config->env, &bytes) + count_of(x->env, &bytes) > ENV_MAX)
		return join(NULL, x->env);
	return join(config ? config->env : NULL, x->env);
}

int exec_set_main(struct exec *x, struct err *e)
{
	_cleanup_(image_config_freep) struct image_config *config = config_of(x);
	char **argv;
	int r;

	if (!config || (!config->entrypoint[0] && !config->cmd[0]))
		return err_set(e, -EINVAL, "the VM's image names no command of its own: write one to cmd");
	if ((r = exec_set_cwd(x, config->workdir, e)) < 0 || (r = exec_set_user(x, config->user, e)) < 0)
		return r;
	argv = join(config->entrypoint, config->cmd);
	if (!argv)
		return err_sys(e, -ENOMEM, "job %u", x->number);
	free(x->argv);
	x->argv = argv;
	if (exec_signal_parse(config->stop_signal, &x->stop_signal) < 0)
		x->stop_signal = SIGTERM;
	exec_tell_changed(x);
	return 0;
}
