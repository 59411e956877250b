#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/stream_state.h"

/* Takes what the pipe has to say; it is readable. */
static int hear(struct stream *s)
{
	uint64_t said[64];
	ssize_t n = read(s->in.grow, said, sizeof(said));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_sys(&s->read_err, -errno, "waiting for its download");
	/* What is written to a pipe in one piece of eight bytes is read in pieces of eight. */
	if (n == 0 || n % (ssize_t)sizeof(said[0]) != 0)
		return err_set(&s->read_err, -EIO, "its download failed");
	for (size_t i = 0; i < (size_t)n / sizeof(said[0]) && !s->whole; i++) {
		s->whole = s->heard && said[i] == s->announced;
		s->heard = true;
		/* It may be less than before: a download that had to start over. */
		s->announced = said[i];
	}
	return 0;
}

/* Until there is more than was read, or the file is whole. -ECANCELED, and no error for anybody: nobody wants it any more. */
static int wait_for_more(struct stream *s)
{
	/* At first as much as tells what it is. */
	const uint64_t want = s->at + (s->read == 0 ? MAGIC_MAX : 1);

	while (s->announced < want && !s->whole) {
		struct pollfd p[] = {{.fd = s->in.grow, .events = POLLIN}, {.fd = s->wake, .events = POLLIN},
			{.fd = op_cancel_fd(s->op), .events = POLLIN}};
		int r;

		if (poll(p, ELEMENTSOF(p), -1) < 0 && errno != EINTR)
			return err_sys(&s->read_err, -errno, "waiting for its download");
		r = op_check(s->op, &s->read_err);
		if (r == 0 && p[1].revents)
			return -ECANCELED;
		if (r == 0 && p[0].revents)
			r = hear(s);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Fills a block as far as the file goes, or as far as it has grown: 0 at its end. */
static ssize_t read_block(struct stream *s, uint8_t *block)
{
	size_t have = 0, want = QUEUE_BLOCK;
	ssize_t n;
	int r;

	if (s->in.grow >= 0) {
		r = wait_for_more(s);
		if (r < 0 || s->announced <= s->at)
			return r;
		want = s->announced - s->at < QUEUE_BLOCK ? (size_t)(s->announced - s->at) : QUEUE_BLOCK;
	}
	if (s->in.window && s->in.size - s->read < want)
		want = (size_t)(s->in.size - s->read);
	while (have < want) {
		n = read(s->in.fd, block + have, want - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(&s->read_err, -errno, "reading");
		if (n == 0)
			break;
		have += (size_t)n;
	}
	if (s->in.grow >= 0 && have < want)
		return err_set(&s->read_err, -EIO, "its file is shorter than its download says");
	s->at += have;
	return (ssize_t)have;
}

/* N more bytes, 0: the end. */
static int check_size(struct stream *s, size_t n)
{
	if (s->in.size == 0)
		return 0;
	if (s->read + n > s->in.size)
		return err_set(&s->read_err, -EBADMSG, "it has more than the %llu bytes that were promised",
			(unsigned long long)s->in.size);
	if (n == 0 && s->read < s->in.size)
		return err_set(&s->read_err, -EBADMSG, "it has %llu bytes, but %llu were promised",
			(unsigned long long)s->read, (unsigned long long)s->in.size);
	return 0;
}

static void tell_progress(struct stream *s, uint64_t more)
{
	struct stream_group *g = s->in.group;

	if (g)
		op_progress(s->op, atomic_fetch_add(&g->read, more) + more, g->size);
	else
		op_progress(s->op, s->read, s->size);
}

static void *read_thread(void *arg)
{
	struct stream *s = arg;
	uint8_t *block;
	ssize_t n = 0;

	while ((block = queue_room(s->packed))) {
		if (op_check(s->op, &s->read_err) < 0)
			break;
		n = read_block(s, block);
		if (n < 0 || check_size(s, (size_t)n) < 0 || n == 0)
			break;
		if (s->hash)
			EVP_DigestUpdate(s->hash, block, (size_t)n);
		s->read += (uint64_t)n;
		tell_progress(s, (uint64_t)n);
		queue_put(s->packed, (size_t)n);
	}
	if (s->hash)
		EVP_DigestFinal_ex(s->hash, s->sum, NULL);
	queue_end(s->packed);
	return NULL;
}

void stream_leave_packed(struct stream *s)
{
	queue_leave(s->packed);
	if (s->wake >= 0)
		eventfd_write(s->wake, 1);
}

static EVP_MD_CTX *sha256_new(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1)
		return c;
	EVP_MD_CTX_free(c);
	return NULL;
}

int stream_open(const struct stream_input *input, struct op *op, enum stream_hash hash, struct stream **ret,
	struct err *e)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct stat st;
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "image");
	s->in = *input;
	s->wake = -EBADF;
	s->op = op;
	if (!(s->packed = queue_new()) || !(s->plain = queue_new()) ||
		((hash == STREAM_HASH_PACKED || hash == STREAM_HASH_BOTH) && !(s->hash = sha256_new())) ||
		((hash == STREAM_HASH_PLAIN || hash == STREAM_HASH_BOTH) &&
			!(s->plain_hash = sha256_new()))) {
		stream_free(s);
		return err_sys(e, -ENOMEM, "image");
	}
	if (input->grow >= 0 && (s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
		r = err_sys(e, -errno, "image");
		stream_free(s);
		return r;
	}
	s->size = input->size;
	if (fstat(input->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		off_t at = lseek(input->fd, 0, SEEK_CUR);

		s->at = at > 0 ? (uint64_t)at : 0;
		if (s->size == 0 && input->grow < 0)
			s->size = (uint64_t)st.st_size;
		posix_fadvise(input->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	r = -pthread_create(&s->reader, NULL, read_thread, s);
	s->reading = r == 0;
	if (r == 0) {
		r = -pthread_create(&s->unpacker, NULL, stream_unpack_thread, s);
		s->unpacking = r == 0;
	}
	if (r < 0) {
		stream_free(s);
		return err_sys(e, r, "image");
	}
	*ret = s;
	return 0;
}

void stream_stop(struct stream *s)
{
	stream_leave_packed(s);
}

struct stream *stream_free(struct stream *s)
{
	if (!s)
		return NULL;
	if (s->reading) {
		stream_leave_packed(s);
		pthread_join(s->reader, NULL);
	}
	if (s->unpacking) {
		queue_leave(s->plain);
		pthread_join(s->unpacker, NULL);
	}
	queue_free(s->packed);
	queue_free(s->plain);
	EVP_MD_CTX_free(s->hash);
	EVP_MD_CTX_free(s->plain_hash);
	close_fd(s->wake);
	err_clear(&s->read_err);
	err_clear(&s->unpack_err);
	free(s);
	return NULL;
}

ssize_t stream_next(struct stream *s, const void **ret, struct err *e)
{
	size_t n;
	const uint8_t *data = queue_take(s->plain, &n);

	if (data) {
		if (s->plain_hash)
			EVP_DigestUpdate(s->plain_hash, data, n);
		*ret = data;
		return (ssize_t)n;
	}
	/* That it could not be read is the reason; that it looks cut off only follows. */
	if (s->read_err.code)
		return err_copy(e, &s->read_err);
	if (s->unpack_err.code)
		return err_copy(e, &s->unpack_err);
	if (s->plain_hash && !s->plain_done) {
		EVP_DigestFinal_ex(s->plain_hash, s->plain_sum, NULL);
		s->plain_done = true;
	}
	return 0;
}

void stream_digest(const struct stream *s, unsigned char ret[32])
{
	memcpy(ret, s->sum, 32);
}

void stream_plain_digest(const struct stream *s, unsigned char ret[32])
{
	memcpy(ret, s->plain_sum, 32);
}
