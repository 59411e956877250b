/*
 * A request's payload (banger/agent_proto.h), taken apart from the front. What came is hostile: the first read of more than there is sets BAD, and
 * zeros come from then on.
 */
#ifndef BANGER_AGENT_INPUT_H
#define BANGER_AGENT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INPUT_NAME_SIZE 256 /* of a component of a path, with its NUL */

struct input {
	const uint8_t *at;
	size_t left;
	bool bad;
};

void input_bytes(struct input *in, void *to, size_t n);
uint32_t input_u32(struct input *in);
uint64_t input_u64(struct input *in);
/* Length and bytes, to a string with a NUL. */
void input_text(struct input *in, char *to, size_t size);
/* One component of a path. */
void input_name(struct input *in, char to[INPUT_NAME_SIZE]);

#endif
