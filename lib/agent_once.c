#include "banger/agent_once.h"

#include <string.h>

#include "banger/cleanup.h"

const struct once_answer *once_find(const struct once *o, const struct file_request *q)
{
	for (size_t i = 0; i < ELEMENTSOF(o->kept); i++) {
		const struct once_answer *a = &o->kept[i];

		if (a->order > 0 && a->token == q->token && a->type == q->type && a->sum == q->sum)
			return a;
	}
	return NULL;
}

const struct once_answer *once_keep(
	struct once *o, const struct file_request *q, uint16_t code, const void *data, size_t size)
{
	struct once_answer *a = &o->kept[o->last % ELEMENTSOF(o->kept)];

	if (size > sizeof(a->data))
		return NULL;
	*a = (struct once_answer){.order = ++o->last,
		.token = q->token,
		.sum = q->sum,
		.type = q->type,
		.code = code,
		.size = (uint32_t)size};
	memcpy(a->data, data, size);
	return a;
}

void once_adopt(struct once *o)
{
	o->last = 0;
	for (size_t i = 0; i < ELEMENTSOF(o->kept); i++) {
		struct once_answer *a = &o->kept[i];

		if (a->size > sizeof(a->data) || (a->order - 1) % ELEMENTSOF(o->kept) != i)
			*a = (struct once_answer){0};
		if (a->order > o->last)
			o->last = a->order;
	}
}
