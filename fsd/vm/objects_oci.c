#include <errno.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "registry/compose.h"
#include "registry/manifest.h"
#include "vm/objects_oci.h"

void oci_clear(struct oci *o)
{
	free(o->manifest);
	free(o->media_type);
	free(o->config);
	free(o->layers);
	*o = (struct oci){0};
}

/* -ENOENT: the cache hasn't got it. */
static int read_blob(struct blobs *blobs, const char *digest, size_t max, char **ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	uint64_t size;
	int r = blobs_open(blobs, digest, &fd, &size, e);

	if (r < 0)
		return r;
	if (size > max)
		return err_set(e, -EFBIG, "blob %s has %llu bytes", digest, (unsigned long long)size);
	text = calloc(1, size + 1);
	if (!text)
		return err_sys(e, -ENOMEM, "blob");
	r = io_read_full(fd, text, size);
	if (r == 0)
		r = digest_verify(digest, text, size, "a blob", NULL);
	if (r < 0)
		return err_sys(e, r, "blob %s", digest);
	*ret = TAKE_PTR(text);
	return 0;
}

/* The store has the configuration still when the cache hasn't. */
static int have_config(
	struct blobs *blobs, const struct store_object *row, const struct manifest *m, struct err *e)
{
	char digest[DIGEST_TEXT_MAX];
	int r;

	if (blobs_has(blobs, m->config.digest))
		return 1;
	digest_of(row->config, strlen(row->config), digest);
	if (strcmp(digest, m->config.digest) != 0)
		return 0;
	r = blobs_put(blobs, digest, row->config, strlen(row->config), e);
	return r < 0 ? r : 1;
}

int oci_stored(struct blobs *blobs, const struct store_object *row, struct oci *ret, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(oci_clear) struct oci o = {0};
	int r;

	if (!*row->layers || digest_check(row->digest, NULL) < 0)
		return 0;
	r = read_blob(blobs, row->digest, MANIFEST_BYTES_MAX, &o.manifest, NULL);
	if (r == -ENOENT || r == -EBADMSG)
		return 0;
	if (r == 0)
		r = manifest_parse(o.manifest, strlen(o.manifest), NULL, &m, e);
	if (r == 0)
		r = have_config(blobs, row, m, e);
	if (r <= 0)
		return r;
	for (size_t i = 0; i < m->count; i++)
		if (!blobs_has(blobs, m->entries[i].digest))
			return 0;
	o.media_type = TAKE_PTR(m->media_type);
	o.config = strdup(row->config);
	o.layers = strdup(row->layers);
	if (!o.config || !o.layers)
		return err_sys(e, -ENOMEM, "image");
	*ret = o;
	o = (struct oci){0};
	return 1;
}

int oci_pack(struct blobs *blobs, int disk, int base, enum worker_task task, struct op *op,
	struct oci_layer *ret, struct err *e)
{
	struct blob_file file = {.fd = -EBADF};
	struct image_result result = {0};
	struct worker_request request = {.task = task, .input = disk, .base = base};
	struct oci_layer layer = {0};
	int r = blob_file_begin(blobs, &file, e);

	if (r < 0)
		return r;
	request.output = file.fd;
	r = worker_run(&request, op, &result, e);
	/* What the worker says of its digest is a confined process's word: the blob's name isn't made of it. */
	if (r == 0)
		r = blob_file_commit(blobs, &file, layer.digest, &layer.size, e);
	blob_file_end(blobs, &file);
	if (r == 0)
		r = digest_check(result.diff_id, e);
	if (r < 0)
		return r;
	snprintf(layer.diff_id, sizeof(layer.diff_id), "%s", result.diff_id);
	*ret = layer;
	return 0;
}

static int compose_layers(const struct oci_request *q, char **ret, struct err *e)
{
	size_t n = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return err_sys(e, -ENOMEM, "layers");
	if (q->base)
		fputs(q->base->layers, out);
	for (size_t i = 0; i < q->count; i++)
		fprintf(out, "%s %llu %s\n", q->layers[i].digest, (unsigned long long)q->layers[i].size,
			COMPOSE_LAYER);
	if (fclose(out) != 0) {
		free(text);
		return err_sys(e, -ENOMEM, "layers");
	}
	*ret = text;
	return 0;
}

static int compose_it(const struct oci_request *q, struct oci *o, struct err *e)
{
	_cleanup_(image_config_freep) struct image_config *below = NULL;
	_cleanup_free_ const char **diff_ids = NULL;
	struct compose c = {.base = q->config,
		.platform = q->platform,
		.fresh = q->count,
		.created_by = q->created_by,
		.created = q->created};
	size_t n = 0;
	int r = 0;

	if (q->base)
		r = image_config_parse(q->base->config, strlen(q->base->config), &below, e);
	if (r < 0)
		return r;
	n = below ? below->diff_count : 0;
	diff_ids = calloc(n + q->count + 1, sizeof(*diff_ids));
	if (!diff_ids)
		return err_sys(e, -ENOMEM, "image");
	for (size_t i = 0; i < n; i++)
		diff_ids[i] = below->diff_ids[i];
	for (size_t i = 0; i < q->count; i++)
		diff_ids[n + i] = q->layers[i].diff_id;
	c.diff_ids = diff_ids;
	c.count = n + q->count;
	r = compose_config(&c, &o->config, e);
	if (r == 0)
		r = compose_layers(q, &o->layers, e);
	return r == 0 ? compose_manifest(o->config, o->layers, &o->manifest, e) : r;
}

static int put(struct blobs *blobs, const char *text, struct err *e)
{
	char digest[DIGEST_TEXT_MAX];

	digest_of(text, strlen(text), digest);
	return blobs_put(blobs, digest, text, strlen(text), e);
}

int oci_compose(struct blobs *blobs, const struct oci_request *request, struct oci *ret, struct err *e)
{
	_cleanup_(oci_clear) struct oci o = {0};
	int r = compose_it(request, &o, e);

	if (r == 0)
		r = put(blobs, o.config, e);
	if (r == 0)
		r = put(blobs, o.manifest, e);
	if (r == 0 && !(o.media_type = strdup(COMPOSE_IMAGE)))
		r = err_sys(e, -ENOMEM, "image");
	if (r < 0)
		return r;
	*ret = o;
	o = (struct oci){0};
	return 0;
}

int oci_whole(struct blobs *blobs, const struct store_object *row, int disk, const char *created_by,
	struct op *op, struct oci *ret, struct err *e)
{
	struct oci_layer layer;
	struct oci_request request = {.config = row->config,
		.platform = row->platform,
		.layers = &layer,
		.count = 1,
		.created_by = created_by,
		.created = row->created};
	int r = oci_pack(blobs, disk, -EBADF, WORKER_PACK_WHOLE, op, &layer, e);

	return r == 0 ? oci_compose(blobs, &request, ret, e) : r;
}
