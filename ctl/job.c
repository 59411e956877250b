/* Jobs that were left running, or were started by others: listed, read, taken up again, ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "exec.h"
#include "show.h"
#include "tree.h"
#include "vm.h"

#define SHOWN_MAX 60

/* A job's number, which can't be a path. False, and said, when it is none. */
static bool number_good(const char *number)
{
	uint64_t n;

	if (parse_u64(number, 1, UINT32_MAX, &n) == 0)
		return true;
	ctl_fail("that is no job's number: banger job ls NAME");
	return false;
}

/* The word behind KEY in `status`. The caller's. */
static char *status_word(const char *status, const char *key)
{
	size_t n = strlen(key);

	for (const char *at = status; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (strncmp(at, key, n) == 0 && at[n] == ' ')
			return strndup(at + n + 1, strcspn(at + n + 1, "\n"));
	return strdup("");
}

static void list_one(struct ctl *c, struct table *t, const char *vm, const char *number)
{
	_cleanup_free_ char *status = tree_read(c, "vms/%s/exec/%s/status", vm, number),
			    *cmd = tree_read(c, "vms/%s/exec/%s/cmd", vm, number),
			    *state = status_word(status, "state"), *code = status_word(status, "exit"),
			    *shown = NULL;

	if (!status)
		return;
	for (char *p = cmd; p && *p; p++)
		if (*p == '\n')
			*p = ' ';
	if (cmd && strlen(cmd) > SHOWN_MAX)
		cmd[SHOWN_MAX] = '\0';
	shown = tree_printable(cmd ? cmd : "");
	table_cell(t, number);
	table_cell(t, state ? state : "");
	table_cell(t, code && *code ? code : "-");
	table_cell(t, shown ? shown : "");
}

static int by_number(const void *a, const void *b)
{
	uint64_t one = 0, other = 0;

	parse_u64(*(char *const *)a, 0, UINT64_MAX, &one);
	parse_u64(*(char *const *)b, 0, UINT64_MAX, &other);
	return one < other ? -1 : one > other;
}

static int job_ls(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *path = NULL;
	struct table *table;
	char **names;
	size_t n = 0;

	if (argc != 2)
		return ctl_usage(ctl_command("job ls"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]))
		return EXIT_USAGE;
	if (asprintf(&path, "vms/%s/exec", argv[1]) < 0)
		return EXIT_FAILED;
	names = tree_names(c, path);
	if (!names)
		return ctl_fail("job ls %s: %s", argv[1], strerror(errno));
	while (names[n])
		n++;
	qsort(names, n, sizeof(*names), by_number);
	table = table_new((const char *const[]){"JOB", "STATE", "EXIT", "COMMAND", NULL});
	for (size_t i = 0; i < n; i++)
		list_one(c, table, argv[1], names[i]);
	table_end(table);
	tree_free_names(names);
	return EXIT_OK;
}

static int copy(struct ctl *c, const char *vm, const char *number, const char *file, int to)
{
	_cleanup_close_ int fd = tree_open(c, O_RDONLY, "vms/%s/exec/%s/%s", vm, number, file);
	char buf[65536];
	ssize_t n;

	if (fd < 0)
		return ctl_fail("job logs: there is no job %s in %s: banger job ls %s", number, vm, vm);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (io_write_full(to, buf, (size_t)n) < 0)
			return EXIT_FAILED;
	return n < 0 ? ctl_fail("job logs: %s", strerror(errno)) : EXIT_OK;
}

static int job_logs(struct ctl *c, int argc, char **argv)
{
	bool follow = argc == 4 && strcmp(argv[1], "-f") == 0;
	char **words = argv + follow;
	int r;

	if (argc != 3 + follow)
		return ctl_usage(ctl_command("job logs"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(words[1]) || !number_good(words[2]))
		return EXIT_USAGE;
	if (follow)
		return exec_attach(c, words[1], words[2], false);
	r = copy(c, words[1], words[2], "stdout", STDOUT_FILENO);
	return r == EXIT_OK ? copy(c, words[1], words[2], "stderr", STDERR_FILENO) : r;
}

static int job_attach(struct ctl *c, int argc, char **argv)
{
	if (argc != 3)
		return ctl_usage(ctl_command("job attach"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]) || !number_good(argv[2]))
		return EXIT_USAGE;
	return exec_attach(c, argv[1], argv[2], true);
}

static int job_kill(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *line = NULL;
	int r;

	if (argc < 3 || argc > 4)
		return ctl_usage(ctl_command("job kill"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]) || !number_good(argv[2]))
		return EXIT_USAGE;
	if (asprintf(&line, "signal %s", argc == 4 ? argv[3] : "TERM") < 0)
		return EXIT_FAILED;
	r = tree_write(c, line, "vms/%s/exec/%s/ctl", argv[1], argv[2]);
	if (r == -EINVAL)
		return ctl_fail("job kill: there is no signal %s", argv[3]);
	if (r == -ENOENT)
		return ctl_fail(
			"job kill: there is no job %s in %s: banger job ls %s", argv[2], argv[1], argv[1]);
	return r == -ESRCH ? ctl_fail("job kill: job %s does not run any more", argv[2])
	       : r < 0     ? ctl_fail("job kill: %s", strerror(-r))
			   : EXIT_OK;
}

static int job_rm(struct ctl *c, int argc, char **argv)
{
	int result = EXIT_OK;

	if (argc < 3)
		return ctl_usage(ctl_command("job rm"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!vm_name_good(argv[1]))
		return EXIT_USAGE;
	for (int i = 2; i < argc; i++) {
		_cleanup_free_ char *path = NULL;

		if (!number_good(argv[i]))
			return EXIT_USAGE;
		if (asprintf(&path, "vms/%s/exec/%s", argv[1], argv[i]) < 0)
			return EXIT_FAILED;
		if (unlinkat(c->fs, path, AT_REMOVEDIR) < 0)
			result = ctl_fail("job rm %s: %s", argv[i], strerror(errno));
	}
	return result;
}

const struct command commands_job[] = {
	{"job ls", "NAME", "the VM's jobs, ended ones too", job_ls},
	{"job logs", "[-f] NAME N", "what it wrote, the younger 4 MiB of each stream; -f to its end",
		job_logs},
	{"job attach", "NAME N", "take up a job again: output, input, signals, exit code", job_attach},
	{"job kill", "NAME N [SIGNAL]", "send it a signal: TERM, INT, 9 ...", job_kill},
	{"job rm", "NAME N...", "end it, and forget what it wrote", job_rm},
	{NULL, NULL, NULL, NULL},
};
