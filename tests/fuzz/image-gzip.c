/* Both inflaters make the same of the same bytes, in pieces of any size, as far as both go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "image/inflate.h"

#define ROOM 65536

/* All members of DATA in pieces of PIECE. 0: well, 1: it ends within a member, <0: refused. */
static int inflate_all(
	enum inflate_by by, const uint8_t *data, size_t size, size_t piece, uint8_t *room, size_t *ret_n)
{
	_cleanup_(inflate_freep) struct inflate *f = NULL;
	_cleanup_err_ struct err e = {0};
	uint8_t *out = room;
	size_t left = ROOM, before_in, before_out;
	int r, state = 1;

	if (inflate_new(by, &f, &e) < 0)
		abort();
	do {
		size_t n = piece < size ? piece : size;

		before_in = size;
		before_out = left;
		size -= n;
		r = inflate_step(f, &data, &n, &out, &left, &e);
		size += n;
		if (r == 1)
			state = 0;
		else if (before_in != size)
			state = 1;
	} while (r >= 0 && left > 0 && (size != before_in || left != before_out) && !(r == 1 && size == 0));
	*ret_n = ROOM - left;
	return r < 0 ? r : state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t one[ROOM], two[ROOM];
	size_t n_one, n_two, piece;
	int r_one, r_two;

	if (size < 1)
		return 0;
	piece = data[0] ? data[0] * 16u : 1;
	r_one = inflate_all(INFLATE_FASTEST, data + 1, size - 1, piece, one, &n_one);
	r_two = inflate_all(INFLATE_ZLIB, data + 1, size - 1, piece, two, &n_two);
	if (memcmp(one, two, n_one < n_two ? n_one : n_two) != 0)
		abort();
	/* What is no header at all zlib sees sooner. */
	if (r_one == -EILSEQ || r_two == -EILSEQ)
		return 0;
	/* Where one is satisfied, so is the other, with as many bytes. */
	if (n_one < ROOM && n_two < ROOM && (r_one == 0 || r_two == 0) && (r_one != r_two || n_one != n_two))
		abort();
	return 0;
}
