/*
 * The banger command: what its parts share. Each command is a few file operations in the tree; the tree's own text is the message.
 */
#ifndef BANGER_CTL_H
#define BANGER_CTL_H

#include <stdbool.h>
#include <stddef.h>

#include "banger/err.h"

/* Exit codes. */
#define EXIT_OK         0
#define EXIT_FAILED     1
#define EXIT_USAGE      2
#define EXIT_DOWN       3 /* status: not running, as systemctl has it */
#define EXIT_NO_PROGRAM 127
#define EXIT_CANCELLED  130
#define EXIT_LOST       255 /* of a job, as the tree has it: its guest has gone */

struct ctl {
	const char *instance; /* "" : the default */
	char *mount;          /* the tree */
	int fs;               /* its descriptor; -1 before ctl_need_tree() */
};

struct command {
	const char *name; /* "vm start"; "up" */
	const char *args; /* as the usage line has them */
	const char *doc;  /* one line */
	int (*run)(
		struct ctl *c, int argc, char **argv); /* argv[0] is the command's last word; an exit code */
};

/* Tables of commands, ended by one without a name. */
extern const struct command commands_vm[], commands_exec[], commands_run[], commands_job[], commands_ports[],
	commands_workspace[], commands_image[], commands_registry[], commands_ssh[], commands_system[],
	commands_service[];

/* "banger: TEXT" on standard error; returns EXIT_FAILED. */
int ctl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int ctl_usage(const struct command *cmd);
/* The row of a command, by its name; for messages. */
const struct command *ctl_command(const char *name);

/* Opens the tree. False, and said, when it isn't there. */
bool ctl_need_tree(struct ctl *c);

#endif
