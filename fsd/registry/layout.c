#include <errno.h>
#include <string.h>

#include "registry/document.h"
#include "registry/layout_state.h"

#define NAME_REF        "org.opencontainers.image.ref.name"
#define NAME_CONTAINERD "io.containerd.image.name"
#define VERSION         "1.0.0"
#define LAYOUT_MAX      4096 /* bytes of oci-layout */
#define SHOWN_MAX       20

struct layout *layout_free(struct layout *l)
{
	if (!l)
		return NULL;
	resolved_clear(&l->found);
	strings_free(l->layers);
	free(l);
	return NULL;
}

const char *layout_digest(const struct layout *l)
{
	return l->found.digest;
}

const char *layout_ref_digest(const struct layout *l)
{
	return l->found.ref_digest;
}

const struct manifest *layout_manifest(const struct layout *l)
{
	return l->found.manifest;
}

const struct image_config *layout_config(const struct layout *l)
{
	return l->found.config;
}

const char *layout_config_text(const struct layout *l)
{
	return l->found.config_text;
}

const char *layout_layer(const struct layout *l, size_t i)
{
	return l->layers[i];
}

int layout_read(const struct layout_files *files, const char *name, const char *what, const char *digest,
	uint64_t size, size_t max, struct remote_document *ret, struct err *e)
{
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	int r = files->read(files->user, name, max, &d.text, &d.n, e);

	if (r == -ENOENT)
		return err_set(e, -EBADMSG,
			"the %s, %.200s, is missing: the image isn't whole, copy or save it again", what,
			name);
	if (r < 0)
		return r;
	if (size && size != d.n)
		return err_set(e, -EBADMSG, "%.200s has %zu bytes, not the %llu that what names it says",
			name, d.n, (unsigned long long)size);
	r = digest_verify(digest, d.text, d.n, name, e);
	if (r < 0)
		return r;
	snprintf(d.digest, sizeof(d.digest), "%s", digest);
	*ret = d;
	d = (struct remote_document){0};
	return 0;
}

static bool means(const struct layout_choice *c, const char *tag)
{
	return !tag || strcmp(c->name, tag) == 0 || (c->also[0] && strcmp(c->also[0], tag) == 0) ||
	       (c->also[1] && strcmp(c->also[1], tag) == 0);
}

/* The names of those that are MEANT, or of all, each once. The caller's; NULL: no memory. */
static char *listed(const struct layout_choice *list, size_t n, bool meant, size_t *ret_n)
{
	char *text = NULL;
	size_t size = 0, shown = 0, k;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (meant && !list[i].meant)
			continue;
		for (k = 0; k < i; k++)
			if ((!meant || list[k].meant) && strcmp(list[k].name, list[i].name) == 0)
				break;
		if (k == i && shown++ < SHOWN_MAX)
			fprintf(f, "%s%.128s", shown > 1 ? ", " : "", list[i].name);
	}
	if (shown > SHOWN_MAX)
		fprintf(f, " and %zu more", shown - SHOWN_MAX);
	if (fclose(f) != 0)
		return NULL;
	*ret_n = shown;
	return text;
}

int layout_choose(struct layout_choice *list, size_t n, const char *tag, bool nameless, struct err *e)
{
	_cleanup_free_ char *names = NULL;
	size_t found = 0, distinct = 0, first = 0;

	for (size_t i = 0; i < n; i++) {
		list[i].meant = means(&list[i], tag);
		if (list[i].meant && found++ == 0)
			first = i;
	}
	if (n == 0)
		return err_set(e, -EBADMSG, "there is no image in it");
	names = listed(list, n, found > 0, &distinct);
	if (!names)
		return err_sys(e, -ENOMEM, "images");
	if (found == 0)
		return err_set(e, -ENOENT, "there is no image %.128s in it: it has %s", tag, names);
	if (distinct == 1 || (nameless && !tag))
		return 0;
	return err_set(e, -EINVAL,
		"there are %zu images in it: %s: say which by `import PATH tag %.128s as NAME`", distinct,
		names, list[first].name);
}

/* "blobs/sha256/HEX"; DIGEST is checked. The caller's. */
static int blob_name(const char *digest, char **ret, struct err *e)
{
	const char *colon = strchr(digest, ':');

	if (asprintf(ret, "blobs/%.*s/%s", (int)(colon - digest), digest, colon + 1) < 0) {
		*ret = NULL;
		return err_sys(e, -ENOMEM, "layout");
	}
	return 0;
}

static int get(const struct layout_files *files, const char *what, const char *digest, uint64_t size,
	size_t max, struct remote_document *ret, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	int r = blob_name(digest, &name, e);

	return r == 0 ? layout_read(files, name, what, digest, size, max, ret, e) : r;
}

static int get_manifest(
	void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e)
{
	return get(user, "manifest", digest, size, MANIFEST_BYTES_MAX, ret, e);
}

static int get_config(
	void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e)
{
	return get(user, "configuration", digest, size, CONFIG_BYTES_MAX, ret, e);
}

/* The file oci-layout, where there is one. */
static int check_version(const struct layout_files *files, struct err *e)
{
	_cleanup_(document_putp) json_object *o = NULL;
	_cleanup_free_ char *text = NULL, *version = NULL;
	size_t n;
	int r = files->read(files->user, "oci-layout", LAYOUT_MAX, &text, &n, e);

	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r == 0)
		r = document_parse(text, n, LAYOUT_MAX, &o, e);
	if (r == 0)
		r = document_need_line(o, "", "imageLayoutVersion", &version, e);
	if (r < 0) {
		err_wrap(e, "oci-layout");
		return r;
	}
	return strcmp(version, VERSION) == 0
		       ? 0
		       : err_set(e, -EOPNOTSUPP,
				 "it is an OCI layout of version %.32s, and only " VERSION " is known",
				 version);
}

/* An index's entries with their names. */
struct entries {
	struct layout_choice *choices;
	char **names; /* two for each entry, which may be NULL */
	size_t n;
};

static void entries_clear(struct entries *s)
{
	for (size_t i = 0; s->names && i < 2 * s->n; i++)
		free(s->names[i]);
	free(s->names);
	free(s->choices);
}

/* INDEX was made of O: of each entry what people call it. *RET_NAMELESS: none of them has a name, each says its platform. */
static int read_names(
	json_object *o, const struct manifest *index, struct entries *s, bool *ret_nameless, struct err *e)
{
	json_object *list, *annotations;
	bool nameless = true;
	int r = document_list(o, "", "manifests", INDEX_ENTRIES_MAX, &list, e);

	if (r < 0)
		return r;
	s->choices = calloc(index->count + 1, sizeof(*s->choices));
	s->names = calloc(index->count + 1, 2 * sizeof(*s->names));
	if (!s->choices || !s->names)
		return err_sys(e, -ENOMEM, "index.json");
	s->n = index->count;
	for (size_t i = 0; i < index->count; i++) {
		json_object *item = json_object_array_get_idx(list, i);
		char **name = &s->names[2 * i];

		r = document_object(item, "", "annotations", &annotations, e);
		if (r == 0 && annotations)
			r = document_line(annotations, "annotations.", NAME_CONTAINERD, &name[0], e);
		if (r == 0 && annotations)
			r = document_line(annotations, "annotations.", NAME_REF, &name[1], e);
		if (r < 0)
			return r;
		s->choices[i] = (struct layout_choice){
			.name = name[0] && *name[0]   ? name[0]
				: name[1] && *name[1] ? name[1]
						      : index->entries[i].digest,
			.also = {name[1], index->entries[i].digest},
		};
		nameless = nameless && s->choices[i].name == index->entries[i].digest &&
			   index->entries[i].platform.os;
	}
	*ret_nameless = nameless;
	return 0;
}

/* Leaves in the front of ENTRIES (shallow copies of INDEX's) and S what may be an image that somebody means. */
static void drop_attestations(
	const struct manifest *index, struct entries *s, struct descriptor *entries, size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = 0; i < index->count; i++)
		if (!index->entries[i].attestation) {
			s->choices[n] = s->choices[i];
			entries[n++] = index->entries[i];
		}
	*ret_n = n;
}

/* The entries that TAG means, as an index of their own. */
static int choose(struct layout *l, const struct layout_files *files, const char *text, size_t n,
	const char *tag, const char *platform, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *index = NULL;
	_cleanup_(entries_clear) struct entries s = {0};
	_cleanup_(document_putp) json_object *o = NULL;
	_cleanup_free_ struct descriptor *entries = NULL;
	const struct documents from = {.manifest = get_manifest, .config = get_config, .user = (void *)files};
	struct manifest meant = {.kind = MANIFEST_INDEX};
	bool nameless = false;
	size_t count;
	int r = manifest_parse(text, n, NULL, &index, e);

	if (r == 0 && index->kind != MANIFEST_INDEX)
		r = err_set(e, -EBADMSG, "it is no index");
	if (r == 0)
		r = document_parse(text, n, MANIFEST_BYTES_MAX, &o, e);
	if (r == 0)
		r = read_names(o, index, &s, &nameless, e);
	if (r < 0) {
		err_wrap(e, "index.json");
		return r;
	}
	entries = calloc(index->count + 1, sizeof(*entries));
	if (!entries)
		return err_sys(e, -ENOMEM, "index.json");
	drop_attestations(index, &s, entries, &count);
	r = layout_choose(s.choices, count, tag, nameless, e);
	if (r < 0)
		return r;
	meant.entries = entries;
	for (size_t i = 0; i < count; i++)
		if (s.choices[i].meant)
			entries[meant.count++] = entries[i];
	r = resolve_index(&from, &meant, platform, &l->found, e);
	if (r == 0 && meant.count == 1)
		snprintf(l->found.ref_digest, sizeof(l->found.ref_digest), "%s", entries[0].digest);
	else if (r == 0)
		digest_of(text, n, l->found.ref_digest);
	return r;
}

static int name_layers(struct layout *l, struct err *e)
{
	const struct manifest *m = l->found.manifest;
	int r = 0;

	l->layers = calloc(m->count + 1, sizeof(*l->layers));
	if (!l->layers)
		return err_sys(e, -ENOMEM, "layout");
	for (size_t i = 0; r == 0 && i < m->count; i++)
		r = blob_name(m->entries[i].digest, &l->layers[i], e);
	return r;
}

int layout_open(const struct layout_files *files, const char *tag, const char *platform, struct layout **ret,
	struct err *e)
{
	_cleanup_(layout_freep) struct layout *l = calloc(1, sizeof(*l));
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	if (!l)
		return err_sys(e, -ENOMEM, "layout");
	r = files->read(files->user, "index.json", MANIFEST_BYTES_MAX, &text, &n, e);
	if (r == 0) {
		r = check_version(files, e);
		if (r == 0)
			r = choose(l, files, text, n, tag, platform, e);
		if (r == 0)
			r = name_layers(l, e);
	} else if (r == -ENOENT) {
		err_clear(e);
		r = files->read(files->user, "manifest.json", MANIFEST_BYTES_MAX, &text, &n, e);
		if (r == 0)
			r = layout_docker(l, files, text, n, tag, platform, e);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}
