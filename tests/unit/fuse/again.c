/* What an earlier daemon was asked and may have done is known as such, whether the kernel asks again or the file does. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "fuse/state.h"

#define RESENT   (1ull << 63)
#define OLD      36 /* of the protocol 7: Debian 12's kernel */
#define NEW      40
#define OF_TREE  ((struct tree *)&at)
#define OF_MOUNT ((struct fuse_session *)&at)

/* What was processed, and how it was taken. */
static struct {
	uint64_t unique[8], number[8];
	bool again[8];
	size_t count;
	struct server *server;
	int fd;
} at;

struct bench {
	char dir[32];
	int run_fd, kernel;
	struct server_config config;
};

const struct fuse_lowlevel_ops server_ops;
const struct vm_watch tree_vm_watch;

int tree_new(const struct tree_config *config, const struct tree_listener *listener, void *user,
	struct tree **ret, struct err *e)
{
	(void)config;
	(void)listener;
	(void)user;
	(void)e;
	*ret = OF_TREE;
	return 0;
}

struct tree *tree_free(struct tree *t)
{
	(void)t;
	return NULL;
}

void tree_set_vms(struct tree *t, struct vms *vms)
{
	(void)t;
	(void)vms;
}

void tree_stop(struct tree *t)
{
	(void)t;
}

void tree_log(struct tree *t, const char *fmt, ...)
{
	(void)t;
	(void)fmt;
}

int notify_start(struct server *s, struct err *e)
{
	(void)s;
	(void)e;
	return 0;
}

void notify_stop(struct server *s)
{
	(void)s;
}

void notify_names(struct server *s)
{
	(void)s;
}

void notify_stale(void *user, uint64_t node)
{
	(void)user;
	(void)node;
}

void notify_pollable(void *user, struct handle *h)
{
	(void)user;
	(void)h;
}

void files_free(struct server *s)
{
	(void)s;
}

void held_restore(struct server *s, bool adopted)
{
	(void)s;
	(void)adopted;
}

void requests_free(struct server *s)
{
	(void)s;
}

void request_release_held(struct server *s)
{
	(void)s;
}

int behinds_new(int run_fd, struct behinds **ret, struct err *e)
{
	(void)run_fd;
	(void)ret;
	(void)e;
	return 0;
}

void behinds_end(struct behinds *all)
{
	(void)all;
}

struct behinds *behinds_free(struct behinds *all)
{
	(void)all;
	return NULL;
}

void guest_cache_check(struct server *s, struct vm *vm)
{
	(void)s;
	(void)vm;
}

void guest_caches_adopt(struct server *s, struct vms *vms)
{
	(void)s;
	(void)vms;
}

void guest_cache_forget(struct server *s, uint32_t vm)
{
	(void)s;
	(void)vm;
}

void guest_caches_free(struct server *s)
{
	(void)s;
}

void early_begin(struct server *s)
{
	(void)s;
}

bool early_keep(struct server *s, const struct fuse_buf *buf, bool again)
{
	(void)s;
	(void)buf;
	(void)again;
	return false;
}

void early_end(struct server *s)
{
	(void)s;
}

struct fuse_session *fuse_session_new(
	struct fuse_args *args, const struct fuse_lowlevel_ops *op, size_t op_size, void *user)
{
	(void)args;
	(void)op;
	(void)op_size;
	at.server = user;
	return OF_MOUNT;
}

int fuse_session_custom_io(struct fuse_session *se, const struct fuse_custom_io *io, int fd)
{
	(void)se;
	(void)io;
	at.fd = fd;
	return 0;
}

int fuse_session_fd(struct fuse_session *se)
{
	(void)se;
	return at.fd;
}

void fuse_session_destroy(struct fuse_session *se)
{
	(void)se;
	at.fd = close_fd(at.fd);
}

int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buf)
{
	ssize_t n;

	(void)se;
	if (!buf->mem)
		buf->mem = malloc(4096);
	n = read(at.fd, buf->mem, 4096);
	buf->size = n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : (int)n;
}

void fuse_session_process_buf(struct fuse_session *se, const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;

	(void)se;
	if (in->opcode == FUSE_INIT)
		return;
	assert_true(at.count < ELEMENTSOF(at.unique));
	at.unique[at.count] = in->unique;
	at.number[at.count] = at.server->unique;
	at.again[at.count++] = at.server->again;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memset(&at, 0, sizeof(at));
	memcpy(b->dir, "/tmp/banger-again-XXXXXX", sizeof("/tmp/banger-again-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->run_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->config.run_fd = b->run_fd;
	b->kernel = -EBADF;
	assert_true(sd_event_new(&b->config.event) >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	sd_event_unref(b->config.event);
	unlinkat(b->run_fd, "asked", 0);
	unlinkat(b->run_fd, "fuse.init", 0);
	close_fd(b->kernel);
	close_fd(b->run_fd);
	rmdir(b->dir);
	free(b);
	return 0;
}

static void say(struct bench *b, const void *data, size_t n)
{
	assert_int_equal(write(b->kernel, data, n), n);
}

static void ask(struct bench *b, uint64_t unique)
{
	struct fuse_in_header in = {.len = sizeof(in), .opcode = FUSE_GETATTR, .unique = unique};

	say(b, &in, sizeof(in));
}

/* One more daemon, on the mount of the kernel MINOR or, MINOR 0, the one before's. */
static struct server *begin(struct bench *b, uint32_t minor)
{
	struct {
		struct fuse_in_header in;
		struct fuse_init_in init;
	} init = {.in = {.len = sizeof(init), .opcode = FUSE_INIT, .unique = 2},
		.init = {.major = 7, .minor = minor}};
	struct server *s;
	int pair[2];

	close_fd(b->kernel);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	b->kernel = pair[1];
	assert_int_equal(server_new(&b->config, &s, NULL), 0);
	assert_int_equal(server_start_fd(s, NULL, pair[0], minor == 0, NULL), 0);
	if (minor)
		say(b, &init, sizeof(init));
	at.count = 0;
	return s;
}

/* Until COUNT requests have been processed. */
static void look(struct bench *b, size_t count)
{
	for (int i = 0; i < 500 && at.count < count; i++)
		sd_event_run(b->config.event, 20000);
	assert_int_equal(at.count, count);
}

static void from_the_file(void **state)
{
	struct bench *b = *state;
	struct server *s = begin(b, OLD);

	ask(b, 4);
	ask(b, 6);
	look(b, 2);
	assert_false(at.again[0] || at.again[1]);
	server_free(s);
	s = begin(b, 0);
	ask(b, 8);
	look(b, 3);
	/* Before what is new, and under the number that the kernel waits for. */
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(at.unique[i], 4 + 2 * i);
	assert_true(at.again[0] && at.again[1]);
	assert_false(at.again[2]);
	server_free(s);
}

static void from_the_kernel(void **state)
{
	struct fuse_out_header resend;
	struct bench *b = *state;
	struct server *s = begin(b, NEW);

	ask(b, 4);
	look(b, 1);
	server_free(s);
	assert_int_equal(faccessat(b->run_fd, "asked", F_OK, 0), -1);
	s = begin(b, 0);
	assert_int_equal(read(b->kernel, &resend, sizeof(resend)), sizeof(resend));
	assert_int_equal(resend.unique, 0);
	ask(b, 4 | RESENT);
	ask(b, 6);
	look(b, 2);
	assert_true(at.again[0] && !at.again[1]);
	assert_int_equal(at.number[0], 4);
	server_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(from_the_file, setup, teardown),
		cmocka_unit_test_setup_teardown(from_the_kernel, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
