/* An image into a registry: the documents and layers that it came with, or one layer made of its file system. */
#include <errno.h>

#include "banger/cleanup.h"
#include "vm/objects_make.h"
#include "vm/objects_oci.h"

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

/* 1: it is there, again; 0: where it came from hasn't got it any more. */
static int find(const struct push *p, struct blobs *blobs, struct op *op, struct oci *ret, struct err *e)
{
	_cleanup_err_ struct err gone = {0};
	int r = oci_stored(blobs, &p->row, ret, e);

	/* The reference of an image that was imported is a path. */
	if (r != 0 || !*p->row.layers || !*p->row.ref)
		return r;
	r = fetch_again(p, op, &gone);
	if (r == -EINTR || r == -ENOMEM || r == -ENOSPC)
		return err_move(e, &gone);
	return r == 0 ? oci_stored(blobs, &p->row, ret, e) : 0;
}

/* As a pull takes it, and gets just that. */
static int note_pushed(struct push *p, const struct reference *ref, const char *manifest, struct err *e)
{
	char digest[DIGEST_TEXT_MAX];

	digest_of(manifest, strlen(manifest), digest);
	if (asprintf(&p->pushed, "%s%s%s", p->ref, ref->digest ? "" : "@", ref->digest ? "" : digest) < 0) {
		p->pushed = NULL;
		return err_sys(e, -ENOMEM, "push");
	}
	return 0;
}

int objects_push_work(struct push *p, struct op *op, struct err *e)
{
	struct blobs *blobs = registry_blobs(p->registry);
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_(oci_clear) struct oci o = {0};
	struct pull_request request;
	int r = reference_parse(p->ref, &ref, e);

	if (r == 0)
		r = find(p, blobs, op, &o, e);
	else
		return r;
	if (r == 0)
		r = oci_whole(blobs, &p->row, p->fd, "banger image push", op, &o, e);
	if (r < 0)
		return r;
	request = request_for(p, ref);
	r = push_run(p->registry, &request, o.manifest, strlen(o.manifest), o.media_type, p->from, op, e);
	return r == 0 ? note_pushed(p, ref, o.manifest, e) : r;
}
