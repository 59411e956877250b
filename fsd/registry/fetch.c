#include "registry/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "registry/registry_state.h"

#define THREADS_MAX 4 /* connections at once, as crane has */
/*
 * What a try must bring to count as one that got on: a server that breaks off after a byte each time is given up like one that sends nothing, and so
 * nobody asks more than some hundred times for a small blob, or a few times for each MiB of a large one.
 */
#define PROGRESS_MAX   (1024 * 1024)
#define PROGRESS_SHARE 32  /* of a blob that is smaller than so many of those */
#define OTHERS_MSEC    100 /* how often to look whether another pull is through with a layer */

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
	bool fresh; /* nothing of this answer has come yet; the thread's alone, as what follows */
	bool local; /* what went wrong is this machine's */
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
	if (r < 0) {
		f->local = r != -EBADMSG;
		return r;
	}
	f->at += n;
	show(f, "fetch");
	return 0;
}

static void rewind_all(struct fetch *f)
{
	blob_rewind(f->blob);
	f->at = 0;
}

/* One answer. 0: all of it came; -EAGAIN: the same once more, at once. What else may be tried again: http_transient_error(). */
static int ask(struct fetch *f, struct session *s, struct http *h, struct http_answer *a, struct err *e)
{
	_cleanup_free_ char *path = NULL, *what = NULL;
	struct http_request request = {.from = f->at, .sink = sink, .user = f};
	uint64_t before = f->at;
	int r;

	if (asprintf(&path, "blobs/%s", f->layer->digest) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	request.url = path;
	f->fresh = true;
	r = session_once(s, h, &request, a, e);
	/* What is there is no beginning of what it has, or it can't tell where it goes on. */
	if (before > 0 && (r == -ERANGE || (r == 0 && a->status == 416))) {
		rewind_all(f);
		return -EAGAIN;
	}
	if (r < 0)
		return r;
	/* Less of it than was asked for is a server's right. */
	if (a->status == 206 && f->at > before && f->at < f->layer->size)
		return -EAGAIN;
	if (a->status == 200 || a->status == 206)
		return 0;
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

/* A connection that broke, or an answer that says to come again. */
static bool may_retry(int tries, const struct http_answer *a)
{
	bool answered = http_transient_status(a->status);

	return session_may_retry(tries, answered ? 0 : -ECONNRESET, a);
}

static bool got_on(const struct fetch *f, uint64_t before)
{
	uint64_t least = f->layer->size / PROGRESS_SHARE;

	return f->at > before && f->at - before >= (least < PROGRESS_MAX ? least : PROGRESS_MAX);
}

/* Whether the next endpoint may do what this one, a mirror, didn't. It stands there then. */
static bool next_endpoint(struct fetch *f, struct session *s, int code)
{
	if (code == -EINTR || code == -ENOMEM || f->local || s->at == s->count - 1)
		return false;
	if (code == -EBADMSG)
		rewind_all(f);
	s->at++;
	return true;
}

/* Till all of it has come: broken connections are taken up where they broke. */
static int transfer(struct fetch *f, struct session *s, struct http *h, struct err *e)
{
	int tries = 0;

	while (f->at < f->layer->size) {
		_cleanup_(http_answer_clear) struct http_answer a = {0};
		_cleanup_err_ struct err own = {0};
		uint64_t before = f->at;
		int r = ask(f, s, h, &a, &own);

		if (r == 0)
			return 0;
		if (got_on(f, before))
			tries = 0;
		if (r != -EAGAIN && next_endpoint(f, s, r)) {
			tries = 0;
			continue;
		}
		/* An answer may bring less than a connection that breaks: both count. */
		if ((r != -EAGAIN && !http_transient_error(r)) || !may_retry(tries, &a))
			return r == -EAGAIN
				       ? err_set(e, -EIO, "the registry sends too little of it at a time")
				       : err_move(e, &own);
		if (r != -EAGAIN) {
			show(f, "wait for the registry");
			r = session_wait(s, h, tries, &a, e);
			if (r < 0)
				return r;
		}
		tries++;
	}
	return 0;
}

static int download(struct fetch *f, struct session *s, struct http *h, struct err *e)
{
	int r = blob_resume(f->blob, &f->at, e);

	if (r < 0)
		return r;
	show(f, "fetch");
	r = transfer(f, s, h, e);
	if (r < 0)
		return r;
	show(f, "verify");
	return blob_commit(f->blob, e);
}

/* -EBUSY: another pull is at it. */
static int begin(struct fetch *f, struct err *e)
{
	struct blobs *blobs = f->all->session->registry->blobs;
	_cleanup_close_ int fd = -EBADF;
	struct blob *blob = NULL;
	uint64_t size;
	int r = blob_begin(blobs, f->layer->digest, f->layer->size, NULL, &blob, e);

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

/* Waits for another pull that is at it: what stops this one ends that. */
static int begin_after_others(struct fetch *f, struct http *h, struct err *e)
{
	for (;;) {
		int r = begin(f, e);

		if (r == -EBUSY)
			r = http_wait(h, OTHERS_MSEC, e);
		else
			return r;
		if (r < 0)
			return r;
	}
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
	/* Bytes that are wrong are nothing to go on with. */
	blob_end(blob, code == -EBADMSG);
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
	_cleanup_(session_freep) struct session *session = NULL;
	_cleanup_(http_freep) struct http *h = NULL;
	_cleanup_err_ struct err e = {0};
	int stops[HTTP_STOPS] = {all->stop, op_cancel_fd(all->op)};
	int r = http_new(stops, &h, &e);
	struct fetch *f;

	if (r == 0)
		r = session_copy(all->session, &session, &e);

	while ((f = next(all))) {
		size_t first = session ? session->at : 0;
		_cleanup_err_ struct err own = {0};

		if (r < 0) {
			_cleanup_err_ struct err copy = {0};

			err_copy(&copy, &e);
			over(f, r, &copy);
			continue;
		}
		r = http_wait(h, 0, &own);
		if (r == 0 && f->state == WAITING)
			r = begin_after_others(f, h, &own);
		if (r == 0 && f->blob)
			r = download(f, session, h, &own);
		over(f, r, &own);
		/* What a mirror hasn't of one layer it may have of the next. */
		session->at = first;
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
		r = begin(f, e);
		if (r < 0 && r != -EBUSY) {
			err_wrap(e, "layer %zu (%s)", i + 1, f->layer->digest);
			return r;
		}
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
