#include "registry/resolve.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX     4  /* of indexes in indexes */
#define DOCUMENTS_MAX 32 /* that are looked into */

/* On the way. */
struct way {
	const struct documents *from;
	struct platform wanted;
	bool asked; /* for a platform by name */
	unsigned documents;
	struct resolved *found;
};

void resolved_clear(struct resolved *r)
{
	manifest_free(r->manifest);
	image_config_free(r->config);
	free(r->config_text);
	*r = (struct resolved){0};
}

static int get_config(
	struct way *w, const struct manifest *m, struct image_config **ret, char **ret_text, struct err *e)
{
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	int r = w->from->config(w->from->user, m->config.digest, m->config.size, &d, e);

	if (r < 0)
		return r;
	r = image_config_parse(d.text, d.n, ret, e);
	if (r < 0) {
		err_wrap(e, "configuration %s", m->config.digest);
		return r;
	}
	*ret_text = TAKE_PTR(d.text);
	return 0;
}

/* -ENOENT: it is for another platform. */
static int take_image(
	struct way *w, struct manifest **manifest, const struct remote_document *d, struct err *e)
{
	_cleanup_(image_config_freep) struct image_config *config = NULL;
	_cleanup_free_ char *text = NULL, *have = NULL, *wanted = NULL;
	int r = get_config(w, *manifest, &config, &text, e);

	if (r < 0)
		return r;
	if (config->diff_count != (*manifest)->count)
		return err_set(e, -EBADMSG,
			"configuration %s lists %zu layers (rootfs.diff_ids), the manifest %zu",
			(*manifest)->config.digest, config->diff_count, (*manifest)->count);
	if (!platform_fits(&config->platform, &w->wanted)) {
		r = platform_text(&config->platform, &have, e);
		if (r == 0)
			r = platform_text(&w->wanted, &wanted, e);
		if (r < 0)
			return r;
		return err_set(e, -ENOENT, "the image is for %s, not for %s%s", have, wanted,
			w->asked ? "" : ", which this machine is (--platform takes another one)");
	}
	snprintf(w->found->digest, sizeof(w->found->digest), "%s", d->digest);
	w->found->manifest = TAKE_PTR(*manifest);
	w->found->config = TAKE_PTR(config);
	w->found->config_text = TAKE_PTR(text);
	return 0;
}

static int descend(struct way *w, const struct remote_document *d, unsigned depth, struct err *e);

static int try_entry(struct way *w, const struct descriptor *entry, unsigned depth, struct err *e)
{
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	int r;

	if (++w->documents > DOCUMENTS_MAX)
		return err_set(e, -EBADMSG, "the index leads to more than %d documents", DOCUMENTS_MAX);
	r = w->from->manifest(w->from->user, entry->digest, entry->size, &d, e);
	if (r < 0)
		return r;
	/* What the index calls it counts like what a server calls it: it must be that (CVE-2021-41190). */
	if (!d.content_type && entry->media_type) {
		d.content_type = strdup(entry->media_type);
		if (!d.content_type)
			return err_sys(e, -ENOMEM, "index");
	}
	return descend(w, &d, depth + 1, e);
}

static int choose(struct way *w, const struct manifest *index, unsigned depth, struct err *e)
{
	_cleanup_free_ size_t *order = calloc(index->count ? index->count : 1, sizeof(*order));
	size_t n = 0;
	int r;

	if (!order)
		return err_sys(e, -ENOMEM, "index");
	r = manifest_choose(index, &w->wanted, order, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		int code = try_entry(w, &index->entries[order[i]], depth, e);

		/* One that names no platform may be for another one; the last one's words are the caller's. */
		if (code != -ENOENT || i == n - 1)
			return code;
	}
	return r;
}

static int descend(struct way *w, const struct remote_document *d, unsigned depth, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	int r;

	if (depth > DEPTH_MAX)
		return err_set(e, -EBADMSG, "indexes in indexes, more than %d deep", DEPTH_MAX);
	r = manifest_parse(d->text, d->n, d->content_type, &m, e);
	if (r < 0) {
		err_wrap(e, "manifest %s", d->digest);
		return r;
	}
	return m->kind == MANIFEST_INDEX ? choose(w, m, depth, e) : take_image(w, &m, d, e);
}

/* INDEX, or the document ROOT. */
static int resolve(const struct documents *from, const struct manifest *index,
	const struct remote_document *root, const char *platform, struct resolved *ret, struct err *e)
{
	_cleanup_(resolved_clear) struct resolved found = {0};
	struct way w = {.from = from, .asked = *platform, .found = &found};
	int r = platform_parse(platform, &w.wanted, e);

	if (r == 0)
		r = index ? choose(&w, index, 0, e) : descend(&w, root, 0, e);
	platform_clear(&w.wanted);
	if (r < 0)
		return r;
	*ret = found;
	found = (struct resolved){0};
	return 0;
}

int resolve_index(const struct documents *from, const struct manifest *index, const char *platform,
	struct resolved *ret, struct err *e)
{
	return resolve(from, index, NULL, platform, ret, e);
}

/* A registry's. */
struct place {
	struct session *s;
	struct http *h;
};

static int get_remote_manifest(
	void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e)
{
	const struct place *p = user;

	return remote_manifest(p->s, p->h, digest, size, ret, e);
}

static int get_remote_config(
	void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e)
{
	const struct place *p = user;

	return remote_config(p->s, p->h, digest, size, ret, e);
}

int resolve_image(struct session *s, struct http *h, const char *ref, const char *platform,
	struct resolved *ret, struct err *e)
{
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	struct place place = {.s = s, .h = h};
	const struct documents from = {
		.manifest = get_remote_manifest, .config = get_remote_config, .user = &place};
	int r = remote_manifest(s, h, ref, 0, &d, e);

	if (r == 0)
		r = resolve(&from, NULL, &d, platform, ret, e);
	if (r == 0)
		snprintf(ret->ref_digest, sizeof(ret->ref_digest), "%s", d.digest);
	return r;
}
