/* A VM for one command: made, started, given a checkout, told what to do, and cleaned up after, whatever came of it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>

#include "banger/cleanup.h"
#include "exec.h"
#include "ports.h"
#include "tree.h"
#include "vm.h"
#include "workspace.h"

struct run {
	const char *name, *image, *repo, *ref, *patch_out;
	const char *ports[PORTS_WORDS_MAX];
	size_t port_count;
	bool remove, made_up;
	struct exec_request job;
};

static int make_name(char ret[16])
{
	unsigned char random[4];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(ret, 16, "run-%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
	return 0;
}

static volatile sig_atomic_t cancelled;

static void on_signal(int sig)
{
	(void)sig;
	cancelled = 1;
}

/* None of these ends us between two steps with something left behind; what they interrupt fails. */
static void catch_signals(void)
{
	const struct sigaction catch = {.sa_handler = on_signal};

	sigaction(SIGINT, &catch, NULL);
	sigaction(SIGTERM, &catch, NULL);
	sigaction(SIGHUP, &catch, NULL);
}

/* From now on no signal ends us, until all is cleaned up. */
static void hold_signals(void)
{
	static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ELEMENTSOF(held); i++)
		sigaddset(&set, held[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int clean_up(struct ctl *c, const char *name)
{
	int r = vm_do(c, name, "kill");

	return r == EXIT_OK ? vm_remove(c, name) : r;
}

static bool yes(const char *question)
{
	char line[16];

	fputs(question, stderr);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y' || line[0] == '\n');
}

/* The guest's work comes back, or it is said where it is. */
static int give_patch(struct ctl *c, const struct run *run)
{
	_cleanup_free_ char *question = NULL, *file = NULL;
	size_t n;

	if (!run->repo)
		return EXIT_OK;
	if (run->patch_out)
		return workspace_save(c, run->name, "workspace.patch", run->patch_out);
	n = workspace_changed(c, run->name);
	if (n == 0)
		return EXIT_OK;
	if (!run->remove) {
		fprintf(stderr, "banger: the guest has changed %zu file%s: banger vm patch %s | git apply\n",
			n, n == 1 ? "" : "s", run->name);
		return EXIT_OK;
	}
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		fprintf(stderr,
			"banger: %zu file%s that the guest has changed go with it: --patch-out FILE keeps "
			"them\n",
			n, n == 1 ? "" : "s");
		return EXIT_OK;
	}
	if (asprintf(&file, "%s.patch", run->name) < 0 ||
		asprintf(&question, "The guest has changed %zu file%s. Keep them as %s? [Y/n] ", n,
			n == 1 ? "" : "s", file) < 0)
		return EXIT_FAILED;
	return yes(question) ? workspace_save(c, run->name, "workspace.patch", file) : EXIT_OK;
}

static int run_vm(struct ctl *c, struct run *run, bool *ret_began)
{
	int r = vm_do(c, run->name, "start"), patched;

	if (r == EXIT_OK && run->repo && !cancelled)
		r = workspace_prepare(c, run->name, run->repo, run->ref ? run->ref : "", false);
	if (r != EXIT_OK || cancelled)
		return r != EXIT_OK ? r : EXIT_CANCELLED;
	run->job.vm = run->name;
	r = exec_run(c, &run->job, ret_began);
	if (!*ret_began)
		return r;
	patched = give_patch(c, run);
	return r ? r : patched;
}

static int run_all(struct ctl *c, struct run *run)
{
	_cleanup_free_ char *image = NULL, *publish = NULL;
	char made[16], *settings[2];
	bool began = false;
	size_t n = 0;
	int r, cleaned;

	if (run->image && asprintf(&image, "image=%s", run->image) < 0)
		return EXIT_FAILED;
	if (run->port_count > 0 && !(publish = ports_setting(run->ports, run->port_count)))
		return EXIT_FAILED;
	if (image)
		settings[n++] = image;
	if (publish)
		settings[n++] = publish;
	if (!run->job.argv)
		run->job.tty = isatty(STDIN_FILENO);
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!run->name) {
		if (make_name(made) < 0)
			return ctl_fail("no random bytes");
		run->name = made;
		run->made_up = true;
	}
	catch_signals();
	r = vm_make(c, run->name, settings, n);
	if (r != EXIT_OK)
		return r;
	r = run_vm(c, run, &began);
	/* Of one that nobody has given a name nothing is worth keeping before its command has run. */
	hold_signals();
	if (run->remove || (run->made_up && !began)) {
		cleaned = clean_up(c, run->name);
		r = r ? r : cleaned;
	}
	return r;
}

/* No image's name or reference begins so. */
static bool is_path(const char *word)
{
	return word[0] == '/' || word[0] == '.';
}

/* IMAGE_WORD: the image is a word of its own, not an option's. */
static int parse_and_run(struct ctl *c, int argc, char **argv, bool image_word, const char *usage)
{
	struct run run = {.job = {.want_stdin = true, .ends_with_us = true}};
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--rm") == 0)
			run.remove = true;
		else if (!image_word && strcmp(argv[i], "--image") == 0 && i + 1 < argc && !run.image)
			run.image = argv[++i];
		else if (strcmp(argv[i], "--name") == 0 && i + 1 < argc)
			run.name = argv[++i];
		else if (strcmp(argv[i], "-p") == 0 && i + 1 < argc && run.port_count < PORTS_WORDS_MAX)
			run.ports[run.port_count++] = argv[++i];
		else if (strcmp(argv[i], "--ref") == 0 && i + 1 < argc)
			run.ref = argv[++i];
		else if (strcmp(argv[i], "--patch-out") == 0 && i + 1 < argc)
			run.patch_out = argv[++i];
		else if (strcmp(argv[i], "--env") == 0 && i + 1 < argc && run.job.env_count < EXEC_ENV_MAX)
			run.job.env[run.job.env_count++] = argv[++i];
		else if (is_path(argv[i]) && !run.repo)
			run.repo = argv[i];
		else if (image_word && argv[i][0] != '-' && !run.image)
			run.image = argv[i];
		else
			return ctl_usage(ctl_command(usage));
	}
	if (!run.repo && (run.ref || run.patch_out))
		return ctl_usage(ctl_command(usage));
	if (i < argc && argv[i + 1])
		run.job.argv = argv + i + 1;
	return run_all(c, &run);
}

static int vm_run(struct ctl *c, int argc, char **argv)
{
	return parse_and_run(c, argc, argv, false, "vm run");
}

static int run(struct ctl *c, int argc, char **argv)
{
	return parse_and_run(c, argc, argv, true, "run");
}

const struct command commands_run[] = {
	{"run",
		"[--rm] [--name NAME] [-p HOST:GUEST]... [--env K=V]... [--ref REF] [--patch-out FILE] "
		"[IMAGE] [REPO] [-- CMD [ARG...]]",
		"a VM of an image, pulled where it isn't there, for what the image is for, or a command, in "
		"the checkout REPO (a path: ./x, /x); --rm deletes it afterwards",
		run},
	{"vm run",
		"[--rm] [--image I] [--name NAME] [-p HOST:GUEST]... [--env K=V]... [--ref REF] "
		"[--patch-out FILE] [REPO] [-- CMD [ARG...]]",
		"the same", vm_run},
	{NULL, NULL, NULL, NULL},
};
