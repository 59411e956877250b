#include "offline/child.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#include "banger/io.h"
#include "banger/parse.h"
#include "image/sandbox.h"
#include "image/spawn.h"
#include "offline/serving.h"

#define DISK_MAX    (16ull << 40) /* image/disk.c */
#define SETTLE_MSEC 1000
#define CPU_SECONDS                                                                                          \
	20 /* for what is asked within a second: whoever needs more reads a disk that was made for that */

int offline_spawn(int sock, const struct offline_disks *disks, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	int fds[] = {sock, disks->work, disks->over, disks->image, disks->answers};
	char text[ELEMENTSOF(fds)][16];
	char *argv[] = {(char *)"banger-files", (char *)OFFLINE_ARGUMENT, text[0], text[1], text[2], text[3],
		text[4], NULL};

	for (size_t i = 0; i < ELEMENTSOF(fds); i++)
		snprintf(text[i], sizeof(text[i]), "%d", fds[i] < 0 ? 0 : fds[i]);
	return spawn_self(argv, fds, ELEMENTSOF(fds), true, ret_pid, ret_pidfd, e);
}

struct child {
	int sock;
	struct serving serving;
	struct agent_header header;
	uint8_t payload[AGENT_PAYLOAD_MAX];
};

/* The kernel's own limit, moved on: a request that never ends is the child's end, and the next one is a new child's. */
static void bound_time(void)
{
	static time_t last = -1;
	struct rlimit limit;
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	if (t.tv_sec == last || getrlimit(RLIMIT_CPU, &limit) < 0)
		return;
	last = t.tv_sec;
	limit.rlim_cur = (rlim_t)t.tv_sec + CPU_SECONDS;
	setrlimit(RLIMIT_CPU, &limit);
}

static int answer(struct child *c)
{
	size_t n = 0;
	int r;
	struct agent_header h = {.type = AGENT_REPLY, .id = c->header.id};

	bound_time();
	r = serving_do(&c->serving, &c->header, c->payload, &n);
	h.code = (uint16_t)-r;
	h.length = r == 0 ? (uint32_t)n : 0;
	r = io_write_full(c->sock, &h, sizeof(h));
	return r == 0 && h.length > 0 ? io_write_full(c->sock, c->serving.answer, h.length) : r;
}

/* Until something is asked; meanwhile the disk is made clean. False: the other end has gone. */
static bool await(struct child *c)
{
	struct pollfd p = {.fd = c->sock, .events = POLLIN};
	bool settled = false;
	int n;

	for (;;) {
		n = poll(&p, 1, settled ? -1 : SETTLE_MSEC);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		/* What goes wrong is told by whoever syncs, and by e2fsck. */
		if (n == 0)
			serving_settle(&c->serving);
		settled = n == 0;
	}
}

static int serve(struct child *c)
{
	int r = 0;

	while (r == 0 && await(c)) {
		r = io_read_full(c->sock, &c->header, sizeof(c->header));
		if (r == 0 && c->header.length > sizeof(c->payload))
			r = -EPROTO;
		if (r == 0)
			r = io_read_full(c->sock, c->payload, c->header.length);
		if (r == 0)
			r = answer(c);
	}
	/* What is open is so on the host, and its next reader finds it by number; without a name it is gone. */
	serving_unpin_all(&c->serving);
	return serving_settle(&c->serving);
}

static int open_work(int fd, struct volume **ret)
{
	int r = volume_open(fd, 0, true, ret);

	return r == -EROFS ? volume_open(fd, 0, false, ret) : r;
}

/* Without them there is no root/. */
static void open_root(struct serving *s, int over, int image)
{
	struct file root, upper;

	if (over < 0 || image < 0 || volume_open(over, SERVING_OVER, false, &s->over) < 0)
		return;
	if (volume_open(image, SERVING_IMAGE, false, &s->image) < 0 ||
		file_load(s->over, EXT2_ROOT_INO, &root) < 0 || dir_find(&root, "upper", &s->upper) < 0 ||
		file_load(s->over, s->upper, &upper) < 0) {
		s->over = volume_close(s->over);
		s->image = volume_close(s->image);
	}
}

static int number(const char *text)
{
	uint64_t v;

	return parse_u64(text, 0, INT_MAX, &v) < 0 || v <= 2 ? -1 : (int)v;
}

int offline_main(int argc, char **argv)
{
	static struct child c;
	int fds[5], top = 2, r;

	if (argc != 2 + (int)ELEMENTSOF(fds) || (c.sock = number(argv[2])) < 0) {
		fprintf(stderr, OFFLINE_ARGUMENT ": only for banger-fsd itself\n");
		_exit(2);
	}
	for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
		fds[i] = number(argv[2 + i]);
		top = fds[i] > top ? fds[i] : top;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* Told to all of a unit at its end: that of the socket is what counts. */
	signal(SIGTERM, SIG_IGN);
	prctl(PR_SET_NAME, "files-worker");
	/* Each disk is open once more (volume_open()). */
	if (sandbox_enter(DISK_MAX, (unsigned)top + 1 + ELEMENTSOF(fds), -1, NULL) < 0)
		_exit(1);
	r = open_work(fds[1], &c.serving.work);
	if (r == 0) {
		open_root(&c.serving, fds[2], fds[3]);
		if (fds[4] >= 0)
			serving_adopt(&c.serving, fds[4]);
		r = serve(&c);
	}
	_exit(-r);
}
