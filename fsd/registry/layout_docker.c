/* What `docker save` wrote before its version 25, and skopeo, kaniko, Nix and Bazel still do: manifest.json names files. */
#include <errno.h>
#include <string.h>

#include "registry/document.h"
#include "registry/layout_state.h"

#define IMAGES_MAX 1000
#define TAGS_MAX   100

/* An image, and the manifest that it would have. */
struct saved {
	const struct layout_files *files;
	char *config_name, **layers;
	size_t count;
	char *text;
	size_t n;
	char digest[DIGEST_TEXT_MAX], config_digest[DIGEST_TEXT_MAX];
};

static void saved_clear(struct saved *s)
{
	free(s->config_name);
	strings_free(s->layers);
	free(s->text);
}

/* Only what stays inside is a name. */
static int check_name(const char *at, const char *name, struct err *e)
{
	const char *part = name;
	bool good = *name != '\0';

	while (good && part) {
		size_t n = strcspn(part, "/");

		good = n > 0 && !(n == 2 && memcmp(part, "..", 2) == 0) && !(n == 1 && *part == '.');
		part = part[n] ? part + n + 1 : NULL;
	}
	return good ? 0
		    : err_set(e, -EBADMSG,
			      "manifest.json: %s is '%.100s', which is no file inside the archive", at, name);
}

static int get_manifest(
	void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e)
{
	const struct saved *s = user;
	struct remote_document d = {.n = s->n};

	(void)size;
	d.text = strndup(s->text, s->n);
	if (!d.text)
		return err_sys(e, -ENOMEM, "manifest");
	snprintf(d.digest, sizeof(d.digest), "%s", digest);
	*ret = d;
	return 0;
}

static int get_config(
	void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e)
{
	const struct saved *s = user;

	return layout_read(s->files, s->config_name, "configuration", digest, size, CONFIG_BYTES_MAX, ret, e);
}

static int look(const struct saved *s, size_t i, struct layout_file *ret, struct err *e)
{
	int r = s->files->look(s->files->user, s->layers[i], ret, e);

	if (r == -ENOENT)
		return err_set(e, -EBADMSG,
			"layer %zu, %.200s, is missing: the image isn't whole, save it again", i + 1,
			s->layers[i]);
	return r;
}

/* All that goes into it is a number, a constant or a digest. */
static int write_manifest(struct saved *s, struct err *e)
{
	_cleanup_free_ char *config = NULL;
	size_t config_size;
	FILE *f;
	int r = s->files->read(s->files->user, s->config_name, CONFIG_BYTES_MAX, &config, &config_size, e);

	if (r == -ENOENT)
		return err_set(e, -EBADMSG,
			"the configuration, %.200s, is missing: the image isn't whole, save it again",
			s->config_name);
	if (r < 0)
		return r;
	digest_of(config, config_size, s->config_digest);
	f = open_memstream(&s->text, &s->n);
	if (!f)
		return err_sys(e, -ENOMEM, "manifest");
	fprintf(f,
		"{\"schemaVersion\":2,\"mediaType\":\"application/"
		"vnd.oci.image.manifest.v1+json\",\"config\":{"
		"\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
		"\"layers\":[",
		s->config_digest, config_size);
	for (size_t i = 0; r == 0 && i < s->count; i++) {
		struct layout_file file = {0};

		r = look(s, i, &file, e);
		if (r == 0)
			fprintf(f,
				"%s{\"mediaType\":\"application/"
				"vnd.oci.image.layer.v1.tar%s\",\"digest\":\"%s\","
				"\"size\":%llu}",
				i ? "," : "", file.packing, file.digest, (unsigned long long)file.size);
	}
	fputs("]}", f);
	if (fclose(f) != 0)
		r = err_sys(e, -ENOMEM, "manifest");
	if (r == 0)
		digest_of(s->text, s->n, s->digest);
	return r;
}

/* Names of each image: two at most count besides its first, more than that is nobody's. */
static int choose(json_object *list, const char *tag, json_object **ret, struct err *e)
{
	size_t n = json_object_array_length(list);
	_cleanup_free_ struct layout_choice *choices = calloc(n + 1, sizeof(*choices));
	_cleanup_free_ char ***tags = calloc(n + 1, sizeof(*tags));
	_cleanup_free_ char **configs = calloc(n + 1, sizeof(*configs));
	size_t count;
	int r = 0;

	if (!choices || !tags || !configs)
		return err_sys(e, -ENOMEM, "manifest.json");
	for (size_t i = 0; r == 0 && i < n; i++) {
		json_object *item = json_object_array_get_idx(list, i);

		if (!json_object_is_type(item, json_type_object)) {
			r = err_set(e, -EBADMSG, "manifest.json: an image in it is no object");
			break;
		}
		r = document_need_line(item, "", "Config", &configs[i], e);
		if (r == 0)
			r = document_strings(item, "", "RepoTags", TAGS_MAX, true, &tags[i], &count, e);
		if (r < 0)
			break;
		choices[i].name = count > 0 ? tags[i][0] : configs[i];
		choices[i].also[0] = configs[i];
		/* Any of its tags: the one that is asked for. */
		for (size_t k = 1; tag && k < count; k++)
			if (strcmp(tags[i][k], tag) == 0)
				choices[i].also[1] = tags[i][k];
	}
	if (r == 0)
		r = layout_choose(choices, n, tag, false, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (choices[i].meant)
			*ret = json_object_array_get_idx(list, i);
	for (size_t i = 0; i < n; i++) {
		strings_free(tags[i]);
		free(configs[i]);
	}
	return r;
}

static int read_image(json_object *image, struct saved *s, struct err *e)
{
	int r = document_need_line(image, "", "Config", &s->config_name, e);

	if (r == 0)
		r = document_strings(
			image, "", "Layers", MANIFEST_LAYERS_MAX, true, &s->layers, &s->count, e);
	if (r == 0)
		r = check_name("Config", s->config_name, e);
	for (size_t i = 0; r == 0 && i < s->count; i++)
		r = check_name("one of Layers", s->layers[i], e);
	return r;
}

/* The list as a field of an object: what document_parse() takes. */
static int parse(const char *text, size_t n, json_object **ret, struct err *e)
{
	static const char before[] = "{\"images\":", after[] = "}";
	_cleanup_free_ char *whole = malloc(n + sizeof(before) + sizeof(after));

	if (!whole)
		return err_sys(e, -ENOMEM, "manifest.json");
	memcpy(whole, before, sizeof(before) - 1);
	memcpy(whole + sizeof(before) - 1, text, n);
	memcpy(whole + sizeof(before) - 1 + n, after, sizeof(after));
	return document_parse(whole, n + sizeof(before) + sizeof(after) - 2, MANIFEST_BYTES_MAX + 64, ret, e);
}

int layout_docker(struct layout *l, const struct layout_files *files, const char *text, size_t n,
	const char *tag, const char *platform, struct err *e)
{
	_cleanup_(document_putp) json_object *o = NULL;
	_cleanup_(saved_clear) struct saved s = {.files = files};
	const struct documents from = {.manifest = get_manifest, .config = get_config, .user = &s};
	struct descriptor only = {.media_type = (char *)"application/vnd.oci.image.manifest.v1+json"};
	const struct manifest index = {.kind = MANIFEST_INDEX, .entries = &only, .count = 1};
	json_object *list = NULL, *image = NULL;
	int r = parse(text, n, &o, e);

	if (r == 0)
		r = document_list(o, "", "images", IMAGES_MAX, &list, e);
	if (r < 0) {
		err_wrap(e, "manifest.json");
		return r;
	}
	if (!list)
		r = err_set(e, -EBADMSG, "manifest.json: there is no image in it");
	if (r == 0)
		r = choose(list, tag, &image, e);
	if (r == 0)
		r = read_image(image, &s, e);
	if (r == 0)
		r = write_manifest(&s, e);
	if (r < 0)
		return r;
	only.digest = s.digest;
	only.size = s.n;
	r = resolve_index(&from, &index, platform, &l->found, e);
	if (r < 0)
		return r;
	snprintf(l->found.ref_digest, sizeof(l->found.ref_digest), "%s", s.digest);
	l->layers = TAKE_PTR(s.layers);
	return 0;
}
