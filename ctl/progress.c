#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "progress.h"
#include "show.h"
#include "tree.h"

#define LOOK_MSEC 200

struct watch {
	struct ctl *c;
	const char *target;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done, shown;
};

static void show_op(struct watch *w, const char *op)
{
	_cleanup_free_ char *target = tree_read(w->c, "ops/%s/target", op), *kind = NULL, *stage = NULL,
			    *progress = NULL;
	char have[16], all[16];
	uint64_t done = 0, total = 0;
	char *slash;

	if (!target || strcmp(target, w->target) != 0)
		return;
	kind = tree_read(w->c, "ops/%s/kind", op);
	stage = tree_read(w->c, "ops/%s/stage", op);
	progress = tree_read(w->c, "ops/%s/progress", op);
	if (!kind || !stage)
		return;
	fprintf(stderr, "\r\033[K%s %s: %s", kind, target, stage);
	slash = progress ? strpbrk(progress, " /") : NULL;
	if (slash) {
		*slash++ = '\0';
		slash += strspn(slash, " /");
		if (parse_u64(progress, 0, UINT64_MAX, &done) == 0 && done > 0) {
			fprintf(stderr, " %s", show_size(done, have));
			if (parse_u64(slash, 1, UINT64_MAX, &total) == 0)
				fprintf(stderr, " of %s", show_size(total, all));
		}
	}
	fflush(stderr);
	w->shown = true;
}

static void *look(void *arg)
{
	struct watch *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->done) {
		struct timespec until;
		char **ops;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOOK_MSEC * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&w->over, &w->lock, &until);
		if (w->done)
			break;
		pthread_mutex_unlock(&w->lock);
		ops = tree_names(w->c, "ops");
		for (size_t i = 0; ops && ops[i]; i++)
			show_op(w, ops[i]);
		tree_free_names(ops);
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

int progress_write(struct ctl *c, const char *path, const char *text, const char *target)
{
	struct watch w = {.c = c,
		.target = target,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.over = PTHREAD_COND_INITIALIZER};
	struct sigaction interrupt = {.sa_handler = on_signal}, before[2];
	bool watching = isatty(STDERR_FILENO);
	sigset_t set, old;
	pthread_t thread;
	int r;

	/* Signals are this thread's, for its write to be interrupted. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	watching = watching && pthread_create(&thread, NULL, look, &w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sigaction(SIGINT, &interrupt, &before[0]);
	sigaction(SIGTERM, &interrupt, &before[1]);
	r = tree_write(c, text, "%s", path);
	sigaction(SIGINT, &before[0], NULL);
	sigaction(SIGTERM, &before[1], NULL);
	if (watching) {
		pthread_mutex_lock(&w.lock);
		w.done = true;
		pthread_cond_signal(&w.over);
		pthread_mutex_unlock(&w.lock);
		pthread_join(thread, NULL);
		if (w.shown)
			fputs("\r\033[K", stderr);
	}
	return r;
}
