#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "progress.h"
#include "show.h"
#include "tree.h"

#define LOOK_MSEC 200

#define PARTS_SHOWN 12

struct watch {
	struct ctl *c;
	const char *target;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done;
	unsigned lines; /* on the screen, above the cursor */
	FILE *out;      /* what is to be shown next, all at once */
};

static void wipe(struct watch *w)
{
	if (w->lines > 0)
		fprintf(w->out, "\033[%uA\r\033[J", w->lines);
	w->lines = 0;
}

/* "12.3 MiB of 45.0 MiB"; nothing for 0. */
static void show_bytes(FILE *out, uint64_t done, uint64_t total)
{
	char have[16], all[16];

	if (done == 0)
		return;
	fprintf(out, " %s", show_size(done, have));
	if (total > 0)
		fprintf(out, " of %s", show_size(total, all));
}

static bool next_number(char **rest, uint64_t *ret)
{
	char *word = strsep(rest, " ");

	return word && parse_u64(word, 0, UINT64_MAX, ret) == 0;
}

/* NAME STAGE DONE TOTAL RATE */
static void show_part(struct watch *w, char *line)
{
	char *rest = line, *name = strsep(&rest, " "), *stage = strsep(&rest, " ");
	uint64_t done, total, rate;
	char speed[16];

	if (!name || !stage || !next_number(&rest, &done) || !next_number(&rest, &total) ||
		!next_number(&rest, &rate))
		return;
	/* A digest is known by its beginning. */
	if (strncmp(name, "sha256:", 7) == 0)
		name += 7;
	fprintf(w->out, "  %.12s %s", name, stage);
	show_bytes(w->out, done, total);
	if (rate > 0)
		fprintf(w->out, ", %s/s", show_size(rate, speed));
	if (rate > 0 && total > done)
		fprintf(w->out, ", %" PRIu64 " s left", (total - done + rate - 1) / rate);
	fputc('\n', w->out);
	w->lines++;
}

static void show_parts(struct watch *w, const char *op)
{
	_cleanup_free_ char *parts = tree_read(w->c, "ops/%s/parts", op);
	char *rest = parts, *line;
	unsigned more = 0, first = w->lines;

	while (rest && (line = strsep(&rest, "\n")))
		if (w->lines - first < PARTS_SHOWN)
			show_part(w, line);
		else if (*line)
			more++;
	if (more > 0) {
		fprintf(w->out, "  and %u more\n", more);
		w->lines++;
	}
}

/* The word that follows KEY at the beginning of a line of TEXT. */
static uint64_t value_of(const char *text, const char *key)
{
	const char *at = text ? strstr(text, key) : NULL;
	_cleanup_free_ char *word = at ? strndup(at + strlen(key), strcspn(at + strlen(key), "\n")) : NULL;
	uint64_t value = 0;

	return word && parse_u64(word, 0, UINT64_MAX, &value) == 0 ? value : 0;
}

static bool same_target(const char *wanted, const char *target)
{
	size_t n = strlen(wanted);

	return n > 0 && wanted[n - 1] == '/' ? strncmp(wanted, target, n) == 0 : strcmp(wanted, target) == 0;
}

/* *WAITS: it waits for an image or a kernel, whose operation is of interest too. */
static void show_op(struct watch *w, const char *op, bool making, bool *waits)
{
	_cleanup_free_ char *target = tree_read(w->c, "ops/%s/target", op),
			    *kind = tree_read(w->c, "ops/%s/kind", op), *stage = NULL, *progress = NULL;

	if (!target || !kind)
		return;
	if (making ? strcmp(kind, "pull") != 0 && strcmp(kind, "build") != 0
		   : !same_target(w->target, target))
		return;
	stage = tree_read(w->c, "ops/%s/stage", op);
	progress = tree_read(w->c, "ops/%s/progress", op);
	if (!stage)
		return;
	if (!making)
		*waits = strcmp(stage, "image") == 0 || strcmp(stage, "kernel") == 0;
	fprintf(w->out, "%s %s: %s", kind, target, stage);
	show_bytes(w->out, value_of(progress, "done "), value_of(progress, "total "));
	fputc('\n', w->out);
	w->lines++;
	show_parts(w, op);
}

static void show_all(struct watch *w)
{
	char **ops = tree_names(w->c, "ops"), *text = NULL;
	bool waits = false;
	size_t n = 0;

	w->out = open_memstream(&text, &n);
	if (!w->out) {
		w->out = stderr;
		tree_free_names(ops);
		return;
	}
	/* A line that is too long for the terminal is cut: broken in two it would be in the way of what follows. */
	fputs("\033[?7l", w->out);
	wipe(w);
	for (size_t i = 0; ops && ops[i]; i++)
		show_op(w, ops[i], false, &waits);
	for (size_t i = 0; waits && ops[i]; i++)
		show_op(w, ops[i], true, &waits);
	fputs("\033[?7h", w->out);
	if (fclose(w->out) == 0)
		(void)io_write_full(STDERR_FILENO, text, n);
	w->out = stderr;
	free(text);
	tree_free_names(ops);
}

static void *look(void *arg)
{
	struct watch *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->done) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOOK_MSEC * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&w->over, &w->lock, &until);
		if (w->done)
			break;
		pthread_mutex_unlock(&w->lock);
		show_all(w);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void on_signal(int sig)
{
	/* That the write is interrupted is all that is wanted of it. */
	(void)sig;
}

/* Ctrl-C, being told to end, and a terminal that is lost. */
static const int interrupting[] = {SIGINT, SIGTERM, SIGHUP};

int progress_write(struct ctl *c, const char *path, const char *text, const char *target)
{
	struct watch w = {.c = c,
		.target = target,
		.out = stderr,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.over = PTHREAD_COND_INITIALIZER};
	struct sigaction interrupt = {.sa_handler = on_signal}, before[ELEMENTSOF(interrupting)];
	bool watching = isatty(STDERR_FILENO);
	sigset_t set, old;
	pthread_t thread;
	int r;

	/* Signals are this thread's, for its write to be interrupted. */
	sigemptyset(&set);
	for (size_t i = 0; i < ELEMENTSOF(interrupting); i++)
		sigaddset(&set, interrupting[i]);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	watching = watching && pthread_create(&thread, NULL, look, &w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	for (size_t i = 0; i < ELEMENTSOF(interrupting); i++)
		sigaction(interrupting[i], &interrupt, &before[i]);
	r = tree_write(c, text, "%s", path);
	for (size_t i = 0; i < ELEMENTSOF(interrupting); i++)
		sigaction(interrupting[i], &before[i], NULL);
	if (watching) {
		pthread_mutex_lock(&w.lock);
		w.done = true;
		pthread_cond_signal(&w.over);
		pthread_mutex_unlock(&w.lock);
		pthread_join(thread, NULL);
		wipe(&w);
	}
	return r;
}
