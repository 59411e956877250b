/* An image into a registry: the documents and layers that it came with. */
#include <errno.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "registry/digest.h"
#include "registry/pull.h"
#include "vm/objects_make.h"

/* The image as a registry has it: its blobs are in the cache. */
struct document {
	char *text;
	size_t n;
	char *media_type;
};

static void document_clear(struct document *d)
{
	free(d->text);
	free(d->media_type);
}

/* -ENOENT: the cache hasn't got it. */
static int read_blob(
	struct blobs *blobs, const char *digest, size_t max, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	uint64_t size;
	int r = blobs_open(blobs, digest, &fd, &size, e);

	if (r < 0)
		return r;
	if (size > max)
		return err_set(e, -EFBIG, "blob %s has %llu bytes", digest, (unsigned long long)size);
	text = malloc(size + 1);
	if (!text)
		return err_sys(e, -ENOMEM, "blob");
	r = io_read_full(fd, text, size);
	if (r < 0)
		return err_sys(e, r, "blob %s", digest);
	text[size] = '\0';
	*ret = TAKE_PTR(text);
	*ret_n = size;
	return 0;
}

/* 1: manifest, configuration and layers are all in the cache; 0: some are not. */
static int from_cache(const struct push *p, struct blobs *blobs, struct document *ret, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(document_clear) struct document d = {0};
	char config[DIGEST_TEXT_MAX];
	int r = read_blob(blobs, p->row.digest, MANIFEST_BYTES_MAX, &d.text, &d.n, NULL);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = digest_verify(p->row.digest, d.text, d.n, "the manifest", NULL);
	if (r == 0)
		r = manifest_parse(d.text, d.n, NULL, &m, e);
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	/* The store has it still. */
	digest_of(p->row.config, strlen(p->row.config), config);
	if (!blobs_has(blobs, m->config.digest) && strcmp(config, m->config.digest) == 0)
		r = blobs_put(blobs, config, p->row.config, strlen(p->row.config), e);
	if (r < 0)
		return r;
	if (!blobs_has(blobs, m->config.digest))
		return 0;
	for (size_t i = 0; i < m->count; i++)
		if (!m->entries[i].urls && !blobs_has(blobs, m->entries[i].digest))
			return 0;
	d.media_type = TAKE_PTR(m->media_type);
	*ret = d;
	d = (struct document){0};
	return 1;
}

static struct pull_request request_for(const struct push *p, const struct reference *ref)
{
	return (struct pull_request){.ref = ref,
		.platform = p->row.platform,
		.hosts = {.insecure = p->insecure, .mirrors = p->mirrors, .home = p->home}};
}

/* What is missing comes from where the image came from, by its digest. */
static int fetch_again(const struct push *p, struct op *op, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_(pull_freep) struct pull *pull = NULL;
	struct pull_request request;
	int r = reference_parse(p->row.ref, &ref, e);

	if (r < 0)
		return r;
	free(ref->tag);
	free(ref->digest);
	ref->tag = NULL;
	ref->digest = strdup(p->row.digest);
	if (!ref->digest)
		return err_sys(e, -ENOMEM, "push");
	request = request_for(p, ref);
	op_stage(op, "fetch what is missing");
	r = pull_begin(p->registry, &request, op, &pull, e);
	return r == 0 ? pull_wait(pull, e) : r;
}

static int find_document(
	const struct push *p, struct blobs *blobs, struct op *op, struct document *ret, struct err *e)
{
	int r = *p->row.layers ? from_cache(p, blobs, ret, e) : 0;

	if (r != 0 || !*p->row.layers || !*p->row.ref)
		return r;
	r = fetch_again(p, op, e);
	return r == 0 ? from_cache(p, blobs, ret, e) : r;
}

int objects_push_work(const struct push *p, struct op *op, struct err *e)
{
	struct blobs *blobs = registry_blobs(p->registry);
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_(document_clear) struct document d = {0};
	struct pull_request request;
	int r = reference_parse(p->ref, &ref, e);

	if (r == 0)
		r = find_document(p, blobs, op, &d, e);
	if (r == 0)
		return err_set(e, -ENOENT, "no layers");
	if (r < 0)
		return r;
	request = request_for(p, ref);
	return push_run(p->registry, &request, d.text, d.n, d.media_type, p->from, op, e);
}
