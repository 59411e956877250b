/* An image to a registry: its blobs, several at a time, then its manifest. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "registry/digest.h"
#include "registry/upload.h"

#define THREADS_MAX 4 /* connections at once, as a pull has */
#define ANSWER_MAX  (64 * 1024)

/* What the threads share. */
struct push {
	struct session *session;
	struct op *op;
	const struct descriptor **blobs; /* each once */
	size_t count;
	int stop;
	pthread_mutex_t lock;
	size_t next; /* under the lock, as what follows */
	struct err error;
};

static const struct descriptor *take(struct push *p, size_t *ret_i)
{
	const struct descriptor *one = NULL;

	pthread_mutex_lock(&p->lock);
	if (p->next < p->count && p->error.code == 0) {
		*ret_i = p->next;
		one = p->blobs[p->next++];
	}
	pthread_mutex_unlock(&p->lock);
	return one;
}

/* The first reason counts: the others were stopped because of it. */
static void fail(struct push *p, struct err *e)
{
	pthread_mutex_lock(&p->lock);
	if (p->error.code == 0)
		err_move(&p->error, e);
	pthread_mutex_unlock(&p->lock);
	eventfd_write(p->stop, 1);
}

static void *work(void *data)
{
	struct push *p = data;
	struct session session = *p->session;
	const int stops[HTTP_STOPS] = {p->stop, op_cancel_fd(p->op)};
	_cleanup_(http_freep) struct http *h = NULL;
	_cleanup_err_ struct err e = {0};
	const struct descriptor *blob;
	struct upload u = {.session = &session};
	int r = http_new(stops, &h, &e);

	while (r == 0 && (blob = take(p, &u.part))) {
		u.blob = blob;
		r = upload_run(&u, h, &e);
	}
	if (r < 0)
		fail(p, &e);
	return NULL;
}

static int run_threads(struct push *p, struct err *e)
{
	pthread_t threads[THREADS_MAX];
	size_t n = 0;
	int r = 0;

	while (n < THREADS_MAX && n < p->count) {
		r = -pthread_create(&threads[n], NULL, work, p);
		if (r < 0)
			break;
		n++;
	}
	/* Fewer are enough. */
	if (n == 0 && r < 0)
		return err_sys(e, r, "a thread for the blobs");
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return p->error.code < 0 ? err_move(e, &p->error) : 0;
}

static void add(struct push *p, const struct descriptor *d)
{
	/* A foreign layer is its publisher's to give (image-spec layer.md, "Non-Distributable Layers"). */
	if (d->urls && d->urls[0])
		return;
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->blobs[i]->digest, d->digest) == 0)
			return;
	p->blobs[p->count++] = d;
}

static int push_blobs(struct session *s, const struct manifest *m, struct err *e)
{
	_cleanup_free_ const struct descriptor **blobs = calloc(m->count + 1, sizeof(*blobs));
	struct push p = {.session = s, .op = s->op, .blobs = blobs};
	int r;

	if (!blobs)
		return err_sys(e, -ENOMEM, "push");
	for (size_t i = 0; i < m->count; i++)
		add(&p, &m->entries[i]);
	add(&p, &m->config);
	p.stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p.stop < 0)
		return err_sys(e, -errno, "eventfd");
	pthread_mutex_init(&p.lock, NULL);
	op_stage(s->op, "push blobs");
	r = run_threads(&p, e);
	pthread_mutex_destroy(&p.lock);
	err_clear(&p.error);
	close_fd(p.stop);
	return r;
}

/* 1: that is what the reference leads to. Where the registry is reached is known afterwards. */
static int is_there(struct session *s, struct http *h, const char *path, const char *digest, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	const struct http_request request = {.method = "HEAD", .url = path, .accept = manifest_accept};
	int r = session_reach(s, h, &request, &a, e);

	return r < 0 ? r : a.status == 200 && a.digest && strcmp(a.digest, digest) == 0;
}

static int put_manifest(struct session *s, struct http *h, const char *path, const char *manifest, size_t n,
	const char *media_type, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	const struct http_request request = {.method = "PUT",
		.url = path,
		.data = manifest,
		.data_size = n,
		.content_type = media_type,
		.body_max = ANSWER_MAX};
	int r;

	op_stage(s->op, "push the manifest");
	r = session_run(s, h, &request, true, &a, e);
	if (r < 0)
		return r;
	return a.status == 201 || a.status == 200 || a.status == 202 ? 0
								     : session_refused(s, "manifest", &a, e);
}

static int check(const struct reference *ref, const struct manifest *m, const char *digest, struct err *e)
{
	if (m->kind != MANIFEST_IMAGE)
		return err_set(e, -EINVAL, "an index is no image: one platform's is pushed");
	if (ref->digest && strcmp(ref->digest, digest) != 0)
		return err_set(e, -EINVAL, "%s/%s@%s: the image's digest is %s: push it to a tag", ref->host,
			ref->path, ref->digest, digest);
	return 0;
}

int push_run(struct registry *r, const struct pull_request *request, const char *manifest, size_t n,
	const char *media_type, const char *from, struct op *op, struct err *e)
{
	/* A mirror is for reading. */
	const struct hosts_config own = {.insecure = request->hosts.insecure, .home = request->hosts.home};
	const struct reference *ref = request->ref;
	const int stops[HTTP_STOPS] = {op_cancel_fd(op), -1};
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(session_freep) struct session *s = NULL;
	_cleanup_(http_freep) struct http *h = NULL;
	_cleanup_free_ char *path = NULL;
	char digest[DIGEST_TEXT_MAX];
	int code = manifest_parse(manifest, n, media_type, &m, e);

	if (code < 0)
		return code;
	digest_of(manifest, n, digest);
	code = check(ref, m, digest, e);
	if (code == 0)
		code = http_new(stops, &h, e);
	if (code == 0)
		code = session_new(r, &own, ref->host, ref->path, "pull,push", op, &s, e);
	if (code < 0)
		return code;
	s->from = from && strcmp(from, ref->path) != 0 ? from : NULL;
	if (asprintf(&path, "manifests/%s", ref->digest ? ref->digest : ref->tag) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "push");
	}
	op_stage(op, "ask the registry");
	code = is_there(s, h, path, digest, e);
	if (code != 0)
		return code < 0 ? code : 0;
	code = push_blobs(s, m, e);
	return code == 0 ? put_manifest(s, h, path, manifest, n, media_type, e) : code;
}
