/* index.json or manifest.json from anywhere, with the files that they name: an image, or an error that says why. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "registry/layout.h"

struct input {
	const char *text;
	size_t n;
	bool docker;
};

static bool leads_out(const char *name)
{
	const char *at = name;

	while ((at = strstr(at, ".."))) {
		if ((at == name || at[-1] == '/') && (at[2] == '/' || !at[2]))
			return true;
		at += 2;
	}
	return *name == '/';
}

static int give(const char *text, size_t n, char **ret, size_t *ret_n)
{
	*ret = malloc(n + 1);
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, text, n);
	(*ret)[n] = '\0';
	*ret_n = n;
	return 0;
}

/* Each file but the two is what is in it: a configuration of one layer. */
static int read_file(void *user, const char *name, size_t max, char **ret, size_t *ret_n, struct err *e)
{
	static const char config[] =
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":[\"sha256:"
		"0000000000000000000000000000000000000000000000000000000000000000\"]}}";
	const struct input *in = user;

	if (leads_out(name))
		abort();
	if (strcmp(name, "oci-layout") == 0)
		return err_set(e, -ENOENT, "no");
	if (strcmp(name, in->docker ? "manifest.json" : "index.json") == 0)
		return in->n > max ? err_set(e, -EFBIG, "too large") : give(in->text, in->n, ret, ret_n);
	if (strcmp(name, "index.json") == 0)
		return err_set(e, -ENOENT, "no");
	return give(config, sizeof(config) - 1, ret, ret_n);
}

static int look(void *user, const char *name, struct layout_file *ret, struct err *e)
{
	(void)user;
	(void)e;
	if (leads_out(name))
		abort();
	*ret = (struct layout_file){.size = strlen(name), .packing = ""};
	digest_of(name, strlen(name), ret->digest);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	for (int i = 0; i < 4; i++) {
		struct input in = {.text = (const char *)data, .n = n, .docker = i & 1};
		const struct layout_files files = {.read = read_file, .look = look, .user = &in};
		_cleanup_(layout_freep) struct layout *l = NULL;
		_cleanup_err_ struct err e = {0};

		if (layout_open(&files, i & 2 ? "tag" : NULL, "linux/amd64", &l, &e) < 0) {
			if (!e.text)
				abort();
			continue;
		}
		if (digest_check(layout_digest(l), NULL) < 0 || digest_check(layout_ref_digest(l), NULL) < 0)
			abort();
		for (size_t k = 0; k < layout_manifest(l)->count; k++)
			if (!layout_layer(l, k)[0])
				abort();
	}
	return 0;
}
