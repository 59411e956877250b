/* Registries: logins, and what was downloaded from them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>

#include "banger/cleanup.h"
#include "progress.h"
#include "tree.h"

#define PASSWORD_MAX 3500 /* what fits into a write with the rest of the line */

static void chomp(char *line)
{
	line[strcspn(line, "\r\n")] = '\0';
}

/* A line of standard input; of a terminal without its being seen. */
static char *read_line(const char *prompt, bool secret)
{
	bool terminal = isatty(STDIN_FILENO);
	struct termios before, quiet;
	char *line = NULL;
	size_t room = 0;

	if (terminal) {
		fputs(prompt, stderr);
		if (secret && tcgetattr(STDIN_FILENO, &before) == 0) {
			quiet = before;
			quiet.c_lflag &= ~(tcflag_t)ECHO;
			tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
		} else {
			secret = false;
		}
	}
	if (getline(&line, &room, stdin) < 0) {
		free(line);
		line = NULL;
	}
	if (terminal && secret) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		fputc('\n', stderr);
	}
	if (line)
		chomp(line);
	return line;
}

static int image_login(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *asked = NULL, *password = NULL, *line = NULL;
	const char *host = NULL, *user = NULL;
	bool from_stdin = false;
	int r;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-u") == 0 && i + 1 < argc)
			user = argv[++i];
		else if (strcmp(argv[i], "--password-stdin") == 0)
			from_stdin = true;
		else if (argv[i][0] != '-' && !host)
			host = argv[i];
		else
			return ctl_usage(ctl_command("image login"));
	}
	if (from_stdin && !user)
		return ctl_fail("image login: --password-stdin wants -u USER");
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	host = host ? host : "docker.io";
	if (!user)
		user = asked = read_line("User: ", false);
	password = user ? read_line("Password: ", true) : NULL;
	if (!user || !*user || !password || !*password || strlen(password) > PASSWORD_MAX)
		return ctl_fail("image login: a user and a password are wanted: at a terminal, or: "
				"banger image login -u USER --password-stdin %s <FILE",
			host);
	if (strchr(user, ' '))
		return ctl_fail("image login: '%s' is no user's name", user);
	if (asprintf(&line, "login %s %s %s", host, user, password) < 0)
		return EXIT_FAILED;
	r = progress_write(c, "images/ctl", line, "registry ");
	explicit_bzero(line, strlen(line));
	explicit_bzero(password, strlen(password));
	return r < 0 ? tree_failure(c, "image login", NULL, r) : EXIT_OK;
}

static int image_logout(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *line = NULL;
	int r;

	if (argc > 2)
		return ctl_usage(ctl_command("image logout"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (asprintf(&line, "logout %s", argc == 2 ? argv[1] : "docker.io") < 0)
		return EXIT_FAILED;
	r = tree_write(c, line, "images/ctl");
	return r < 0 ? tree_failure(c, "image logout", NULL, r) : EXIT_OK;
}

/* What the log says from AT on of what was pruned. */
static void print_pruned(int log, off_t at)
{
	FILE *in = lseek(log, at, SEEK_SET) < 0 ? NULL : fdopen(dup(log), "r");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	while (in && getline(&line, &room, in) > 0) {
		const char *text = strstr(line, " prune: ");

		if (text)
			fputs(text + strlen(" prune: "), stdout);
	}
	if (in)
		fclose(in);
}

static int image_prune(struct ctl *c, int argc, char **argv)
{
	bool dry = argc == 2 && strcmp(argv[1], "--dry-run") == 0;
	_cleanup_close_ int log = -EBADF;
	struct stat st;
	int r;

	if (argc > 1 + dry)
		return ctl_usage(ctl_command("image prune"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	log = tree_open(c, O_RDONLY, "log");
	if (log >= 0 && fstat(log, &st) < 0)
		log = close_fd(log);
	r = tree_write(c, dry ? "prune blobs dry-run" : "prune blobs", "ctl");
	if (log >= 0)
		print_pruned(log, st.st_size);
	return r < 0 ? tree_failure(c, "image prune", NULL, r) : EXIT_OK;
}

const struct command commands_registry[] = {
	{"image login", "[-u USER] [--password-stdin] [REGISTRY]", "be somebody at a registry (docker.io)",
		image_login},
	{"image logout", "[REGISTRY]", "be nobody there again", image_logout},
	{"image prune", "[--dry-run]", "free what was downloaded and no image is made of any more",
		image_prune},
	{NULL, NULL, NULL, NULL},
};
