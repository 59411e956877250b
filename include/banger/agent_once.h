/*
 * Answers to requests on files that are done once (AGENT_ONCE, banger/agent_proto.h), kept by whoever answers them: the last AGENT_ONCE_KEPT. Zeros
 * are one that keeps none.
 */
#ifndef BANGER_AGENT_ONCE_H
#define BANGER_AGENT_ONCE_H

#include "banger/agent_request.h"

struct once_answer {
	uint64_t order; /* the first one's is 1; 0: none */
	uint64_t token, sum;
	uint16_t type;
	uint16_t code; /* 0 or an errno */
	uint32_t size;
	uint8_t data[2 * sizeof(struct agent_attr)];
};

struct once {
	uint64_t last; /* order */
	struct once_answer kept[AGENT_ONCE_KEPT];
};

/* What Q was answered, when it came before; valid until the next once_keep(). NULL: it is to be done. */
const struct once_answer *once_find(const struct once *o, const struct file_request *q);
/* Q was answered CODE, 0 or an errno, and SIZE bytes of DATA. The one that is kept: O's; NULL: it is too large, and will be done again. */
const struct once_answer *once_keep(
	struct once *o, const struct file_request *q, uint16_t code, const void *data, size_t size);
/* KEPT came from elsewhere: what can't be is left out. */
void once_adopt(struct once *o);

#endif
