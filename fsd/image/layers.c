#include <errno.h>

#include "image/layers.h"
#include "image/tar.h"

static int verify(const char *what, const char *wanted, const unsigned char sum[32], struct err *e)
{
	char got[72];

	if (!wanted)
		return 0;
	source_digest(sum, got);
	return strcmp(got, wanted) == 0
		       ? 0
		       : err_set(e, -EBADMSG, "its %s is %s, but %s was promised", what, got, wanted);
}

static int read_layer(struct source *s, const struct image_layer *layer, struct err *e)
{
	_cleanup_(stream_freep) struct stream *stream = NULL;
	struct stream_input input = {.fd = layer->fd,
		.grow = layer->grow,
		.size = layer->size,
		.layer = true,
		.window = layer->window};
	unsigned char sum[32];
	int r;

	r = stream_open(&input, s->op, layer->diff_id ? STREAM_HASH_BOTH : STREAM_HASH_PACKED, &stream, e);
	if (r == 0)
		r = tar_read(s, stream, TAR_LAYER, e);
	if (r < 0)
		return r;
	stream_digest(stream, sum);
	r = verify("digest", layer->digest, sum, e);
	if (r == 0 && layer->diff_id) {
		stream_plain_digest(stream, sum);
		r = verify("content's digest (diff_id)", layer->diff_id, sum, e);
	}
	return r;
}

int layers_check_count(size_t n, struct err *e)
{
	return n > 0 && n <= LAYERS_MAX
		       ? 0
		       : err_set(e, -EBADMSG, "%zu layers: 1 to %d are legal", n, LAYERS_MAX);
}

int image_from_layers(const struct image_layer *layers, size_t n, int out_fd, const char *uuid_seed,
	struct op *op, struct image_result *ret, struct err *e)
{
	struct image_result result = {0};
	struct source s = {0};
	int r = layers_check_count(n, e);

	if (r == 0)
		r = source_begin(out_fd, 0, uuid_seed, op, &s, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		op_stage(op, IMAGE_STAGE_LAYERS);
		s.tree->layer = (uint32_t)i + 1;
		r = read_layer(&s, &layers[i], e);
		if (r < 0 && r != -EINTR)
			err_wrap(e, "layer %zu (%s)", i + 1,
				layers[i].digest ? layers[i].digest : "of the archive");
	}
	if (r == 0)
		r = source_finish(&s, out_fd, &result, e);
	if (r == 0)
		*ret = result;
	source_clear(&s);
	return r;
}
