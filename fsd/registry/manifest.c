#include "registry/manifest.h"

#include "registry/digest.h"
#include "registry/document.h"

#define OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define OCI_IMAGE    "application/vnd.oci.image.manifest.v1+json"
#define DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_IMAGE "application/vnd.docker.distribution.manifest.v2+json"

#define ATTESTATION_KEY "vnd.docker.reference.type"

const char manifest_accept[] = OCI_INDEX ", " OCI_IMAGE ", " DOCKER_INDEX ", " DOCKER_IMAGE;

static bool is_one_of(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(s, list[i]) == 0)
			return true;
	return false;
}

bool media_type_is_index(const char *media_type)
{
	static const char *const types[] = {OCI_INDEX, DOCKER_INDEX};

	return is_one_of(media_type, types, ELEMENTSOF(types));
}

bool media_type_is_image(const char *media_type)
{
	static const char *const types[] = {OCI_IMAGE, DOCKER_IMAGE};

	return is_one_of(media_type, types, ELEMENTSOF(types));
}

static bool is_schema_1(const char *media_type)
{
	static const char *const types[] = {"application/vnd.docker.distribution.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.v1+prettyjws"};

	return is_one_of(media_type, types, ELEMENTSOF(types));
}

/* The last three came from builders that said nothing better (distribution, issue 1621); what is in it decides. */
static bool is_image_config(const char *media_type)
{
	static const char *const types[] = {"application/vnd.oci.image.config.v1+json",
		"application/vnd.docker.container.image.v1+json", "application/octet-stream",
		"application/json", "text/html"};

	return is_one_of(media_type, types, ELEMENTSOF(types));
}

static bool is_layer(const char *media_type)
{
	static const char *const starts[] = {
		"application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."};

	for (size_t i = 0; i < ELEMENTSOF(starts); i++)
		if (strncmp(media_type, starts[i], strlen(starts[i])) == 0)
			return true;
	return false;
}

static void descriptor_clear(struct descriptor *d)
{
	free(d->media_type);
	free(d->digest);
	platform_clear(&d->platform);
	strings_free(d->urls);
}

struct manifest *manifest_free(struct manifest *m)
{
	if (m) {
		descriptor_clear(&m->config);
		for (size_t i = 0; i < m->count; i++)
			descriptor_clear(&m->entries[i]);
		free(m->entries);
		free(m->media_type);
		free(m);
	}
	return NULL;
}

static int parse_platform(json_object *o, const char *at, struct descriptor *d, struct err *e)
{
	static const char *const names[] = {"os", "architecture", "variant"};
	char **parts[] = {&d->platform.os, &d->platform.arch, &d->platform.variant};
	_cleanup_free_ char *below = NULL;
	json_object *platform;
	bool said = false;
	int r = document_object(o, at, "platform", &platform, e);

	if (r < 0 || !platform)
		return r;
	if (asprintf(&below, "%splatform.", at) < 0) {
		below = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		r = document_line(platform, below, names[i], parts[i], e);
		if (r < 0)
			return r;
		said = said || (*parts[i] && *parts[i][0]);
	}
	if (!said) {
		platform_clear(&d->platform);
		return 0;
	}
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (!*parts[i] && !(*parts[i] = strdup("")))
			return err_set(e, -ENOMEM, "out of memory");
	if (strcmp(d->platform.os, "unknown") == 0 || strcmp(d->platform.arch, "unknown") == 0)
		d->attestation = true;
	return 0;
}

static int parse_urls(json_object *o, const char *at, struct descriptor *d, struct err *e)
{
	_cleanup_(strings_freep) char **urls = NULL;
	size_t n;
	int r = document_strings(o, at, "urls", SIZE_MAX, true, &urls, &n, e);

	if (r < 0)
		return r;
	if (n > 0)
		d->urls = TAKE_PTR(urls);
	return 0;
}

static int parse_descriptor(json_object *o, const char *at, struct descriptor *d, struct err *e)
{
	json_object *annotations;
	int r = document_need_line(o, at, "mediaType", &d->media_type, e);

	if (r < 0)
		return r;
	r = document_need_line(o, at, "digest", &d->digest, e);
	if (r < 0)
		return r;

	_cleanup_err_ struct err why = {0};

	if (digest_check(d->digest, &why) < 0)
		return err_set(e, -EBADMSG, "%sdigest: %s", at, err_text(&why));
	r = document_size(o, at, "size", &d->size, e);
	if (r < 0)
		return r;
	r = document_object(o, at, "annotations", &annotations, e);
	if (r < 0)
		return r;
	d->attestation = annotations && json_object_object_get_ex(annotations, ATTESTATION_KEY, NULL);
	r = parse_platform(o, at, d, e);
	return r < 0 ? r : parse_urls(o, at, d, e);
}

static int check_layer(const struct descriptor *d, const char *at, uint64_t *total, struct err *e)
{
	if (!is_layer(d->media_type))
		return err_set(e, -EOPNOTSUPP, "not an image: %smediaType is %.100s, no layer of files", at,
			d->media_type);
	if (strstr(d->media_type, "+encrypted"))
		return err_set(
			e, -EOPNOTSUPP, "%smediaType: the layer is encrypted (%.100s)", at, d->media_type);
	if (__builtin_add_overflow(*total, d->size, total) || *total > INT64_MAX)
		return err_set(e, -EFBIG, "%ssize: more than there can be, with the layers before it", at);
	return 0;
}

static int check_entry(const struct descriptor *d, const char *at, struct err *e)
{
	if (d->size > MANIFEST_BYTES_MAX &&
		(media_type_is_image(d->media_type) || media_type_is_index(d->media_type)))
		return err_set(e, -EFBIG, "%ssize: a manifest of more than %u bytes", at, MANIFEST_BYTES_MAX);
	return 0;
}

static int parse_entries(json_object *o, struct manifest *m, struct err *e)
{
	bool image = m->kind == MANIFEST_IMAGE;
	const char *name = image ? "layers" : "manifests";
	json_object *list;
	size_t n;
	uint64_t total = 0;
	int r = document_list(o, "", name, image ? MANIFEST_LAYERS_MAX : INDEX_ENTRIES_MAX, &list, e);

	if (r < 0)
		return r;
	if (!list)
		return err_set(e, -EBADMSG, "%s: missing", name);
	n = json_object_array_length(list);
	m->entries = calloc(n + 1, sizeof(*m->entries));
	if (!m->entries)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		json_object *item = json_object_array_get_idx(list, i);
		struct descriptor *d = &m->entries[m->count++];
		_cleanup_free_ char *at = NULL;

		if (!json_object_is_type(item, json_type_object))
			return err_set(e, -EBADMSG, "%s[%zu]: not an object", name, i);
		if (asprintf(&at, "%s[%zu].", name, i) < 0) {
			at = NULL;
			return err_set(e, -ENOMEM, "out of memory");
		}
		r = parse_descriptor(item, at, d, e);
		if (r < 0)
			return r;
		r = image ? check_layer(d, at, &total, e) : check_entry(d, at, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_image(json_object *o, struct manifest *m, struct err *e)
{
	json_object *config;
	int r = document_object(o, "", "config", &config, e);

	if (r < 0)
		return r;
	if (!config)
		return err_set(e, -EBADMSG, "config: missing");
	r = parse_descriptor(config, "config.", &m->config, e);
	if (r < 0)
		return r;
	if (!is_image_config(m->config.media_type))
		return err_set(
			e, -EOPNOTSUPP, "not an image: config.mediaType is %.100s", m->config.media_type);
	if (m->config.size > CONFIG_BYTES_MAX)
		return err_set(e, -EFBIG, "config.size: more than %u bytes", CONFIG_BYTES_MAX);
	return parse_entries(o, m, e);
}

/* The header's value without parameters, in lower case; NULL where it says nothing: what proxies and plain file servers call anything. */
static int header_type(const char *content_type, char **ret, struct err *e)
{
	static const char *const vague[] = {
		"", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream"};
	_cleanup_free_ char *type = NULL;
	size_t skip, n;

	if (!content_type)
		content_type = "";
	skip = strspn(content_type, " \t");
	n = strcspn(content_type + skip, "; \t");
	type = strndup(content_type + skip, n);
	if (!type)
		return err_set(e, -ENOMEM, "out of memory");
	for (char *p = type; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	if (!text_is_line(type))
		return err_set(e, -EBADMSG, "Content-Type: there are control characters in it");
	*ret = is_one_of(type, vague, ELEMENTSOF(vague)) ? NULL : TAKE_PTR(type);
	return 0;
}

static bool has(json_object *o, const char *name)
{
	json_object *v;

	return json_object_object_get_ex(o, name, &v) && v;
}

static int schema_1(struct err *e)
{
	return err_set(e, -EOPNOTSUPP,
		"it is in the form that Docker gave up (schema 1): have it pushed again by a newer builder");
}

static int check_version(json_object *o, const char *type, struct err *e)
{
	uint64_t version;
	int r;

	if (type && is_schema_1(type))
		return schema_1(e);
	if (type && !media_type_is_index(type) && !media_type_is_image(type))
		return err_set(e, -EOPNOTSUPP, "not an image: it is %.100s", type);
	r = document_size(o, "", "schemaVersion", &version, e);
	if (r < 0)
		return r;
	if (version == 1)
		return schema_1(e);
	if (version != 2)
		return err_set(e, -EBADMSG, "schemaVersion: it is neither 2 nor 1");
	return 0;
}

/* CVE-2021-41190: a document that is one thing by its name and another by its fields, or two at once, is none. */
static int find_kind(json_object *o, const char *type, enum manifest_kind *ret, struct err *e)
{
	bool index = has(o, "manifests"), image = has(o, "config") || has(o, "layers");

	if (has(o, "fsLayers"))
		return err_set(e, -EBADMSG, "fsLayers: the document is of schema 2 and of schema 1");
	if (index && image)
		return err_set(e, -EBADMSG, "the document is both an index (manifests) and an image (%s)",
			has(o, "layers") ? "layers" : "config");
	if (type && media_type_is_index(type) && image)
		return err_set(e, -EBADMSG, "it is called an index (%s), and an image is in it", type);
	if (type && media_type_is_image(type) && index)
		return err_set(e, -EBADMSG, "it is called an image (%s), and an index is in it", type);
	if (!type && !index && !image)
		return err_set(e, -EBADMSG, "neither manifests nor config and layers are in it");
	*ret = index || (type && media_type_is_index(type)) ? MANIFEST_INDEX : MANIFEST_IMAGE;
	return 0;
}

int manifest_parse(const char *text, size_t n, const char *content_type, struct manifest **ret, struct err *e)
{
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(document_putp) json_object *o = NULL;
	_cleanup_free_ char *header = NULL;
	const char *type;
	int r = header_type(content_type, &header, e);

	if (r < 0)
		return r;
	r = document_parse(text, n, MANIFEST_BYTES_MAX, &o, e);
	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	r = document_line(o, "", "mediaType", &m->media_type, e);
	if (r < 0)
		return r;
	type = m->media_type && m->media_type[0] ? m->media_type : header;
	if (header && type != header && strcmp(header, type) != 0)
		return err_set(e, -EBADMSG, "mediaType: it is %.100s, and the registry calls it %.100s", type,
			header);
	r = check_version(o, type, e);
	if (r < 0)
		return r;
	r = find_kind(o, type, &m->kind, e);
	if (r < 0)
		return r;
	if (!type || type != m->media_type) {
		free(m->media_type);
		m->media_type = strdup(type ? type : m->kind == MANIFEST_INDEX ? OCI_INDEX : OCI_IMAGE);
		if (!m->media_type)
			return err_set(e, -ENOMEM, "out of memory");
	}
	r = m->kind == MANIFEST_IMAGE ? parse_image(o, m, e) : parse_entries(o, m, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}
