#include "registry/compose.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "banger/parse.h"
#include "registry/digest.h"
#include "registry/document.h"
#include "registry/manifest.h"

#define OCI_CONFIG "application/vnd.oci.image.config.v1+json"

static void add(json_object *to, const char *name, const char *value)
{
	json_object_object_add(to, name, json_object_new_string(value));
}

static char *date(uint64_t usec)
{
	time_t t = (time_t)(usec / 1000000);
	char text[64];
	struct tm tm;

	gmtime_r(&t, &tm);
	return strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) ? strdup(text) : NULL;
}

static int add_platform(json_object *root, const char *text, struct err *e)
{
	struct platform p = {0};
	int r = platform_parse(text, &p, e);

	if (r == 0) {
		add(root, "os", p.os);
		add(root, "architecture", p.arch);
		if (p.variant && *p.variant)
			add(root, "variant", p.variant);
	}
	platform_clear(&p);
	return r;
}

/* How many layers a history tells of; -1: it is none. */
static ssize_t history_layers(json_object *history)
{
	ssize_t n = 0;

	if (!json_object_is_type(history, json_type_array))
		return -1;
	for (size_t i = 0; i < json_object_array_length(history); i++) {
		json_object *one = json_object_array_get_idx(history, i), *empty = NULL;

		if (!json_object_is_type(one, json_type_object))
			return -1;
		json_object_object_get_ex(one, "empty_layer", &empty);
		n += !json_object_get_boolean(empty);
	}
	return n;
}

static void add_history(json_object *to, const char *created, const char *by)
{
	json_object *one = json_object_new_object();

	if (created)
		add(one, "created", created);
	add(one, "created_by", by);
	json_object_array_add(to, one);
}

static void set_history(json_object *root, const struct compose *c, const char *created)
{
	size_t below = c->count - c->fresh;
	json_object *history = NULL;

	json_object_object_get_ex(root, "history", &history);
	if (below > 0 && history_layers(history) == (ssize_t)below) {
		json_object_get(history);
	} else {
		history = json_object_new_array();
		for (size_t i = 0; i < below; i++)
			add_history(history, NULL, "a layer of the image below");
	}
	for (size_t i = 0; i < c->fresh; i++)
		add_history(history, created, c->created_by);
	json_object_object_del(root, "history");
	json_object_object_add(root, "history", history);
}

static void set_rootfs(json_object *root, const struct compose *c)
{
	json_object *rootfs = json_object_new_object(), *list = json_object_new_array();

	for (size_t i = 0; i < c->count; i++)
		json_object_array_add(list, json_object_new_string(c->diff_ids[i]));
	add(rootfs, "type", "layers");
	json_object_object_add(rootfs, "diff_ids", list);
	json_object_object_del(root, "rootfs");
	json_object_object_add(root, "rootfs", rootfs);
}

static int print(json_object *root, char **ret, struct err *e)
{
	const char *text =
		json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	*ret = text ? strdup(text) : NULL;
	return *ret ? 0 : err_sys(e, -ENOMEM, "document");
}

int compose_config(const struct compose *c, char **ret, struct err *e)
{
	/* Of the build that Docker made the base with; none of this image's. */
	static const char *const stale[] = {"container", "container_config", "docker_version", "created"};
	_cleanup_(document_putp) json_object *root = NULL;
	_cleanup_free_ char *created = date(c->created);
	int r;

	if (!created)
		return err_sys(e, -ENOMEM, "configuration");
	if (*c->base) {
		r = document_parse(c->base, strlen(c->base), CONFIG_BYTES_MAX, &root, e);
	} else {
		root = json_object_new_object();
		r = root ? add_platform(root, c->platform, e) : err_sys(e, -ENOMEM, "configuration");
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < ELEMENTSOF(stale); i++)
		json_object_object_del(root, stale[i]);
	add(root, "created", created);
	set_rootfs(root, c);
	set_history(root, c, created);
	return print(root, ret, e);
}

static const char *oci_type(const char *type)
{
	static const struct {
		const char *docker, *oci;
	} types[] = {
		{"application/vnd.docker.image.rootfs.diff.tar.gzip", COMPOSE_LAYER},
		{"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", COMPOSE_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar.zstd",
			"application/vnd.oci.image.layer.v1.tar+zstd"},
		{"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"},
	};

	for (size_t i = 0; i < ELEMENTSOF(types); i++)
		if (strcmp(type, types[i].docker) == 0)
			return types[i].oci;
	return type;
}

static json_object *descriptor(const char *type, const char *digest, uint64_t size)
{
	json_object *one = json_object_new_object();

	add(one, "mediaType", type);
	add(one, "digest", digest);
	json_object_object_add(one, "size", json_object_new_int64((int64_t)size));
	return one;
}

static int add_layers(json_object *list, const char *layers, struct err *e)
{
	_cleanup_free_ char *copy = strdup(layers);
	char *rest = copy, *line;

	if (!copy)
		return err_sys(e, -ENOMEM, "manifest");
	while ((line = strsep(&rest, "\n")) && *line) {
		char *digest = strsep(&line, " "), *size = strsep(&line, " ");
		uint64_t n;

		if (!line || parse_u64(size, 0, INT64_MAX, &n) < 0 || digest_check(digest, NULL) < 0)
			return err_set(e, -EBADMSG, "a layer is kept as what is none: %.100s", digest);
		json_object_array_add(list, descriptor(oci_type(line), digest, n));
	}
	return 0;
}

int compose_manifest(const char *config, const char *layers, char **ret, struct err *e)
{
	_cleanup_(document_putp) json_object *root = json_object_new_object();
	json_object *list = json_object_new_array();
	char digest[DIGEST_TEXT_MAX];
	int r;

	if (!root || !list)
		return err_sys(e, -ENOMEM, "manifest");
	digest_of(config, strlen(config), digest);
	json_object_object_add(root, "schemaVersion", json_object_new_int(2));
	add(root, "mediaType", COMPOSE_IMAGE);
	json_object_object_add(root, "config", descriptor(OCI_CONFIG, digest, strlen(config)));
	json_object_object_add(root, "layers", list);
	r = add_layers(list, layers, e);
	return r == 0 ? print(root, ret, e) : r;
}
