#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "registry/digest.h"
#include "vm/cache.h"
#include "vm/config.h"
#include "vm/objects_model.h"

struct prune {
	struct blobs *blobs;
	char *used; /* the images' `layers`, one after another */
	bool dry;
	uint64_t quota, since;
	FILE *out;
	char *lines;
	size_t n;
	cache_say_fn say;
	objects_done_fn done;
	void *user;
};

static void prune_free(struct prune *p)
{
	if (p->out)
		fclose(p->out);
	free(p->lines);
	free(p->used);
	free(p);
}

/* A layer's line begins with its digest. */
static bool is_used(void *user, const char *digest)
{
	const struct prune *p = user;
	const char *at = p->used;
	size_t n = strlen(digest);

	while ((at = strstr(at, digest))) {
		if ((at == p->used || at[-1] == '\n') && at[n] == ' ')
			return true;
		at += n;
	}
	return false;
}

static void note(void *user, const char *name, uint64_t size)
{
	struct prune *p = user;

	fprintf(p->out, "%s %s %" PRIu64 "\n", p->dry ? "would free" : "freed", name, size);
}

static int work(void *data, struct err *e)
{
	struct prune *p = data;
	struct blobs_prune how = {.dry = p->dry,
		.quota = p->quota,
		.since = p->since,
		.used = is_used,
		.freed = note,
		.user = p};
	uint64_t bytes = 0;
	int r = blobs_prune(p->blobs, &how, &bytes, e);

	if (r == 0)
		fprintf(p->out, "%s %" PRIu64 " bytes in all\n", p->dry ? "would free" : "freed", bytes);
	return r;
}

static void over(void *data, int code, struct err *e)
{
	struct prune *p = data;
	char *rest, *line;

	fclose(p->out);
	p->out = NULL;
	rest = p->lines;
	while (p->say && rest && (line = strsep(&rest, "\n")) && *line)
		p->say(p->user, line);
	if (p->done)
		p->done(p->user, code, e);
	prune_free(p);
}

/* All that images are made of: their layers, documents too. */
static char *all_used(const struct objects *images)
{
	const struct object *one;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return NULL;
	TAILQ_FOREACH (one, &images->list, link) {
		char config[DIGEST_TEXT_MAX];

		digest_of(one->row.config, strlen(one->row.config), config);
		fprintf(out, "%s%s \n%s \n%s \n", one->row.layers, one->row.digest, one->row.ref_digest,
			config);
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* When the first of those began that are at work with blobs now; 0: nobody is. */
static uint64_t at_work_since(const struct objects *images)
{
	const struct making *m;
	const struct pushing *p;
	uint64_t first = 0;

	TAILQ_FOREACH (m, &images->making, link)
		if (!first || m->began < first)
			first = m->began;
	TAILQ_FOREACH (p, &images->pushing, link)
		if (!first || p->began < first)
			first = p->began;
	return first;
}

static int prune(struct objects *images, struct prune what, struct err *e)
{
	struct prune *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_sys(e, -ENOMEM, "prune");
	*p = what;
	p->blobs = images->sources.blobs;
	p->since = at_work_since(images);
	p->used = all_used(images);
	p->out = open_memstream(&p->lines, &p->n);
	r = p->used && p->out ? job_submit(images->jobs, work, over, p, e) : err_sys(e, -ENOMEM, "prune");
	if (r < 0)
		prune_free(p);
	return r;
}

int cache_prune(
	struct objects *images, bool dry, cache_say_fn say, objects_done_fn done, void *user, struct err *e)
{
	return prune(images, (struct prune){.dry = dry, .say = say, .done = done, .user = user}, e);
}

void cache_keep_limit(struct objects *images)
{
	uint64_t limit = settings_get_u64(images->sources.settings, "cache_max");

	if (limit > 0)
		(void)prune(images, (struct prune){.quota = limit}, NULL);
}
