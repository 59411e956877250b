/*
 * The last bytes of a stream, in a file that never grows beyond a size: first u64 and u64, which of all bytes it has (struct ring's FIRST and SIZE), then byte N
 * of the stream at N modulo that size. The bytes are written before the numbers, so that whoever is killed in between has
 * what the numbers say. The file is made with the first byte, and its descriptor kept only while more may come. Writes go to the page cache. Loop thread.
 */
#ifndef BANGER_VM_RING_H
#define BANGER_VM_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ring {
	int dir_fd;           /* borrowed */
	char name[24];        /* in it */
	int fd;               /* while it is written to */
	uint64_t first, size; /* kept is [first, size) of all that was ever written */
	uint64_t max;
	bool made;
};

void ring_init(struct ring *r, int dir_fd, uint32_t number, int stream, uint64_t max);
/* As an earlier daemon left it; nothing was ever written where there is no file, or no good one. */
void ring_load(struct ring *r);
/* What comes next is byte OFFSET: those before that were not written are lost. */
void ring_skip(struct ring *r, uint64_t offset);
/* Appends. When it cannot be written (-errno) the bytes count as written and dropped. */
int ring_append(struct ring *r, const void *data, size_t n);
/* Bytes from OFFSET, which is within [first, size]; returns how many, 0 at the end, or -errno. */
ssize_t ring_read(struct ring *r, uint64_t offset, void *buf, size_t n);
/* Nothing more is appended: the descriptor goes, the file stays. */
void ring_end(struct ring *r);
/* The file goes too. */
void ring_remove(struct ring *r);

#endif
