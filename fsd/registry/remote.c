#include "registry/remote.h"

#include <errno.h>
#include <string.h>

#include "banger/io.h"
#include "registry/registry_state.h"

void remote_document_clear(struct remote_document *d)
{
	free(d->text);
	free(d->content_type);
	*d = (struct remote_document){0};
}

static bool is_digest(const char *ref)
{
	return digest_check(ref, NULL) == 0;
}

static int check(
	struct remote_document *d, const char *digest, uint64_t size, const char *what, struct err *e)
{
	if (size && size != d->n)
		return err_set(e, -EBADMSG, "%s %s has %zu bytes, not the %llu that what names it says", what,
			digest, d->n, (unsigned long long)size);
	return digest_verify(digest, d->text, d->n, what, e);
}

/* -ENOENT: the cache hasn't got it, or not whole. */
static int cached(struct session *s, const char *digest, uint64_t size, size_t max, const char *what,
	struct remote_document *ret)
{
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	_cleanup_close_ int fd = -EBADF;
	uint64_t have;
	int r = blobs_open(s->registry->blobs, digest, &fd, &have, NULL);

	if (r < 0 || have > max)
		return -ENOENT;
	d.text = malloc(have + 1);
	if (!d.text)
		return -ENOMEM;
	d.n = have;
	r = io_read_full(fd, d.text, have);
	if (r < 0)
		return -ENOENT;
	d.text[have] = '\0';
	if (check(&d, digest, size, what, NULL) < 0)
		return -ENOENT;
	snprintf(d.digest, sizeof(d.digest), "%s", digest);
	*ret = d;
	d = (struct remote_document){0};
	return 0;
}

static int take(struct http_answer *a, struct remote_document *d, struct err *e)
{
	/* A document of no bytes is the empty text. */
	d->text = a->body ? TAKE_PTR(a->body) : strdup("");
	d->n = a->length;
	d->content_type = TAKE_PTR(a->content_type);
	return d->text ? 0 : err_sys(e, -ENOMEM, "document");
}

static int get(struct session *s, struct http *h, const char *kind, const char *ref, uint64_t size,
	size_t max, const char *accept, const char *what, struct remote_document *ret, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	_cleanup_free_ char *path = NULL;
	struct http_request request = {.accept = accept, .body_max = max};
	int r;

	if (size > max)
		return err_set(e, -EFBIG, "%s %s has %llu bytes: the most is %zu", what, ref,
			(unsigned long long)size, max);
	if (is_digest(ref) && cached(s, ref, size, max, what, ret) == 0)
		return 0;
	if (asprintf(&path, "%s/%s", kind, ref) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "document");
	}
	request.url = path;
	r = session_reach(s, h, &request, &a, e);
	if (r < 0)
		return r;
	if (a.status != 200)
		return session_refused(s, what, &a, e);
	r = take(&a, &d, e);
	if (r < 0)
		return r;
	digest_of(d.text, d.n, d.digest);
	if (is_digest(ref)) {
		snprintf(d.digest, sizeof(d.digest), "%s", ref);
		r = check(&d, ref, size, what, e);
	}
	if (r == 0)
		r = session_keep(s, d.digest, d.text, d.n, e);
	if (r < 0)
		return r;
	*ret = d;
	d = (struct remote_document){0};
	return 0;
}

static char *named(const struct session *s, const char *kind, const char *ref)
{
	char *what = NULL;

	return asprintf(&what, "%s %s%s%s", kind, s->path, is_digest(ref) ? "@" : ":", ref) < 0 ? NULL : what;
}

int remote_manifest(struct session *s, struct http *h, const char *ref, uint64_t size,
	struct remote_document *ret, struct err *e)
{
	_cleanup_free_ char *what = named(s, "image", ref);

	if (!what)
		return err_sys(e, -ENOMEM, "document");
	return get(s, h, "manifests", ref, size, MANIFEST_BYTES_MAX, manifest_accept, what, ret, e);
}

int remote_config(struct session *s, struct http *h, const char *digest, uint64_t size,
	struct remote_document *ret, struct err *e)
{
	_cleanup_free_ char *what = named(s, "configuration", digest);

	if (!what)
		return err_sys(e, -ENOMEM, "document");
	return get(s, h, "blobs", digest, size, CONFIG_BYTES_MAX, NULL, what, ret, e);
}

int remote_resolve(struct session *s, struct http *h, const char *tag, char **ret_digest, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	_cleanup_(remote_document_clear) struct remote_document d = {0};
	_cleanup_free_ char *path = NULL;
	struct http_request request = {.method = "HEAD", .accept = manifest_accept};
	int r;

	if (asprintf(&path, "manifests/%s", tag) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "document");
	}
	request.url = path;
	r = session_reach(s, h, &request, &a, e);
	if (r < 0)
		return r;
	if (a.status == 200 && a.digest && is_digest(a.digest)) {
		*ret_digest = TAKE_PTR(a.digest);
		return 0;
	}
	/* Nobody hears why from a HEAD: the GET says it. */
	r = remote_manifest(s, h, tag, 0, &d, e);
	if (r < 0)
		return r;
	*ret_digest = strdup(d.digest);
	return *ret_digest ? 0 : err_sys(e, -ENOMEM, "document");
}
