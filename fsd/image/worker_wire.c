#include <errno.h>

#include "banger/cleanup.h"
#include "image/source.h"
#include "image/worker_wire.h"

static const char *const stages[] = {NULL, IMAGE_STAGE_TAR, IMAGE_STAGE_LAYERS, IMAGE_STAGE_WRITE,
	IMAGE_STAGE_DIR, IMAGE_STAGE_CHECK, IMAGE_STAGE_MEMBERS, IMAGE_STAGE_PACK};

uint32_t wire_stage(const char *stage)
{
	for (uint32_t i = 1; i < ELEMENTSOF(stages); i++)
		if (strcmp(stages[i], stage) == 0)
			return i;
	return 0;
}

const char *wire_stage_name(uint32_t stage)
{
	return stage < ELEMENTSOF(stages) ? stages[stage] : NULL;
}

static int pack_text(const char *what, const char *from, char *ret, size_t size, struct err *e)
{
	size_t n = from ? strlen(from) : 0;

	if (n >= size)
		return err_set(e, -EINVAL, "a %s of %zu bytes: at most %zu are legal", what, n, size - 1);
	if (n > 0)
		memcpy(ret, from, n);
	ret[n] = '\0';
	return 0;
}

int wire_pack_request(const struct worker_request *from, struct wire_request *ret, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	ret->task = from->task;
	ret->input = from->task == WORKER_LAYERS ? -1 : from->input;
	ret->output = from->output;
	ret->base = from->task == WORKER_PACK_CHANGES ? from->base : -1;
	ret->layer_count = from->task == WORKER_LAYERS ? (uint32_t)from->layer_count : 0;
	ret->seeded = from->seed != NULL;
	return pack_text("seed", from->seed, ret->seed, sizeof(ret->seed), e);
}

void wire_unpack_request(
	const struct wire_request *from, const struct image_layer *layers, struct worker_request *ret)
{
	*ret = (struct worker_request){
		.task = from->task,
		.input = from->input,
		.output = from->output,
		.base = from->base,
		.layers = layers,
		.layer_count = from->layer_count,
		.seed = from->seeded ? from->seed : NULL,
	};
}

int wire_pack_layer(const struct image_layer *from, struct wire_layer *ret, struct err *e)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->fd = from->fd;
	ret->grow = from->grow;
	ret->size = from->size;
	ret->verified = from->verified;
	ret->window = from->window;
	r = pack_text("digest", from->digest, ret->digest, sizeof(ret->digest), e);
	return r == 0 ? pack_text("diff_id", from->diff_id, ret->diff_id, sizeof(ret->diff_id), e) : r;
}

void wire_unpack_layer(const struct wire_layer *from, struct image_layer *ret)
{
	*ret = (struct image_layer){
		.fd = from->fd,
		.grow = from->grow,
		.size = from->size,
		.verified = from->verified != 0,
		.window = from->window,
		.digest = *from->digest ? from->digest : NULL,
		.diff_id = *from->diff_id ? from->diff_id : NULL,
	};
}

/* Ends within SIZE bytes, and nothing in it moves a terminal. */
static bool check_text(char *text, size_t size)
{
	if (!memchr(text, '\0', size))
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
	return true;
}

int wire_check_report(struct wire_report *report, size_t n)
{
	if (n < WIRE_PROGRESS_SIZE || report->code > 0 || report->code < -4095)
		return -EBADMSG;
	if (report->kind == WIRE_PROGRESS)
		return n == WIRE_PROGRESS_SIZE ? 0 : -EBADMSG;
	if (report->kind != WIRE_RESULT || n != sizeof(*report))
		return -EBADMSG;
	return check_text(report->text, sizeof(report->text)) &&
			       check_text(report->result.digest, sizeof(report->result.digest)) &&
			       check_text(report->result.diff_id, sizeof(report->result.diff_id)) &&
			       check_text(report->result.arch, sizeof(report->result.arch))
		       ? 0
		       : -EBADMSG;
}
