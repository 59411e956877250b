/*
 * banger: VMs in fewer keys. Each command is a few file operations in the tree; whoever has cat, echo and mkdir needs none of them.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "banger/place.h"
#include "ctl.h"

static const struct command *const tables[] = {commands_vm, commands_ports, commands_exec, commands_run,
	commands_job, commands_workspace, commands_image, commands_registry, commands_ssh, commands_system,
	commands_service};

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("banger: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\n", stderr);
	va_end(ap);
	return EXIT_FAILED;
}

const struct command *ctl_command(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(tables); i++)
		for (const struct command *cmd = tables[i]; cmd->name; cmd++)
			if (strcmp(cmd->name, name) == 0)
				return cmd;
	return NULL;
}

int ctl_usage(const struct command *cmd)
{
	fprintf(stderr, "usage: banger %s %s\n", cmd->name, cmd->args);
	return EXIT_USAGE;
}

/* Those whose name begins with the word GROUP, on OUT, which may be NULL; false: there are none. */
static bool help_group(FILE *out, const char *group)
{
	size_t n = strlen(group);
	bool any = false;

	for (size_t i = 0; i < ELEMENTSOF(tables); i++)
		for (const struct command *cmd = tables[i]; cmd->name; cmd++)
			if (strncmp(cmd->name, group, n) == 0 && cmd->name[n] == ' ') {
				if (out)
					fprintf(out, "  banger %-20s %s\n", cmd->name, cmd->doc);
				any = true;
			}
	return any;
}

static void help(FILE *out)
{
	fputs("usage: banger [--instance NAME] COMMAND ...\n\n", out);
	for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
		for (const struct command *cmd = tables[i]; cmd->name; cmd++)
			fprintf(out, "  %-20s %s\n", cmd->name, cmd->doc);
		fputs("\n", out);
	}
	fputs("The same by hand: ls /run/banger/fs, and cat the README there. More: man banger\n", out);
}

/* The command that the words begin with; *RET_WORDS: how many of them are its name. */
static const struct command *find(int argc, char **argv, int *ret_words)
{
	for (int words = argc < 2 ? argc : 2; words > 0; words--) {
		_cleanup_free_ char *name = NULL;
		const struct command *cmd;

		if (words == 2 ? asprintf(&name, "%s %s", argv[0], argv[1]) < 0 : !(name = strdup(argv[0])))
			return NULL;
		cmd = ctl_command(name);
		if (cmd) {
			*ret_words = words;
			return cmd;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct ctl c = {.instance = place_instance_default(), .fs = -EBADF};
	_cleanup_err_ struct err e = {0};
	const struct command *cmd;
	int at = 1, words = 0, r;

	/* A reader that has gone is an error of the write, told like one. */
	signal(SIGPIPE, SIG_IGN);
	while (at < argc && strncmp(argv[at], "--", 2) == 0) {
		if (strcmp(argv[at], "--instance") == 0 && at + 1 < argc) {
			c.instance = argv[at + 1];
			at += 2;
		} else if (strcmp(argv[at], "--help") == 0) {
			help(stdout);
			return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
		} else if (strcmp(argv[at], "--version") == 0) {
			puts("banger " BANGER_VERSION);
			return EXIT_OK;
		} else {
			help(stderr);
			return EXIT_USAGE;
		}
	}
	if (place_path(c.instance, PLACE_MOUNT, &c.mount, &e) < 0) {
		ctl_fail("%s", err_text(&e));
		return EXIT_USAGE;
	}
	cmd = at < argc ? find(argc - at, argv + at, &words) : NULL;
	if (!cmd) {
		if (at < argc && (at + 1 == argc || strcmp(argv[at + 1], "--help") == 0 ||
					 strcmp(argv[at + 1], "help") == 0)) {
			bool asked = at + 1 < argc;

			if (help_group(asked ? stdout : stderr, argv[at]))
				return asked && fflush(stdout) == 0 ? EXIT_OK : EXIT_USAGE;
		}
		if (at + 1 < argc && help_group(NULL, argv[at]))
			ctl_fail("there is no command '%.64s %.64s': banger %.64s --help lists them",
				argv[at], argv[at + 1], argv[at]);
		else if (at < argc)
			ctl_fail("there is no command '%.64s': banger --help lists them", argv[at]);
		else
			help(stderr);
		free(c.mount);
		return EXIT_USAGE;
	}
	if (at + words < argc && strcmp(argv[at + words], "--help") == 0) {
		printf("usage: banger %s %s\n%s\n", cmd->name, cmd->args, cmd->doc);
		free(c.mount);
		return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
	}
	r = cmd->run(&c, argc - at - words + 1, argv + at + words - 1);
	if (fflush(stdout) != 0 && r == EXIT_OK)
		r = errno == EPIPE ? EXIT_OK : ctl_fail("standard output: %s", strerror(errno));
	close_fd(c.fs);
	free(c.mount);
	return r;
}
