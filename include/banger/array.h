/* Arrays that grow by what is put at their end. */
#ifndef BANGER_ARRAY_H
#define BANGER_ARRAY_H

#include <stddef.h>

/*
 * ITEMS (a pointer to the first, or NULL), of which COUNT are used and ROOM (a size_t variable) are allocated, gets room for one more. 0 or -ENOMEM, and is as it was.
 */
#define ARRAY_GROW(items, count, room)                                                                       \
	({                                                                                                   \
		void *array_items_ = (items);                                                                \
		int array_r_ = array_grow(&array_items_, (count), &(room), sizeof(*(items)));                \
		(items) = array_items_;                                                                      \
		array_r_;                                                                                    \
	})

int array_grow(void **items, size_t count, size_t *room, size_t size);

#endif
