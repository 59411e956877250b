#include <pthread.h>
#include <stdlib.h>

#include "image/queue.h"

#define SLOTS 4

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	uint64_t filled, emptied; /* blocks so far */
	bool taken;               /* the block after EMPTIED is being read */
	bool ended, left;
	size_t size[SLOTS];
	uint8_t block[SLOTS][QUEUE_BLOCK];
};

struct queue *queue_new(void)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (q) {
		pthread_mutex_init(&q->lock, NULL);
		pthread_cond_init(&q->moved, NULL);
	}
	return q;
}

struct queue *queue_free(struct queue *q)
{
	if (q) {
		pthread_cond_destroy(&q->moved);
		pthread_mutex_destroy(&q->lock);
		free(q);
	}
	return NULL;
}

uint8_t *queue_room(struct queue *q)
{
	uint8_t *block;

	pthread_mutex_lock(&q->lock);
	while (!q->left && q->filled - q->emptied == SLOTS)
		pthread_cond_wait(&q->moved, &q->lock);
	block = q->left ? NULL : q->block[q->filled % SLOTS];
	pthread_mutex_unlock(&q->lock);
	return block;
}

void queue_put(struct queue *q, size_t n)
{
	pthread_mutex_lock(&q->lock);
	q->size[q->filled++ % SLOTS] = n;
	pthread_cond_signal(&q->moved);
	pthread_mutex_unlock(&q->lock);
}

void queue_end(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->ended = true;
	pthread_cond_signal(&q->moved);
	pthread_mutex_unlock(&q->lock);
}

const uint8_t *queue_take(struct queue *q, size_t *ret_n)
{
	const uint8_t *block = NULL;

	pthread_mutex_lock(&q->lock);
	if (q->taken) {
		q->emptied++;
		q->taken = false;
		pthread_cond_signal(&q->moved);
	}
	while (!q->ended && q->filled == q->emptied)
		pthread_cond_wait(&q->moved, &q->lock);
	if (q->filled > q->emptied) {
		block = q->block[q->emptied % SLOTS];
		*ret_n = q->size[q->emptied % SLOTS];
		q->taken = true;
	}
	pthread_mutex_unlock(&q->lock);
	return block;
}

void queue_leave(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->left = true;
	pthread_cond_signal(&q->moved);
	pthread_mutex_unlock(&q->lock);
}
