#include <pthread.h>
#include <stdlib.h>

#include "image/queue.h"

/* A file system holds up who writes for 10 to 20 ms now and then: as long as it takes zlib to fill them (tests/bench/pull.sh: 400 MB/s). */
#define SLOTS 8

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	/* Blocks that wait to be read, from the oldest on. */
	size_t first, n;
	struct {
		size_t size;
		uint8_t *block;
	} ready[SLOTS];
	/* The others. The one that was emptied last is filled next: it is in the processor's cache still. */
	size_t free_n;
	uint8_t *free[SLOTS];
	uint8_t *filling, *taken; /* in the hands of either side; NULL: none */
	bool ended, left;
	uint8_t block[SLOTS][QUEUE_BLOCK];
};

struct queue *queue_new(void)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->filled, NULL);
	pthread_cond_init(&q->emptied, NULL);
	while (q->free_n < SLOTS) {
		q->free[q->free_n] = q->block[q->free_n];
		q->free_n++;
	}
	return q;
}

struct queue *queue_free(struct queue *q)
{
	if (q) {
		pthread_cond_destroy(&q->filled);
		pthread_cond_destroy(&q->emptied);
		pthread_mutex_destroy(&q->lock);
		free(q);
	}
	return NULL;
}

uint8_t *queue_room(struct queue *q)
{
	uint8_t *block;

	pthread_mutex_lock(&q->lock);
	while (!q->left && !q->filling && q->free_n == 0)
		pthread_cond_wait(&q->emptied, &q->lock);
	if (!q->left && !q->filling)
		q->filling = q->free[--q->free_n];
	block = q->left ? NULL : q->filling;
	pthread_mutex_unlock(&q->lock);
	return block;
}

void queue_put(struct queue *q, size_t n)
{
	pthread_mutex_lock(&q->lock);
	q->ready[(q->first + q->n) % SLOTS].size = n;
	q->ready[(q->first + q->n) % SLOTS].block = TAKE_PTR(q->filling);
	q->n++;
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

void queue_end(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->ended = true;
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

const uint8_t *queue_take(struct queue *q, size_t *ret_n)
{
	const uint8_t *block;

	pthread_mutex_lock(&q->lock);
	if (q->taken) {
		q->free[q->free_n++] = TAKE_PTR(q->taken);
		pthread_cond_signal(&q->emptied);
	}
	while (!q->ended && q->n == 0)
		pthread_cond_wait(&q->filled, &q->lock);
	if (q->n > 0) {
		q->taken = q->ready[q->first].block;
		*ret_n = q->ready[q->first].size;
		q->first = (q->first + 1) % SLOTS;
		q->n--;
	}
	block = q->taken;
	pthread_mutex_unlock(&q->lock);
	return block;
}

void queue_leave(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->left = true;
	pthread_cond_signal(&q->emptied);
	pthread_mutex_unlock(&q->lock);
}
