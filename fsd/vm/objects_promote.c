/* An image out of a VM: the image that it was started from, and on top of that what it has changed. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "registry/credentials.h"
#include "registry/manifest.h"
#include "vm/disks.h"
#include "vm/objects_model.h"
#include "vm/objects_oci.h"

struct promotion *promotion_free(struct promotion *p)
{
	if (!p)
		return NULL;
	store_object_clear(&p->base);
	close_fd(p->base_fd);
	close_fd(p->written.fd);
	free(p->vm);
	free(p);
	return NULL;
}

struct promotion *promotion_copy(const struct promotion *from)
{
	_cleanup_(promotion_freep) struct promotion *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->base_fd = fcntl(from->base_fd, F_DUPFD_CLOEXEC, 3);
	p->written = from->written;
	p->written.fd = fcntl(from->written.fd, F_DUPFD_CLOEXEC, 3);
	p->vm = strdup(from->vm);
	if (p->base_fd < 0 || p->written.fd < 0 || !p->vm || objects_copy_row(&from->base, &p->base) < 0)
		return NULL;
	return TAKE_PTR(p);
}

const struct store_object *objects_of_file(const struct objects *o, const char *file)
{
	const struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (!one->deleting && strcmp(one->row.file, file) == 0)
			return &one->row;
	return NULL;
}

int objects_promote(struct objects *o, const char *name, const char *vm, const struct store_object *base,
	const struct objects_written *written, objects_done_fn done, void *user, struct objects_waiter **ret,
	struct err *e)
{
	_cleanup_close_ int base_fd = -EBADF;
	struct promotion p = {.vm = (char *)vm, .base = *base, .written = *written};
	struct make what = {.kind = o->kind,
		.what = MAKE_PROMOTE,
		.source = (char *)vm,
		.registry = o->sources.registry,
		.home = o->sources.places->home,
		.promotion = &p};
	int r = objects_open(o, base, &base_fd, e);

	if (r < 0)
		return r;
	p.base_fd = base_fd;
	return objects_make_new(o, name, &what, done, user, ret, e);
}

/* The image below, as layers. */
static int find_base(
	const struct promotion *p, struct blobs *blobs, struct op *op, struct oci *ret, struct err *e)
{
	int r = oci_stored(blobs, &p->base, ret, e);

	if (r != 0)
		return r < 0 ? r : 0;
	r = oci_whole(blobs, &p->base, p->base_fd, "banger: the image below", op, ret, e);
	if (r < 0)
		err_wrap(e, "image %s", p->base.name);
	return r;
}

/* The root disk of a stopped VM, made for as long as it is read. */
static int pack_root(
	const struct promotion *p, struct blobs *blobs, struct op *op, struct oci_layer *ret, struct err *e)
{
	const struct objects_written *w = &p->written;
	struct disks d = {.helper = w->helper,
		.op = op,
		.vm = w->vm,
		.image_fd = p->base_fd,
		.over_fd = w->fd,
		.size = w->size};
	_cleanup_err_ struct err mine = {0};
	int fd = -EBADF, r, k;

	r = disks_read_root(&d, &fd, e);
	if (r < 0)
		return r;
	r = oci_pack(blobs, fd, p->base_fd, WORKER_PACK_CHANGES, op, ret, e);
	close_fd(fd);
	k = helper_disk_off(w->helper, op_id(op), w->vm, &mine);
	if (k < 0)
		err_join(e, "%s", err_text(&mine));
	return r < 0 ? r : k;
}

static int add_changes(const struct promotion *p, struct blobs *blobs, struct op *op, const struct oci *base,
	struct oci *ret, struct err *e)
{
	struct oci_layer layer;
	struct oci_request request = {.base = base,
		.config = base->config,
		.platform = p->base.platform,
		.layers = &layer,
		.count = 1,
		.created_by = "banger: promoted from a VM",
		.created = io_wall_usec()};
	int r = p->written.helper ? pack_root(p, blobs, op, &layer, e)
				  : oci_pack(blobs, p->written.fd, -EBADF, WORKER_PACK_UPPER, op, &layer, e);

	if (r == -EUCLEAN)
		err_join(e, "start VM %s, shut it down by stop, not kill, then promote it", p->vm);
	if (r < 0)
		err_wrap(e, "what VM %s has changed", p->vm);
	return r == 0 ? oci_compose(blobs, &request, ret, e) : r;
}

struct build {
	struct blobs *blobs;
	const struct manifest *manifest;
};

static int open_layer(void *user, size_t i, struct image_layer *layer, struct err *e)
{
	const struct build *b = user;
	uint64_t size;

	return blobs_open(b->blobs, b->manifest->entries[i].digest, &layer->fd, &size, e);
}

static int build(struct blobs *blobs, const struct oci *o, int out, struct op *op, struct store_object *row,
	struct err *e)
{
	_cleanup_(image_config_freep) struct image_config *config = NULL;
	_cleanup_(manifest_freep) struct manifest *manifest = NULL;
	char digest[DIGEST_TEXT_MAX];
	struct build b = {.blobs = blobs};
	struct make_layers from = {.digest = digest,
		.ref_digest = digest,
		.config_text = o->config,
		.open = open_layer,
		.user = &b};
	int r = manifest_parse(o->manifest, strlen(o->manifest), o->media_type, &manifest, e);

	if (r == 0)
		r = image_config_parse(o->config, strlen(o->config), &config, e);
	if (r == 0 && config->diff_count != manifest->count)
		r = err_set(e, -EBADMSG, "its configuration lists other layers than its manifest");
	if (r < 0)
		return r;
	digest_of(o->manifest, strlen(o->manifest), digest);
	b.manifest = from.manifest = manifest;
	from.config = config;
	return make_of_layers(&from, out, op, row, e);
}

int make_promoted(const struct make *m, int out, struct op *op, struct store_object *row, struct err *e)
{
	struct blobs *blobs = registry_blobs(m->registry);
	_cleanup_(oci_clear) struct oci base = {0}, whole = {0};
	int r = find_base(m->promotion, blobs, op, &base, e);

	if (r == 0)
		r = add_changes(m->promotion, blobs, op, &base, &whole, e);
	if (r == 0)
		r = build(blobs, &whole, out, op, row, e);
	if (r < 0)
		return r;
	free(row->kernel);
	row->kernel = strdup(m->promotion->base.kernel);
	return row->kernel ? 0 : err_sys(e, -ENOMEM, "image");
}
