#include <errno.h>
#include <iconv.h>
#include <limits.h>
#include <locale.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "image/inflate.h"
#include "image/members.h"
#include "image/pack.h"
#include "image/sandbox.h"
#include "image/source.h"
#include "image/worker.h"
#include "image/worker_wire.h"

#define REPORT_MSEC 100
#define ARENAS_MAX                                                                                           \
	4 /* of malloc(): each takes 64 MiB of the address space at once, and there would be one a thread */

/* What the parent asked for, as long as the process lives. */
struct task {
	int sock;
	struct worker_request request;
	struct wire_request message;
	struct wire_layer wire[LAYERS_MAX];
	struct image_layer layers[LAYERS_MAX];
	struct ops *ops;
	struct op *op;
};

static int receive(int sock, void *message, size_t n)
{
	ssize_t k;

	do
		k = recv(sock, message, n, MSG_TRUNC);
	while (k < 0 && errno == EINTR);
	return k < 0 ? -errno : (size_t)k == n ? 0 : -EBADMSG;
}

static int receive_request(struct task *t)
{
	int r = receive(t->sock, &t->message, sizeof(t->message));

	if (r == 0 && t->message.layer_count > LAYERS_MAX)
		r = -EBADMSG;
	for (uint32_t i = 0; r == 0 && i < t->message.layer_count; i++) {
		r = receive(t->sock, &t->wire[i], sizeof(t->wire[i]));
		if (r == 0)
			wire_unpack_layer(&t->wire[i], &t->layers[i]);
	}
	if (r == 0)
		wire_unpack_request(&t->message, t->layers, &t->request);
	return r;
}

/* What libraries open at their first use, and then no more: ISA-L, OpenSSL's configuration, the locale, the table of character sets. */
static void warm_up(void)
{
	/* It stays loaded for tar.c's own. */
	static locale_t utf8;
	unsigned char sum[EVP_MAX_MD_SIZE];
	struct inflate *f = NULL;
	iconv_t conv;

	if (inflate_new(INFLATE_FASTEST, &f, NULL) == 0)
		inflate_free(f);
	EVP_Digest("", 0, sum, NULL, EVP_sha256(), NULL);
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	(void)utf8;
	conv = iconv_open("UTF-8", "UTF-8");
	if (conv != (iconv_t)-1)
		iconv_close(conv);
}

/* The first number that no descriptor of the request has, and some for what is opened on the way. */
static unsigned fds_wanted(const struct task *t)
{
	int last = t->sock;

	last = last > t->request.input ? last : t->request.input;
	last = last > t->request.output ? last : t->request.output;
	last = last > t->request.base ? last : t->request.base;
	for (size_t i = 0; i < t->request.layer_count; i++) {
		last = last > t->layers[i].fd ? last : t->layers[i].fd;
		last = last > t->layers[i].grow ? last : t->layers[i].grow;
	}
	/* Two for each folder that it is in. */
	return (unsigned)last + 16 + (t->request.task == WORKER_DIR ? 2 * (TREE_DEPTH_MAX + 2) : 0);
}

/* A message is whole or not at all: threads don't disturb each other. */
static void tell(const struct task *t, const struct wire_report *report, size_t n)
{
	ssize_t k;

	do
		k = write(t->sock, report, n);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		_exit(1);
}

static void *report_thread(void *arg)
{
	struct wire_report now = {.kind = WIRE_PROGRESS}, told = {0};
	struct op_view view;
	struct task *t = arg;

	for (;;) {
		/* Nothing else looks at the set of operations while it lasts. */
		if (ops_next(t->ops, 0, &view)) {
			now.stage = wire_stage(view.stage);
			now.done = view.done;
			now.total = view.total;
			if (memcmp(&now, &told, WIRE_PROGRESS_SIZE) != 0)
				tell(t, &now, WIRE_PROGRESS_SIZE);
			memcpy(&told, &now, WIRE_PROGRESS_SIZE);
		}
		poll(NULL, 0, REPORT_MSEC);
	}
	return NULL;
}

static int make(struct task *t, struct image_result *ret, struct err *e)
{
	const struct worker_request *q = &t->request;

	if (q->task == WORKER_TAR)
		return image_from_tar(q->input, q->output, q->seed, t->op, ret, e);
	if (q->task == WORKER_EXT4)
		return image_check_ext4(q->output, t->op, ret, e);
	if (q->task == WORKER_DIR)
		return image_from_dir(q->input, q->output, q->seed, t->op, ret, e);
	if (q->task == WORKER_LAYERS)
		return image_from_layers(q->layers, q->layer_count, q->output, q->seed, t->op, ret, e);
	if (q->task == WORKER_MEMBERS)
		return members_unpack(q->input, q->output, t->op, ret, e);
	if (q->task == WORKER_PACK_WHOLE || q->task == WORKER_PACK_UPPER)
		return layer_from_ext4(q->input, q->task == WORKER_PACK_UPPER ? PACK_UPPER : PACK_WHOLE,
			q->output, t->op, ret, e);
	if (q->task == WORKER_PACK_CHANGES)
		return layer_from_changes(q->input, q->base, q->output, t->op, ret, e);
	if (q->task == WORKER_JOURNAL)
		return disk_add_journal(q->output, t->op, ret, e);
	return err_set(e, -EINVAL, "a task that no worker has");
}

static int run(struct task *t, struct image_result *ret, struct err *e)
{
	pthread_t reporter;
	int r = ops_new(1, &t->ops, e);

	if (r == 0)
		r = op_begin(t->ops, "image", "", &t->op, e);
	if (r == 0)
		r = sandbox_enter(SOURCE_SIZE_MAX, fds_wanted(t),
			t->request.task == WORKER_DIR ? t->request.input : -1, e);
	if (r == 0 && (r = -pthread_create(&reporter, NULL, report_thread, t)) < 0)
		err_sys(e, r, "image");
	return r == 0 ? make(t, ret, e) : r;
}

int worker_main(int argc, char **argv)
{
	static struct wire_report report = {.kind = WIRE_RESULT};
	static struct task t;
	_cleanup_err_ struct err e = {0};
	uint64_t sock;

	if (argc != 3 || parse_u64(argv[2], 3, INT_MAX, &sock) < 0) {
		fprintf(stderr, WORKER_ARGUMENT ": only for banger-fsd itself\n");
		_exit(2);
	}
	t.sock = (int)sock;
	/* Errors instead, where they are. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	prctl(PR_SET_NAME, "image-worker");
	mallopt(M_ARENA_MAX, ARENAS_MAX);
	if (receive_request(&t) < 0)
		_exit(1);
	warm_up();
	report.code = run(&t, &report.result, &e);
	/* What a thread that has no room for its stack is told. */
	if (report.code == -EAGAIN)
		report.code = -ENOMEM;
	if (report.code < 0)
		snprintf(report.text, sizeof(report.text), "%s", err_text(&e));
	tell(&t, &report, sizeof(report));
	/* Not by way of exit(): the reporter is at work. */
	_exit(0);
}
