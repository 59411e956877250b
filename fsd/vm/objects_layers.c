/* An image of the layers of one in OCI's form, wherever those are. */
#include <errno.h>

#include "banger/cleanup.h"
#include "image/worker.h"
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

static int open_layers(const struct make_layers *from, struct layers *ret, struct err *e)
{
	const struct manifest *manifest = from->manifest;
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
			.diff_id = from->config->diff_ids[i]};
		ret->count++;
		r = from->open(from->user, i, layer, e);
	}
	return r;
}

/* What the row says of it, in the store's words. */
static int describe(const struct make_layers *from, struct store_object *row, struct err *e)
{
	const struct manifest *manifest = from->manifest;
	size_t n = 0;
	FILE *layers;
	int r;

	free(row->digest);
	row->digest = strdup(from->digest);
	row->ref_digest = strdup(from->ref_digest);
	row->config = strdup(from->config_text);
	row->arch = strdup(from->config->platform.arch);
	r = platform_text(&from->config->platform, &row->platform, e);
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

int make_of_layers(
	const struct make_layers *from, int out, struct op *op, struct store_object *row, struct err *e)
{
	_cleanup_(layers_clear) struct layers layers = {0};
	struct image_result result = {0};
	struct worker_request request = {
		.task = WORKER_LAYERS, .input = -1, .output = out, .seed = from->digest};
	int r = open_layers(from, &layers, e);

	if (r < 0)
		return r;
	request.layers = layers.list;
	request.layer_count = layers.count;
	r = worker_run(&request, op, &result, e);
	if (r < 0)
		return r;
	row->size = result.size;
	return describe(from, row, e);
}
