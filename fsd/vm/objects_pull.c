/* An image out of a registry: its layers go into the image while they are fetched. */
#include <errno.h>

#include "banger/cleanup.h"
#include "image/worker.h"
#include "registry/pull.h"
#include "vm/objects_make.h"

static int open_layer(void *user, size_t i, struct image_layer *layer, struct err *e)
{
	/* By who fetches it: pull_wait(). */
	layer->verified = true;
	return pull_layer(user, i, &layer->fd, &layer->grow, e);
}

static int make_of(struct pull *p, int out, struct op *op, struct store_object *row, struct err *e)
{
	const struct make_layers from = {.digest = pull_digest(p),
		.ref_digest = pull_ref_digest(p),
		.config_text = pull_config_text(p),
		.manifest = pull_manifest(p),
		.config = pull_config(p),
		.open = open_layer,
		.user = p};
	int r = make_of_layers(&from, out, op, row, e);

	/* A layer that stopped growing is told of better by who fetched it. */
	if (r == -EIO) {
		_cleanup_err_ struct err why = {0};

		if (pull_wait(p, &why) < 0)
			return err_move(e, &why);
	}
	return r == 0 ? pull_wait(p, e) : r;
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
