#include "registry/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "registry/registry_state.h"

#define THREADS_MAX      4 /* connections at once, as crane has */
#define TRIES_MAX        5 /* without a byte of progress */
#define FIRST_WAIT_MSEC  500
#define RETRY_WAIT_LIMIT (60 * 1000)

enum state {
	WAITING,  /* for a thread, or for who else fetches it */
	FETCHING, /* blob is set */
	THERE,    /* fd is set */
	FAILED,
};

struct fetch {
	struct fetches *all;
	const struct descriptor *layer;
	size_t number;    /* the part's */
	size_t same;      /* the first layer with this digest: it is fetched once */
	enum state state; /* under the lock, as what follows */
	struct blob *blob;
	int fd;
	struct err error;
	bool fresh; /* nothing of this answer has come yet; the thread's alone */
	uint64_t at;
};

struct fetches {
	struct session *session;
	struct op *op;
	int stop;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fetch *list;
	size_t count, next;
	pthread_t threads[THREADS_MAX];
	size_t thread_count;
};

static void show(struct fetch *f, const char *stage)
{
	const char *hex = strchr(f->layer->digest, ':');
	char name[16];

	snprintf(name, sizeof(name), "%.12s", hex ? hex + 1 : f->layer->digest);
	op_part(f->all->op, f->number, name, stage, f->at, f->layer->size);
}

static int sink(void *user, const void *data, size_t n, bool ranged, struct err *e)
{
	struct fetch *f = user;
	int r;

	if (f->fresh && !ranged && f->at > 0) {
		blob_rewind(f->blob);
		f->at = 0;
	}
	f->fresh = false;
	r = blob_write(f->blob, data, n, e);
	if (r < 0)
		return r;
	f->at += n;
	show(f, "fetch");
	return 0;
}

/* One answer. 0: there is no more to come; -EAGAIN: the same once more, somewhere else. */
static int ask(struct fetch *f, struct session *s, struct http *h, struct http_answer *a, struct err *e)
{
	_cleanup_free_ char *path = NULL, *what = NULL;
	struct http_request request = {.from = f->at, .sink = sink, .user = f};
	int r;

	if (asprintf(&path, "blobs/%s", f->layer->digest) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	request.url = path;
	f->fresh = true;
	r = session_run(s, h, &request, false, a, e);
	if (r < 0)
		return r;
	if (a->status == 200 || a->status == 206)
		return 0;
	/* All of it was there, or what is there is no beginning of it. */
	if (a->status == 416 && f->at > 0) {
		blob_rewind(f->blob);
		f->at = 0;
		return -EAGAIN;
	}
	if (a->status == 404 && s->at < s->count - 1) {
		s->at++;
		return -EAGAIN;
	}
	if (http_transient_status(a->status)) {
		session_refused(s, "layer", a, e);
		return -ECONNRESET;
	}
	if (asprintf(&what, "layer %s", f->layer->digest) < 0) {
		what = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	return session_refused(s, what, a, e);
}

/* Till all of it has come: broken connections are taken up where they broke. */
static int download(struct fetch *f, struct session *s, struct http *h, struct err *e)
{
	unsigned tries = 0;
	int r = blob_resume(f->blob, &f->at, e);

	if (r < 0)
		return r;
	show(f, "fetch");
	while (f->at < f->layer->size) {
		_cleanup_(http_answer_clear) struct http_answer a = {0};
		_cleanup_err_ struct err own = {0};
		uint64_t before = f->at;
		unsigned msec;

		r = ask(f, s, h, &a, &own);
		if (r == 0)
			break;
		if (f->at > before)
			tries = 0;
		if (r != -EAGAIN && !http_transient_error(r))
			return err_move(e, &own);
		if (++tries == TRIES_MAX)
			return r == -EAGAIN ? err_set(e, -EIO, "the registry sends none of it")
					    : err_move(e, &own);
		msec = r == -EAGAIN ? 0 : FIRST_WAIT_MSEC << (tries - 1);
		if (a.retry_after)
			msec = a.retry_after * 1000;
		if (msec > RETRY_WAIT_LIMIT)
			return err_move(e, &own);
		if (msec > 0)
			show(f, "wait for the registry");
		r = http_wait(h, msec, e);
		if (r < 0)
			return r;
	}
	show(f, "verify");
	return blob_commit(f->blob, e);
}

static int begin(struct fetch *f, struct op *op, struct err *e)
{
	struct blobs *blobs = f->all->session->registry->blobs;
	_cleanup_close_ int fd = -EBADF;
	struct blob *blob = NULL;
	uint64_t size;
	int r = blob_begin(blobs, f->layer->digest, f->layer->size, op, &blob, e);

	if (r == 0 && !blob)
		r = blobs_open(blobs, f->layer->digest, &fd, &size, e);
	if (r < 0)
		return r;
	if (!blob && size != f->layer->size)
		return err_set(e, -EBADMSG, "the blob has %llu bytes, not the %llu that the manifest says",
			(unsigned long long)size, (unsigned long long)f->layer->size);
	pthread_mutex_lock(&f->all->lock);
	f->blob = blob;
	f->fd = TAKE_FD(fd);
	f->state = blob ? FETCHING : THERE;
	pthread_cond_broadcast(&f->all->changed);
	pthread_mutex_unlock(&f->all->lock);
	if (!blob) {
		f->at = size;
		show(f, "there");
	}
	return 0;
}

static void over(struct fetch *f, int code, struct err *e)
{
	struct fetches *all = f->all;
	_cleanup_err_ struct err late = {0};
	int fd = -EBADF, grow = -EBADF;
	struct blob *blob;

	/* Kept open: who prunes meanwhile takes nothing away. */
	if (code == 0 && f->blob) {
		code = blob_follow(f->blob, &fd, &grow, &late);
		if (code < 0)
			e = &late;
	}
	pthread_mutex_lock(&all->lock);
	blob = TAKE_PTR(f->blob);
	if (fd >= 0)
		f->fd = fd;
	f->state = code == 0 ? THERE : FAILED;
	if (code < 0) {
		err_wrap(e, "layer %zu (%s)", f->number + 1, f->layer->digest);
		err_move(&f->error, e);
	}
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
	blob_end(blob, false);
	show(f, code == 0 ? "there" : "failed");
	/* The image comes to nothing without it: the others needn't go on. */
	if (code < 0)
		eventfd_write(all->stop, 1);
}

static struct fetch *next(struct fetches *all)
{
	struct fetch *f = NULL;

	pthread_mutex_lock(&all->lock);
	/* Those that were begun come first: nobody waits for another pull with something of his own in hand. */
	while (!f && all->next < 2 * all->count) {
		struct fetch *it = &all->list[all->next % all->count];
		bool first = all->next++ < all->count;

		if (it->same == it->number && it->state == (first ? FETCHING : WAITING))
			f = it;
	}
	pthread_mutex_unlock(&all->lock);
	return f;
}

static void *work(void *data)
{
	struct fetches *all = data;
	struct session session = *all->session;
	_cleanup_(http_freep) struct http *h = NULL;
	_cleanup_err_ struct err e = {0};
	int stops[HTTP_STOPS] = {all->stop, op_cancel_fd(all->op)};
	int r = http_new(stops, &h, &e);
	size_t first = session.at;
	struct fetch *f;

	while ((f = next(all))) {
		_cleanup_err_ struct err own = {0};

		if (r < 0) {
			_cleanup_err_ struct err copy = {0};

			err_copy(&copy, &e);
			over(f, r, &copy);
			continue;
		}
		session.at = first;
		r = http_wait(h, 0, &own);
		if (r == 0 && f->state == WAITING)
			r = begin(f, all->op, &own);
		if (r == 0 && f->blob)
			r = download(f, &session, h, &own);
		over(f, r, &own);
		r = 0;
	}
	return NULL;
}

static size_t first_same(const struct fetches *all, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(all->list[j].layer->digest, all->list[i].layer->digest) == 0)
			return j;
	return i;
}

/* Takes what nobody else is at, and what is there. */
static int begin_all(struct fetches *all, size_t *ret_open, struct err *e)
{
	size_t open = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct fetch *f = &all->list[i];
		int r;

		f->same = first_same(all, i);
		if (f->same != i)
			continue;
		r = begin(f, NULL, e);
		if (r < 0 && r != -EBUSY)
			return r;
		if (r == -EBUSY)
			show(f, "wait");
		else if (f->state == FETCHING)
			show(f, "wait");
		open += f->state != THERE;
	}
	*ret_open = open;
	return 0;
}

int fetches_begin(struct session *s, const struct descriptor *layers, size_t n, struct op *op,
	struct fetches **ret, struct err *e)
{
	_cleanup_(fetches_freep) struct fetches *all = calloc(1, sizeof(*all));
	size_t open = 0;
	int r;

	if (!all)
		return err_sys(e, -ENOMEM, "layers");
	all->session = s;
	all->op = op;
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->changed, NULL);
	all->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (all->stop < 0)
		return err_sys(e, -errno, "eventfd");
	all->list = calloc(n ? n : 1, sizeof(*all->list));
	if (!all->list)
		return err_sys(e, -ENOMEM, "layers");
	all->count = n;
	for (size_t i = 0; i < n; i++)
		all->list[i] = (struct fetch){.all = all, .layer = &layers[i], .number = i, .fd = -EBADF};
	r = begin_all(all, &open, e);
	while (r == 0 && all->thread_count < THREADS_MAX && all->thread_count < open) {
		r = -pthread_create(&all->threads[all->thread_count], NULL, work, all);
		if (r < 0)
			return err_sys(e, r, "a thread for the layers");
		all->thread_count++;
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(all);
	return 0;
}

struct fetches *fetches_free(struct fetches *all)
{
	if (!all)
		return NULL;
	eventfd_write(all->stop, 1);
	for (size_t i = 0; i < all->thread_count; i++)
		pthread_join(all->threads[i], NULL);
	for (size_t i = 0; i < all->count; i++) {
		blob_end(all->list[i].blob, false);
		close_fd(all->list[i].fd);
		err_clear(&all->list[i].error);
	}
	close_fd(all->stop);
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->lock);
	free(all->list);
	free(all);
	return NULL;
}

/* A description of its own: each reader stands where it stands. */
static int reopen(int fd, int *ret, struct err *e)
{
	char path[sizeof("/proc/self/fd/") + 11];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, -errno, "opening a layer") : 0;
}

int fetches_layer(struct fetches *all, size_t i, int *ret_fd, int *ret_grow, struct err *e)
{
	struct fetch *f = &all->list[all->list[i].same];
	int r;

	pthread_mutex_lock(&all->lock);
	while (f->state == WAITING)
		pthread_cond_wait(&all->changed, &all->lock);
	if (f->state == FAILED) {
		r = err_copy(e, &f->error);
	} else if (f->state == FETCHING) {
		r = blob_follow(f->blob, ret_fd, ret_grow, e);
	} else {
		*ret_grow = -1;
		r = reopen(f->fd, ret_fd, e);
	}
	pthread_mutex_unlock(&all->lock);
	return r;
}

/* The others were only stopped because of it. */
static const struct err *cause(const struct fetches *all)
{
	const struct err *found = NULL;

	for (size_t i = 0; i < all->count; i++) {
		const struct fetch *f = &all->list[i];

		if (f->same == i && f->state == FAILED && (!found || found->code == -EINTR))
			found = &f->error;
	}
	return found;
}

int fetches_wait(struct fetches *all, struct err *e)
{
	const struct err *why;
	int r;

	pthread_mutex_lock(&all->lock);
	for (size_t i = 0; i < all->count; i++)
		while (all->list[i].same == i && all->list[i].state != THERE && all->list[i].state != FAILED)
			pthread_cond_wait(&all->changed, &all->lock);
	why = cause(all);
	r = why ? err_copy(e, why) : 0;
	pthread_mutex_unlock(&all->lock);
	return r;
}
