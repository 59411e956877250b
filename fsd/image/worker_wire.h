/*
 * What worker.c and its child say to each other over a SOCK_SEQPACKET pair, in messages of these structs (both are the same program). One
 * request, a message for each layer, then reports until one is the result. What the child says is as hostile as what it reads.
 */
#ifndef BANGER_IMAGE_WORKER_WIRE_H
#define BANGER_IMAGE_WORKER_WIRE_H

#include <stddef.h>

#include "image/worker.h"

#define WIRE_DIGEST 136 /* "sha512:" and 128 digits */
#define WIRE_SEED   1024
#define WIRE_TEXT   8192

struct wire_request {
	uint32_t task, layer_count;
	int32_t input, output, base;
	uint32_t seeded;
	char seed[WIRE_SEED];
};

struct wire_layer {
	int32_t fd, grow;
	uint32_t verified;
	uint64_t size;
	uint32_t window;
	char digest[WIRE_DIGEST], diff_id[WIRE_DIGEST]; /* "": none */
};

enum wire_kind {
	WIRE_PROGRESS = 1, /* only as far as WIRE_PROGRESS_SIZE */
	WIRE_RESULT,
};

struct wire_report {
	uint32_t kind;
	int32_t code;   /* of the result: 0 or negative */
	uint32_t stage; /* wire_stage() */
	uint64_t done, total;
	struct image_result result;
	char text[WIRE_TEXT]; /* of the error */
};
#define WIRE_PROGRESS_SIZE offsetof(struct wire_report, result)

/* -EINVAL: what no message holds. */
int wire_pack_request(const struct worker_request *from, struct wire_request *ret, struct err *e);
int wire_pack_layer(const struct image_layer *from, struct wire_layer *ret, struct err *e);
/* LAYERS of FROM's count, already unpacked; RET points into FROM. */
void wire_unpack_request(
	const struct wire_request *from, const struct image_layer *layers, struct worker_request *ret);
void wire_unpack_layer(const struct wire_layer *from, struct image_layer *ret);

/* A stage as a number, 0 for one that isn't known; and back to the constant: NULL for 0 and what is no number of a stage. */
uint32_t wire_stage(const char *stage);
const char *wire_stage_name(uint32_t stage);

/* A report of N bytes as it came: every string in it ends and can be shown, its numbers are in range. -EBADMSG: it is none. */
int wire_check_report(struct wire_report *report, size_t n);

#endif
