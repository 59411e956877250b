/*
 * The last bytes of a stream, in a file that never grows beyond a size: byte N of the stream lies at N modulo that size. The file
 * is made with the first byte, and its descriptor kept only while more may come. Writes go to the page cache. Loop thread.
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
/* Appends. When it cannot be written (-errno) the bytes count as written and dropped. */
int ring_append(struct ring *r, const void *data, size_t n);
/* Bytes from OFFSET, which is within [first, size]; returns how many, 0 at the end, or -errno. */
ssize_t ring_read(struct ring *r, uint64_t offset, void *buf, size_t n);
/* Nothing more is appended: the descriptor goes, the file stays. */
void ring_end(struct ring *r);
/* The file goes too. */
void ring_remove(struct ring *r);

#endif
