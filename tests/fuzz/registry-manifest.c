/* Index, manifest and configuration as a registry sends them: bounded, checked, and never two things at once. */
#include <stdint.h>

#include "registry/digest.h"
#include "registry/document.h"
#include "registry/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool x)
{
	if (!x)
		abort();
}

static void check_error(int r, const struct err *e)
{
	must(r == -EBADMSG || r == -EOPNOTSUPP || r == -EFBIG || r == -ENOENT);
	must(e->text && text_is_line(e->text));
}

static void check_descriptor(const struct descriptor *d)
{
	must(digest_check(d->digest, NULL) == 0 && text_is_line(d->media_type) && d->size <= INT64_MAX);
	must(!d->platform.os == !d->platform.arch && !d->platform.os == !d->platform.variant);
	if (d->platform.os)
		must(text_is_line(d->platform.os) && text_is_line(d->platform.arch) &&
			text_is_line(d->platform.variant));
	for (char **p = d->urls; p && *p; p++)
		must(text_is_line(*p));
}

static void check_choice(const struct manifest *m)
{
	static const char *const wanted[] = {"", "linux/amd64/v3", "linux/arm64/v8.2", "linux/arm/v7"};
	size_t list[INDEX_ENTRIES_MAX], count;

	for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
		_cleanup_(platform_clear) struct platform p = {0};
		_cleanup_err_ struct err e = {0};
		int r;

		must(platform_parse(wanted[i], &p, NULL) == 0);
		r = manifest_choose(m, &p, list, &count, &e);
		if (r < 0) {
			check_error(r, &e);
			continue;
		}
		must(count > 0 && count <= m->count);
		for (size_t j = 0; j < count; j++)
			must(list[j] < m->count && !m->entries[list[j]].attestation);
	}
}

static void check_manifest(const char *text, size_t n)
{
	static const char *const types[] = {NULL, "application/vnd.oci.image.index.v1+json",
		"application/vnd.docker.distribution.manifest.v2+json"};
	bool kinds[2] = {false, false};

	for (size_t i = 0; i < ELEMENTSOF(types); i++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		_cleanup_err_ struct err e = {0};
		int r = manifest_parse(text, n, types[i], &m, &e);

		if (r < 0) {
			check_error(r, &e);
			continue;
		}
		kinds[m->kind] = true;
		must(text_is_line(m->media_type));
		must(m->count <= (m->kind == MANIFEST_IMAGE ? MANIFEST_LAYERS_MAX : INDEX_ENTRIES_MAX));
		for (size_t j = 0; j < m->count; j++)
			check_descriptor(&m->entries[j]);
		if (m->kind == MANIFEST_IMAGE)
			check_descriptor(&m->config);
		else
			check_choice(m);
	}
	must(!kinds[MANIFEST_IMAGE] || !kinds[MANIFEST_INDEX]);
}

static void check_config(const char *text, size_t n)
{
	_cleanup_(image_config_freep) struct image_config *c = NULL;
	_cleanup_err_ struct err e = {0};
	size_t count = 0;
	int r = image_config_parse(text, n, &c, &e);

	if (r < 0) {
		check_error(r, &e);
		return;
	}
	must(text_is_line(c->user) && text_is_line(c->workdir) && text_is_line(c->stop_signal) &&
		text_is_line(c->created) && text_is_line(c->platform.os));
	must(c->entrypoint && c->cmd && c->volumes);
	for (char **p = c->env; *p; p++)
		must(strchr(*p, '='));
	for (char **p = c->labels; *p; p++)
		must(strchr(*p, '='));
	for (char **p = c->ports; *p; p++)
		must(text_is_line(*p) && (!p[1] || strcmp(p[0], p[1]) < 0));
	for (char **p = c->diff_ids; *p; p++, count++)
		must(digest_check(*p, NULL) == 0);
	must(count == c->diff_count && count <= MANIFEST_LAYERS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	check_manifest((const char *)data, n);
	check_config((const char *)data, n);
	return 0;
}
