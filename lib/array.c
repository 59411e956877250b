#include <errno.h>
#include <stdlib.h>

#include "banger/array.h"

#define FIRST 64

int array_grow(void **items, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : FIRST;
	void *bigger;

	if (count < *room)
		return 0;
	bigger = reallocarray(*items, wanted, size);
	if (!bigger)
		return -ENOMEM;
	*items = bigger;
	*room = wanted;
	return 0;
}
