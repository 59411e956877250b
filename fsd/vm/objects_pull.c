/* An image out of a registry: its layers go into the image while they are fetched. */
#include <errno.h>

#include "banger/cleanup.h"
#include "image/worker.h"
#include "registry/pull.h"
#include "vm/objects_make.h"

/* The layers' descriptors, and what is known of them. */
struct layers {
	struct image_layer *list;
	size_t count;
};

static void layers_clear(struct layers *l)
{
	for (size_t i = 0; i < l->count; i++) {
		close_fd(l->list[i].fd);
		close_fd(l->list[i].grow);
	}
	free(l->list);
}

static int open_layers(struct pull *p, struct layers *ret, struct err *e)
{
	const struct manifest *manifest = pull_manifest(p);
	const struct image_config *config = pull_config(p);
	int r = 0;

	ret->list = calloc(manifest->count ? manifest->count : 1, sizeof(*ret->list));
	if (!ret->list)
		return err_sys(e, -ENOMEM, "layers");
	for (size_t i = 0; r == 0 && i < manifest->count; i++) {
		struct image_layer *layer = &ret->list[i];

		*layer = (struct image_layer){.fd = -EBADF,
			.grow = -EBADF,
			.size = manifest->entries[i].size,
			.digest = manifest->entries[i].digest,
			.verified = true, /* by who fetches it: pull_wait() */
			.diff_id = config->diff_ids[i]};
		ret->count++;
		r = pull_layer(p, i, &layer->fd, &layer->grow, e);
	}
	return r;
}

/* What the row says of it, in the store's words. */
static int describe(struct pull *p, struct store_object *row, struct err *e)
{
	const struct manifest *manifest = pull_manifest(p);
	size_t n = 0;
	FILE *layers;
	int r;

	free(row->digest);
	row->digest = strdup(pull_digest(p));
	row->ref_digest = strdup(pull_ref_digest(p));
	row->config = strdup(pull_config_text(p));
	row->arch = strdup(pull_config(p)->platform.arch);
	r = platform_text(&pull_config(p)->platform, &row->platform, e);
	if (r < 0)
		return r;
	layers = open_memstream(&row->layers, &n);
	for (size_t i = 0; layers && i < manifest->count; i++)
		fprintf(layers, "%s %llu %s\n", manifest->entries[i].digest,
			(unsigned long long)manifest->entries[i].size, manifest->entries[i].media_type);
	if (!layers || fclose(layers) != 0 || !row->digest || !row->ref_digest || !row->config || !row->arch)
		return err_sys(e, -ENOMEM, "image");
	return 0;
}

static int make_of(struct pull *p, int out, struct op *op, struct store_object *row, struct err *e)
{
	_cleanup_(layers_clear) struct layers layers = {0};
	struct image_result result = {0};
	struct worker_request request = {
		.task = WORKER_LAYERS, .input = -1, .output = out, .seed = pull_digest(p)};
	int r = open_layers(p, &layers, e);

	if (r < 0)
		return r;
	request.layers = layers.list;
	request.layer_count = layers.count;
	r = worker_run(&request, op, &result, e);
	/* A layer that stopped growing is told of better by who fetched it. */
	if (r == -EIO) {
		_cleanup_err_ struct err why = {0};

		if (pull_wait(p, &why) < 0)
			return err_move(e, &why);
	}
	if (r == 0)
		r = pull_wait(p, e);
	if (r < 0)
		return r;
	row->size = result.size;
	return describe(p, row, e);
}

int make_pulled(const struct make *m, int out, struct op *op, struct store_object *row, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_(pull_freep) struct pull *p = NULL;
	_cleanup_free_ char *now = NULL;
	struct pull_request request = {.platform = m->platform,
		.hosts = {.insecure = m->insecure, .mirrors = m->mirrors, .home = m->home}};
	int r = reference_parse(m->source, &ref, e);

	if (r < 0)
		return r;
	request.ref = ref;
	if (m->have_digest && ref->digest)
		return -EALREADY;
	if (m->have_digest) {
		op_stage(op, "ask the registry");
		r = pull_resolve(m->registry, &request, op, &now, e);
		if (r < 0)
			return r;
		if (strcmp(now, m->have_digest) == 0)
			return -EALREADY;
	}
	op_stage(op, "ask the registry");
	r = pull_begin(m->registry, &request, op, &p, e);
	if (r == 0)
		r = make_of(p, out, op, row, e);
	return r;
}
