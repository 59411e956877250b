/* Blocks of bytes that one thread fills and another empties, in order, a few of them under way. */
#ifndef BANGER_IMAGE_QUEUE_H
#define BANGER_IMAGE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/cleanup.h"

/* zlib begins anew with each, which costs a fiftieth of its time where they have a quarter of this. */
#define QUEUE_BLOCK (1024u * 1024)

struct queue;

struct queue *queue_new(void); /* NULL: no memory */
struct queue *queue_free(struct queue *q);

/* The filling side: QUEUE_BLOCK bytes to fill, NULL when the other side has gone; then N of them are the next block. */
uint8_t *queue_room(struct queue *q);
void queue_put(struct queue *q, size_t n);
void queue_end(struct queue *q);

/* The emptying side: the next block, good until the next call; NULL: the end. */
const uint8_t *queue_take(struct queue *q, size_t *ret_n);
void queue_leave(struct queue *q);

#endif
