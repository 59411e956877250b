/* What a job is set up with, before it is started. */
#include <errno.h>

#include "banger/cleanup.h"
#include "vm/exec_job.h"

#define LIST_MAX  1024         /* arguments, variables: what the agent takes */
#define TEXT_MAX  (96u * 1024) /* bytes of them; two and the rest fit into a frame */
#define LINE_MAX_ 4095

static int frozen(const struct exec *x, struct err *e)
{
	if (x->state == EXEC_NEW)
		return 0;
	return err_set(e, -EBUSY, "job %u has been started: make another one", x->number);
}

/* Pointers and the bytes they point at in one block. */
static int parse_list(const char *text, size_t n, char ***ret, struct err *e)
{
	char end = memchr(text, '\0', n) ? '\0' : '\n';
	size_t count = 0;
	char **list, *bytes;

	if (n > TEXT_MAX)
		return err_set(e, -E2BIG, "more than %u bytes", TEXT_MAX);
	for (size_t i = 0; i < n; i++)
		count += text[i] == end || i + 1 == n;
	if (count > LIST_MAX)
		return err_set(e, -E2BIG, "more than %u lines", LIST_MAX);
	list = malloc((count + 1) * sizeof(*list) + n + 1);
	if (!list)
		return err_sys(e, -ENOMEM, "job");
	bytes = (char *)(list + count + 1);
	memcpy(bytes, text, n);
	bytes[n] = '\0';
	for (size_t i = 0; i < count; i++) {
		char *stop = memchr(bytes, end, n);
		size_t size = stop ? (size_t)(stop - bytes) : n;

		list[i] = bytes;
		bytes[size] = '\0';
		bytes += size + 1;
		n -= stop ? size + 1 : size;
	}
	list[count] = NULL;
	*ret = list;
	return 0;
}

int exec_set_cmd(struct exec *x, const char *text, size_t n, struct err *e)
{
	char **list;
	int r;

	if ((r = frozen(x, e)) < 0 || (r = parse_list(text, n, &list, e)) < 0)
		return r;
	free(x->argv);
	x->argv = list;
	exec_tell_changed(x);
	return 0;
}

int exec_set_env(struct exec *x, const char *text, size_t n, struct err *e)
{
	_cleanup_free_ char **list = NULL;
	int r;

	if ((r = frozen(x, e)) < 0 || (r = parse_list(text, n, &list, e)) < 0)
		return r;
	for (char **p = list; *p; p++)
		if (**p == '=' || !strchr(*p, '='))
			return err_set(e, -EINVAL, "\"%.60s\" is no NAME=VALUE", *p);
	free(x->env);
	x->env = TAKE_PTR(list);
	exec_tell_changed(x);
	return 0;
}

void exec_show_list(const char *const *list, FILE *out)
{
	char end = '\n';

	for (const char *const *p = list; *p; p++)
		if (strchr(*p, '\n'))
			end = '\0';
	for (const char *const *p = list; *p; p++)
		fprintf(out, "%s%c", *p, end);
}

static int set_line(struct exec *x, char **which, const char *text, struct err *e)
{
	char *copy;

	if (strlen(text) > LINE_MAX_)
		return err_set(e, -E2BIG, "more than %u bytes", LINE_MAX_);
	if (strchr(text, '\n'))
		return err_set(e, -EINVAL, "one line is wanted");
	copy = strdup(text);
	if (!copy)
		return err_sys(e, -ENOMEM, "job");
	free(*which);
	*which = copy;
	exec_tell_changed(x);
	return 0;
}

int exec_set_cwd(struct exec *x, const char *text, struct err *e)
{
	int r = frozen(x, e);

	if (r < 0)
		return r;
	if (*text && *text != '/')
		return err_set(
			e, -EINVAL, "the working directory is an absolute path in the guest, or empty");
	return set_line(x, &x->cwd, text, e);
}

int exec_set_user(struct exec *x, const char *text, struct err *e)
{
	int r = frozen(x, e);

	return r < 0 ? r : set_line(x, &x->user, text, e);
}

int exec_set_ssh(struct exec *x, struct err *e)
{
	static const char cmd[] = "/proc/self/exe\0ssh\0serve"; /* the agent's own program */
	int r = exec_set_cmd(x, cmd, sizeof(cmd), e);

	if (r == 0)
		r = exec_set_cwd(x, "/", e);
	if (r == 0)
		x->fleeting = true;
	return r;
}

int exec_set_tty(struct exec *x, bool on, struct err *e)
{
	int r = frozen(x, e);

	if (r < 0)
		return r;
	x->tty = on;
	exec_tell_changed(x);
	return 0;
}

int exec_set_keep_stdin(struct exec *x, bool on, struct err *e)
{
	int r = frozen(x, e);

	if (r < 0)
		return r;
	x->keep_stdin = on;
	exec_tell_changed(x);
	return 0;
}
