#include "image/layers.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "image/tar.h"
#include "image/source.h"

#define AT_ONCE_MAX 4   /* each has threads and buffers of its own */
#define BATCH       256 /* changes that go from thread to thread at once */

struct batch {
	STAILQ_ENTRY(batch) link;
	size_t n;
	struct change list[BATCH];
};

/* A layer on its way: a thread reads it, the caller's merges what it changes. */
struct reading {
	struct merge *m;
	const struct image_layer *layer;
	size_t number;         /* from 0 */
	struct batch *filling; /* the thread's own */
	unsigned char sum[32]; /* of its blob, where that is hashed; the merger's when it is over */
	/* Under the lock. */
	struct stream *stream;
	STAILQ_HEAD(, batch) batches;
	bool over; /* and then these are the merger's */
	int result;
	struct err err;
};

struct merge {
	struct source *s; /* nobody but the merger looks at it before it has begun */
	struct op *op;
	struct stream_group group;
	struct reading *list;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t next; /* to be read; under the lock, as what follows */
	bool begun;  /* there is a file system that contents can go to */
	bool stopped;
};

static int verify(const char *what, const char *wanted, const unsigned char sum[32], struct err *e)
{
	char got[72];

	if (!wanted)
		return 0;
	source_digest(sum, got);
	return strcmp(got, wanted) == 0
		       ? 0
		       : err_set(e, -EBADMSG, "its %s is %s, but %s was promised", what, got, wanted);
}

static void hand_over(struct reading *g)
{
	if (!g->filling)
		return;
	pthread_mutex_lock(&g->m->lock);
	STAILQ_INSERT_TAIL(&g->batches, g->filling, link);
	pthread_cond_broadcast(&g->m->changed);
	pthread_mutex_unlock(&g->m->lock);
	g->filling = NULL;
}

static int take_change(void *user, struct change *c, struct err *e)
{
	struct reading *g = user;

	if (!g->filling && !(g->filling = calloc(1, sizeof(*g->filling)))) {
		err_sys(e, -ENOMEM, "image");
		change_wrap(e, c->path);
		change_clear(c);
		return -ENOMEM;
	}
	g->filling->list[g->filling->n++] = *c;
	*c = (struct change){0};
	if (g->filling->n == BATCH)
		hand_over(g);
	return 0;
}

/* From now on it can be stopped; until it is shown as NULL. */
static void show_stream(struct reading *g, struct stream *stream)
{
	pthread_mutex_lock(&g->m->lock);
	g->stream = stream;
	if (stream && g->m->stopped)
		stream_stop(stream);
	pthread_mutex_unlock(&g->m->lock);
}

/* Unpacking begins before there is anything to write to: to make the file system costs an fsync. */
static int await_writer(struct merge *m, struct err *e)
{
	bool begun;

	pthread_mutex_lock(&m->lock);
	while (!m->begun && !m->stopped)
		pthread_cond_wait(&m->changed, &m->lock);
	begun = m->begun;
	pthread_mutex_unlock(&m->lock);
	return begun ? 0 : err_set(e, -EINTR, "cancelled");
}

static int read_stream(struct reading *g, struct stream *stream, enum stream_hash hash, struct err *e)
{
	struct source *s = g->m->s;
	_cleanup_(lane_freep) struct lane *lane = NULL;
	struct tar_place place = {.kind = TAR_LAYER, .sink = {.take = take_change, .user = g}};
	unsigned char plain[32];
	int r = await_writer(g->m, e);

	if (r == 0)
		r = lane_new(s->writer, g->number, &lane, e);
	if (r < 0)
		return r;
	place.bytes_max = s->bytes_max;
	place.lane = lane;
	r = tar_read(stream, &place, e);
	if (r == 0)
		r = lane_finish(lane, e);
	if (r == 0 && hash != STREAM_HASH_PLAIN) {
		stream_digest(stream, g->sum);
		r = verify("digest", g->layer->digest, g->sum, e);
	}
	if (r == 0 && hash != STREAM_HASH_PACKED) {
		stream_plain_digest(stream, plain);
		r = verify("content's digest (diff_id)", g->layer->diff_id, plain, e);
	}
	return r;
}

static int read_layer(struct reading *g, struct err *e)
{
	_cleanup_(stream_freep) struct stream *stream = NULL;
	const struct image_layer *layer = g->layer;
	struct stream_input input = {.fd = layer->fd,
		.grow = layer->grow,
		.size = layer->size,
		.layer = true,
		.window = layer->window,
		.summed = layer->diff_id != NULL,
		.group = &g->m->group};
	enum stream_hash hash = layer->diff_id == NULL ? STREAM_HASH_PACKED
				: layer->verified      ? STREAM_HASH_PLAIN
						       : STREAM_HASH_BOTH;
	int r = stream_open(&input, g->m->op, hash, &stream, e);

	if (r < 0)
		return r;
	show_stream(g, stream);
	r = read_stream(g, stream, hash, e);
	show_stream(g, NULL);
	return r;
}

/* Layers in their order, each thread the next one: the lowest that isn't over is always at work, and others may wait for it (space.h). */
static void *read_thread(void *arg)
{
	struct merge *m = arg;

	for (;;) {
		struct reading *g = NULL;
		int r;

		pthread_mutex_lock(&m->lock);
		if (!m->stopped && m->next < m->n)
			g = &m->list[m->next++];
		pthread_mutex_unlock(&m->lock);
		if (!g)
			return NULL;
		r = read_layer(g, &g->err);
		hand_over(g);
		pthread_mutex_lock(&m->lock);
		g->result = r;
		g->over = true;
		pthread_cond_broadcast(&m->changed);
		pthread_mutex_unlock(&m->lock);
	}
}

/* What a layer changes next; NULL: it is over. */
static struct batch *next_batch(struct reading *g)
{
	struct batch *b;

	pthread_mutex_lock(&g->m->lock);
	while (!(b = STAILQ_FIRST(&g->batches)) && !g->over)
		pthread_cond_wait(&g->m->changed, &g->m->lock);
	if (b)
		STAILQ_REMOVE_HEAD(&g->batches, link);
	pthread_mutex_unlock(&g->m->lock);
	return b;
}

static void batch_free(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		change_clear(&b->list[i]);
	free(b);
}

static int merge_layer(struct reading *g, struct err *e)
{
	struct batch *b;
	int r = 0;

	g->m->s->tree->layer = (uint32_t)g->number + 1;
	while (r == 0 && (b = next_batch(g))) {
		for (size_t i = 0; r == 0 && i < b->n; i++)
			r = change_apply(g->m->s->tree, &b->list[i], e);
		batch_free(b);
	}
	if (r == 0 && g->result < 0)
		r = err_move(e, &g->err);
	if (r < 0)
		return r;
	writer_turn(g->m->s->writer);
	return 0;
}

/* All threads end soon, wherever they are. */
static void stop(struct merge *m)
{
	pthread_mutex_lock(&m->lock);
	m->stopped = true;
	for (size_t i = 0; i < m->n; i++)
		if (m->list[i].stream)
			stream_stop(m->list[i].stream);
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	if (m->s->writer)
		writer_stop(m->s->writer);
}

/* From now on contents can go there. */
static int begin(struct merge *m, int out_fd, const uint64_t *weights, const char *seed, struct err *e)
{
	int r = source_begin_lanes(out_fd, weights, m->n, seed, m->op, m->s, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&m->lock);
	m->begun = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static int merge_all(struct merge *m, unsigned at_once, int out_fd, const uint64_t *weights, const char *seed,
	struct err *e)
{
	pthread_t threads[AT_ONCE_MAX];
	unsigned started = 0;
	int r = 0;

	while (r == 0 && started < at_once && started < m->n) {
		r = -pthread_create(&threads[started], NULL, read_thread, m);
		if (r == 0)
			started++;
	}
	if (r < 0)
		err_sys(e, r, "image");
	else
		r = begin(m, out_fd, weights, seed, e);
	for (size_t i = 0; r == 0 && i < m->n; i++) {
		r = merge_layer(&m->list[i], e);
		if (r < 0 && r != -EINTR)
			err_wrap(e, "layer %zu (%s)", i + 1,
				m->list[i].layer->digest ? m->list[i].layer->digest : "of the archive");
	}
	if (r < 0)
		stop(m);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	return r;
}

static int merge_new(
	struct source *s, const struct image_layer *layers, size_t n, struct merge *ret, struct err *e)
{
	*ret = (struct merge){.s = s, .n = n, .list = calloc(n, sizeof(*ret->list))};
	if (!ret->list)
		return err_sys(e, -ENOMEM, "image");
	pthread_mutex_init(&ret->lock, NULL);
	pthread_cond_init(&ret->changed, NULL);
	for (size_t i = 0; i < n; i++) {
		struct reading *g = &ret->list[i];

		g->m = ret;
		g->layer = &layers[i];
		g->number = i;
		STAILQ_INIT(&g->batches);
		ret->group.size += layers[i].size;
	}
	for (size_t i = 0; i < n; i++)
		if (layers[i].size == 0)
			ret->group.size = 0;
	return 0;
}

static void merge_clear(struct merge *m)
{
	struct batch *b;

	if (!m->list)
		return;
	for (size_t i = 0; i < m->n; i++) {
		while ((b = STAILQ_FIRST(&m->list[i].batches))) {
			STAILQ_REMOVE_HEAD(&m->list[i].batches, link);
			batch_free(b);
		}
		err_clear(&m->list[i].err);
	}
	free(m->list);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
}

/* What the manifest says of how much each may hold: nothing that could be another time another. */
static int weigh(const struct image_layer *layers, size_t n, uint64_t **ret, struct err *e)
{
	struct stat st;

	*ret = calloc(n, sizeof(**ret));
	if (!*ret)
		return err_sys(e, -ENOMEM, "image");
	for (size_t i = 0; i < n; i++) {
		(*ret)[i] = layers[i].size;
		if (layers[i].size == 0 && layers[i].grow < 0 && fstat(layers[i].fd, &st) == 0)
			(*ret)[i] = (uint64_t)st.st_size;
	}
	return 0;
}

int layers_check_count(size_t n, struct err *e)
{
	return n > 0 && n <= LAYERS_MAX
		       ? 0
		       : err_set(e, -EBADMSG, "%zu layers: 1 to %d are legal", n, LAYERS_MAX);
}

static unsigned cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* A digest of layers that nobody gave one: of theirs, in their order. */
static int sum_up(const struct merge *m, char ret[72], struct err *e)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; good && i < m->n; i++)
		good = EVP_DigestUpdate(c, m->list[i].sum, sizeof(m->list[i].sum)) == 1;
	good = good && EVP_DigestFinal_ex(c, sum, NULL) == 1;
	EVP_MD_CTX_free(c);
	if (!good)
		return err_sys(e, -ENOMEM, "image");
	source_digest(sum, ret);
	return 0;
}

int image_from_layers_by(unsigned at_once, const struct image_layer *layers, size_t n, int out_fd,
	const char *uuid_seed, struct op *op, struct image_result *ret, struct err *e)
{
	_cleanup_free_ uint64_t *weights = NULL;
	struct image_result result = {0};
	struct source s = {0};
	struct merge m = {0};
	int r = layers_check_count(n, e);

	if (r == 0)
		r = weigh(layers, n, &weights, e);
	if (r == 0)
		r = merge_new(&s, layers, n, &m, e);
	m.op = op;
	op_stage(op, IMAGE_STAGE_LAYERS);
	if (r == 0)
		r = merge_all(
			&m, at_once < AT_ONCE_MAX ? at_once : AT_ONCE_MAX, out_fd, weights, uuid_seed, e);
	if (r == 0)
		r = source_finish(&s, out_fd, &result, e);
	if (r == 0 && !layers[0].digest)
		r = sum_up(&m, result.digest, e);
	if (r == 0)
		*ret = result;
	merge_clear(&m);
	source_clear(&s);
	return r;
}

int image_from_layers(const struct image_layer *layers, size_t n, int out_fd, const char *uuid_seed,
	struct op *op, struct image_result *ret, struct err *e)
{
	return image_from_layers_by(cores(), layers, n, out_fd, uuid_seed, op, ret, e);
}
