#include "banger/agent_input.h"

#include <string.h>

void input_bytes(struct input *in, void *to, size_t n)
{
	if (in->left < n) {
		in->bad = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

uint32_t input_u32(struct input *in)
{
	uint32_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

uint64_t input_u64(struct input *in)
{
	uint64_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

void input_text(struct input *in, char *to, size_t size)
{
	uint16_t n;

	input_bytes(in, &n, sizeof(n));
	to[0] = '\0';
	if (n == 0 || n >= size || n > in->left || memchr(in->at, '\0', n)) {
		in->bad = true;
		return;
	}
	input_bytes(in, to, n);
	to[n] = '\0';
}

void input_name(struct input *in, char to[INPUT_NAME_SIZE])
{
	input_text(in, to, INPUT_NAME_SIZE);
	if (strchr(to, '/') || strcmp(to, ".") == 0 || strcmp(to, "..") == 0)
		in->bad = true;
}
