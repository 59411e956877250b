#include "registry/manifest.h"

#include "registry/digest.h"
#include "registry/document.h"

struct image_config *image_config_free(struct image_config *c)
{
	if (c) {
		platform_clear(&c->platform);
		strings_free(c->env);
		strings_free(c->entrypoint);
		strings_free(c->cmd);
		free(c->workdir);
		free(c->user);
		free(c->stop_signal);
		strings_free(c->ports);
		strings_free(c->volumes);
		strings_free(c->labels);
		strings_free(c->diff_ids);
		free(c->created);
		free(c);
	}
	return NULL;
}

/* "" where it is absent. O NULL: all of it is. */
static int line_or_empty(json_object *o, const char *at, const char *name, char **ret, struct err *e)
{
	int r = o ? document_line(o, at, name, ret, e) : 0;

	if (r < 0)
		return r;
	if (!*ret && !(*ret = strdup("")))
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The keys of an object, sorted; VALUES: each with "=" and its value, which is a string or null. */
static int object_strings(json_object *o, const char *name, bool values, char ***ret, struct err *e)
{
	_cleanup_(strings_freep) char **list = NULL;
	json_object *object = NULL;
	size_t n = 0;
	int r = o ? document_object(o, "config.", name, &object, e) : 0;

	if (r < 0)
		return r;
	list = calloc((object ? (size_t)json_object_object_length(object) : 0) + 1, sizeof(*list));
	if (!list)
		return err_set(e, -ENOMEM, "out of memory");
	if (object) {
		json_object_object_foreach(object, key, value)
		{
			const char *text = values && value ? json_object_get_string(value) : "";

			if (values && value && !json_object_is_type(value, json_type_string))
				return err_set(
					e, -EBADMSG, "config.%s: one of its values is not a string", name);
			if (!values && !text_is_line(key))
				return err_set(e, -EBADMSG,
					"config.%s: there are control characters in one of its names", name);
			if (asprintf(&list[n], "%s%s%s", key, values ? "=" : "", text) < 0) {
				list[n] = NULL;
				return err_set(e, -ENOMEM, "out of memory");
			}
			n++;
		}
	}
	qsort(list, n, sizeof(*list), compare);
	*ret = TAKE_PTR(list);
	return 0;
}

static int strings(json_object *o, const char *name, char ***ret, struct err *e)
{
	if (o)
		return document_strings(o, "config.", name, SIZE_MAX, false, ret, NULL, e);
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int parse_run(json_object *o, struct image_config *c, struct err *e)
{
	json_object *config;
	int r = document_object(o, "", "config", &config, e);

	if (r < 0 || (r = strings(config, "Env", &c->env, e)) < 0 ||
		(r = strings(config, "Entrypoint", &c->entrypoint, e)) < 0 ||
		(r = strings(config, "Cmd", &c->cmd, e)) < 0 ||
		(r = line_or_empty(config, "config.", "WorkingDir", &c->workdir, e)) < 0 ||
		(r = line_or_empty(config, "config.", "User", &c->user, e)) < 0 ||
		(r = line_or_empty(config, "config.", "StopSignal", &c->stop_signal, e)) < 0 ||
		(r = object_strings(config, "ExposedPorts", false, &c->ports, e)) < 0 ||
		(r = object_strings(config, "Volumes", false, &c->volumes, e)) < 0 ||
		(r = object_strings(config, "Labels", true, &c->labels, e)) < 0)
		return r;
	for (size_t i = 0; c->env[i]; i++)
		if (c->env[i][0] == '=' || !strchr(c->env[i], '='))
			return err_set(e, -EBADMSG, "config.Env[%zu]: not NAME=VALUE", i);
	return 0;
}

static int parse_rootfs(json_object *o, struct image_config *c, struct err *e)
{
	_cleanup_free_ char *type = NULL;
	json_object *rootfs;
	int r = document_object(o, "", "rootfs", &rootfs, e);

	if (r < 0)
		return r;
	if (!rootfs)
		return err_set(e, -EBADMSG, "rootfs: missing");
	r = document_line(rootfs, "rootfs.", "type", &type, e);
	if (r < 0)
		return r;
	if (type && strcmp(type, "layers") != 0)
		return err_set(e, -EBADMSG, "rootfs.type: it is %.100s where only layers are known", type);
	r = document_strings(
		rootfs, "rootfs.", "diff_ids", MANIFEST_LAYERS_MAX, true, &c->diff_ids, &c->diff_count, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->diff_count; i++) {
		_cleanup_err_ struct err why = {0};

		if (digest_check(c->diff_ids[i], &why) < 0)
			return err_set(e, -EBADMSG, "rootfs.diff_ids[%zu]: %s", i, err_text(&why));
	}
	return 0;
}

/* The shape of RFC 3339, 5.6: D stands for a digit. */
static bool is_time(const char *s)
{
	static const char shape[] = "DDDD-DD-DDTDD:DD:DD", zone[] = "DD:DD";
	const char *p;

	for (p = shape; *p; p++, s++)
		if (*p == 'D' ? *s < '0' || *s > '9' : *s != *p)
			return false;
	if (*s == '.') {
		size_t n = strspn(s + 1, "0123456789");

		if (n == 0)
			return false;
		s += 1 + n;
	}
	if (*s == 'Z')
		return !s[1];
	if (*s != '+' && *s != '-')
		return false;
	s++;
	for (p = zone; *p; p++, s++)
		if (*p == 'D' ? *s < '0' || *s > '9' : *s != *p)
			return false;
	return !*s;
}

int image_config_parse(const char *text, size_t n, struct image_config **ret, struct err *e)
{
	_cleanup_(image_config_freep) struct image_config *c = NULL;
	_cleanup_(document_putp) json_object *o = NULL;
	int r = document_parse(text, n, CONFIG_BYTES_MAX, &o, e);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	if ((r = line_or_empty(o, "", "os", &c->platform.os, e)) < 0 ||
		(r = line_or_empty(o, "", "architecture", &c->platform.arch, e)) < 0 ||
		(r = line_or_empty(o, "", "variant", &c->platform.variant, e)) < 0 ||
		(r = line_or_empty(o, "", "created", &c->created, e)) < 0 || (r = parse_run(o, c, e)) < 0 ||
		(r = parse_rootfs(o, c, e)) < 0)
		return r;
	if (c->created[0] && !is_time(c->created))
		return err_set(e, -EBADMSG, "created: not a time (RFC 3339)");
	*ret = TAKE_PTR(c);
	return 0;
}
