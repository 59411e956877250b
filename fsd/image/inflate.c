#include <dlfcn.h>
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "image/inflate.h"

#define GZIP_WINDOW                                                                                          \
	(15 + 16) /* zlib.h, inflateInit2: the largest window; gzip's header and trailer, the checksum verified */
#define STEP_MAX (1u << 30) /* both libraries count in 32 bits */

struct inflate {
	enum inflate_by by;
	bool by_isal;
	/*
	 * Of ISA-L's members too: it reads the header. ISA-L (2.30) forgets a header's flags where it comes in pieces, and goes on with what
	 * stands on its stack.
	 */
	z_stream z;
	gz_header header;
	bool in_body; /* ISA-L's turn */
	union {
		struct inflate_state isal;
		ZSTD_DStream *zstd;
	};
};

static struct {
	void (*init)(struct inflate_state *s);
	void (*reset)(struct inflate_state *s);
	int (*run)(struct inflate_state *s);
} isal;

/* By hand, so that banger runs where the library isn't. */
static void load_isal(void)
{
	void *lib = dlopen("libisal.so.2", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return;
	*(void **)&isal.init = dlsym(lib, "isal_inflate_init");
	*(void **)&isal.reset = dlsym(lib, "isal_inflate_reset");
	*(void **)&isal.run = dlsym(lib, "isal_inflate");
}

static bool have_isal(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_isal);
	return isal.init && isal.reset && isal.run;
}

int inflate_new(enum inflate_by by, struct inflate **ret, struct err *e)
{
	struct inflate *f = calloc(1, sizeof(*f));

	if (!f)
		return err_sys(e, -ENOMEM, "unpacking");
	f->by = by;
	f->by_isal = by == INFLATE_FASTEST && have_isal();
	if (by == INFLATE_ZSTD) {
		if (!(f->zstd = ZSTD_createDStream())) {
			free(f);
			return err_sys(e, -ENOMEM, "unpacking");
		}
	} else if (inflateInit2(&f->z, GZIP_WINDOW) != Z_OK) {
		free(f);
		return err_sys(e, -ENOMEM, "unpacking");
	} else if (f->by_isal) {
		isal.init(&f->isal);
		f->isal.crc_flag = ISAL_GZIP_NO_HDR_VER;
		inflateGetHeader(&f->z, &f->header);
	}
	*ret = f;
	return 0;
}

struct inflate *inflate_free(struct inflate *f)
{
	if (f && f->by == INFLATE_ZSTD)
		ZSTD_freeDStream(f->zstd);
	else if (f)
		inflateEnd(&f->z);
	free(f);
	return NULL;
}

void inflate_unverified(struct inflate *f)
{
	/* A tenth of zlib's time; ISA-L's sum costs nearly nothing. */
	if (f->by != INFLATE_ZSTD && !f->by_isal)
		inflateValidate(&f->z, 0);
}

static int zlib_error(const struct inflate *f, int r, struct err *e)
{
	const char *why = f->z.msg ? f->z.msg : "not gzip";

	if (r == Z_MEM_ERROR)
		return err_sys(e, -ENOMEM, "unpacking");
	if (strcmp(why, "unknown header flags set") == 0)
		return err_set(e, -EBADMSG, "the archive is of a kind of gzip that nobody has defined yet");
	/* Its header may have come in pieces. */
	if (f->z.total_out == 0 && (strstr(why, "header") || strstr(why, "unknown compression method")))
		return err_set(e, -EILSEQ, "not gzip");
	return err_set(e, -EBADMSG, "the archive is damaged: %s", why);
}

/* Of ISA-L's member; nothing is written, for zlib stops before the first block. */
static int step_header(struct inflate *f, struct err *e)
{
	int r = inflate(&f->z, Z_BLOCK);

	if (r != Z_OK && r != Z_BUF_ERROR)
		return zlib_error(f, r, e);
	f->in_body = f->header.done == 1;
	return 0;
}

static int step_isal(struct inflate *f, struct err *e)
{
	int r = isal.run(&f->isal);

	if (r < 0)
		return err_set(e, -EBADMSG, "the archive is damaged: %s",
			r == ISAL_INCORRECT_CHECKSUM ? "incorrect data check" : "invalid deflate data");
	if (f->isal.block_state != ISAL_BLOCK_FINISH)
		return 0;
	isal.reset(&f->isal);
	f->in_body = false;
	inflateReset(&f->z);
	inflateGetHeader(&f->z, &f->header);
	return 1;
}

static int step_zlib(struct inflate *f, struct err *e)
{
	int r = inflate(&f->z, Z_NO_FLUSH);

	if (r == Z_OK || r == Z_BUF_ERROR)
		return 0;
	if (r != Z_STREAM_END)
		return zlib_error(f, r, e);
	inflateReset(&f->z);
	return 1;
}

static int step_zstd(
	struct inflate *f, const uint8_t **in, size_t *n_in, uint8_t **out, size_t *n_out, struct err *e)
{
	ZSTD_inBuffer from = {*in, *n_in, 0};
	ZSTD_outBuffer to = {*out, *n_out, 0};
	size_t r = ZSTD_decompressStream(f->zstd, &to, &from);

	if (from.pos > 0)
		*in += from.pos;
	*n_in -= from.pos;
	*out += to.pos;
	*n_out -= to.pos;
	if (!ZSTD_isError(r))
		return r == 0;
	if (ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation)
		return err_sys(e, -ENOMEM, "unpacking");
	if (ZSTD_getErrorCode(r) == ZSTD_error_prefix_unknown)
		return err_set(e, -EILSEQ, "not zstd");
	return err_set(e, -EBADMSG, "the archive is damaged: %s", ZSTD_getErrorName(r));
}

int inflate_step(
	struct inflate *f, const uint8_t **in, size_t *n_in, uint8_t **out, size_t *n_out, struct err *e)
{
	unsigned give = (unsigned)(*n_in < STEP_MAX ? *n_in : STEP_MAX),
		 room = (unsigned)(*n_out < STEP_MAX ? *n_out : STEP_MAX), left, free_room;
	int r;

	if (f->by == INFLATE_ZSTD)
		return step_zstd(f, in, n_in, out, n_out, e);
	if (f->in_body) {
		f->isal.next_in = (uint8_t *)*in;
		f->isal.avail_in = give;
		f->isal.next_out = *out;
		f->isal.avail_out = room;
		r = step_isal(f, e);
		left = f->isal.avail_in;
		free_room = f->isal.avail_out;
	} else {
		f->z.next_in = (uint8_t *)*in;
		f->z.avail_in = give;
		f->z.next_out = *out;
		f->z.avail_out = room;
		r = f->by_isal ? step_header(f, e) : step_zlib(f, e);
		left = f->z.avail_in;
		free_room = f->z.avail_out;
	}
	/* At the end of what there is, IN is NULL: nothing may be added to that. */
	if (give > left)
		*in += give - left;
	*n_in -= give - left;
	*out += room - free_room;
	*n_out -= room - free_room;
	return r;
}
