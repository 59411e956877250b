#include "registry/pull.h"

#include <errno.h>
#include <string.h>

#include "registry/fetch.h"
#include "registry/registry_state.h"
#include "registry/resolve.h"

struct pull {
	struct session *session;
	struct resolved found;
	struct fetches *fetches;
};

static int session_for(struct registry *r, const struct pull_request *request, const char *actions,
	struct op *op, struct session **ret, struct err *e)
{
	return session_new(r, &request->hosts, request->ref->host, request->ref->path, actions, op, ret, e);
}

static int client(struct op *op, struct http **ret, struct err *e)
{
	const int stops[HTTP_STOPS] = {op_cancel_fd(op), -1};

	return http_new(stops, ret, e);
}

/* Layers are asked for by several at once: by then it is known where, and whether by https. */
static int reach(struct pull *p, struct http *h, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	_cleanup_free_ char *path = NULL;
	struct http_request request = {.method = "HEAD", .accept = manifest_accept};

	if (p->session->reached)
		return 0;
	if (asprintf(&path, "manifests/%s", p->found.digest) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "pull");
	}
	request.url = path;
	return session_reach(p->session, h, &request, &a, e);
}

static bool all_there(const struct pull *p, struct blobs *blobs)
{
	for (size_t i = 0; i < p->found.manifest->count; i++)
		if (!blobs_has(blobs, p->found.manifest->entries[i].digest))
			return false;
	return true;
}

int pull_begin(struct registry *r, const struct pull_request *request, struct op *op, struct pull **ret,
	struct err *e)
{
	const char *ref = request->ref->digest ? request->ref->digest : request->ref->tag;
	_cleanup_(pull_freep) struct pull *p = calloc(1, sizeof(*p));
	_cleanup_(http_freep) struct http *h = NULL;
	int code;

	if (!p)
		return err_sys(e, -ENOMEM, "pull");
	code = client(op, &h, e);
	if (code == 0)
		code = session_for(r, request, "pull", op, &p->session, e);
	if (code == 0)
		code = resolve_image(p->session, h, ref, request->platform, &p->found, e);
	if (code == 0 && !all_there(p, p->session->registry->blobs))
		code = reach(p, h, e);
	if (code < 0)
		return code;
	op_stage(op, "fetch layers");
	code = fetches_begin(
		p->session, p->found.manifest->entries, p->found.manifest->count, op, &p->fetches, e);
	if (code < 0)
		return code;
	*ret = TAKE_PTR(p);
	return 0;
}

struct pull *pull_free(struct pull *p)
{
	if (!p)
		return NULL;
	fetches_free(p->fetches);
	resolved_clear(&p->found);
	session_free(p->session);
	free(p);
	return NULL;
}

const char *pull_digest(const struct pull *p)
{
	return p->found.digest;
}

const char *pull_ref_digest(const struct pull *p)
{
	return p->found.ref_digest;
}

const struct manifest *pull_manifest(const struct pull *p)
{
	return p->found.manifest;
}

const struct image_config *pull_config(const struct pull *p)
{
	return p->found.config;
}

const char *pull_config_text(const struct pull *p)
{
	return p->found.config_text;
}

int pull_layer(struct pull *p, size_t i, int *ret_fd, int *ret_grow, struct err *e)
{
	return fetches_layer(p->fetches, i, ret_fd, ret_grow, e);
}

int pull_wait(struct pull *p, struct err *e)
{
	int r = fetches_wait(p->fetches, e);

	return r < 0 ? r : session_publish(p->session, e);
}

int pull_resolve(struct registry *r, const struct pull_request *request, struct op *op, char **ret_digest,
	struct err *e)
{
	_cleanup_(session_freep) struct session *s = NULL;
	_cleanup_(http_freep) struct http *h = NULL;
	int code;

	if (request->ref->digest) {
		*ret_digest = strdup(request->ref->digest);
		return *ret_digest ? 0 : err_sys(e, -ENOMEM, "pull");
	}
	code = client(op, &h, e);
	if (code == 0)
		code = session_for(r, request, "pull", op, &s, e);
	if (code == 0)
		code = remote_resolve(s, h, request->ref->tag, ret_digest, e);
	return code;
}
