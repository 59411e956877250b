#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "listeners.h"
#include "ports.h"
#include "probe.h"

#define ANSWER_MSEC    300 /* an answer waits so long for what listeners say */
#define PROBE_MSEC     3000
#define CHILD_SECONDS  10 /* then it is ended */
#define ASKED_MAX      32
#define WATCH_MSEC_MIN 200

/* What a child says, once or twice: this, and as many bytes of records. */
struct saying {
	uint32_t size;
	uint32_t more; /* it goes on asking: there is a second one to come */
};

struct child {
	int fd; /* -EBADF: there is none */
	uint8_t *data;
	size_t have;
};

/* [0] answers; [1] has answered, and goes on asking listeners. */
static struct child children[2] = {{.fd = -EBADF}, {.fd = -EBADF}};

static struct {
	uint32_t id;
	bool begun; /* after it had asked */
} asked[ASKED_MAX];
static size_t asked_count;

static struct known {
	uint64_t socket;
	uint16_t port;
	uint8_t speaks;
} known[AGENT_PORTS_MAX];
static size_t known_count;

static struct {
	uint64_t every, next; /* usec; 0: nobody watches */
	uint64_t sum;         /* of what listened at the last look */
} watch;

static void reply(struct channel *c, uint32_t id, int code, const void *data, size_t n)
{
	channel_send(c, AGENT_REPLY, (uint16_t)-code, id, data, n, NULL, 0);
}

/* What the records take at most is less than a payload. */
_Static_assert(
	AGENT_PORTS_MAX *(sizeof(struct agent_port) + LISTENER_COMM + LISTENER_COMMAND) <= AGENT_PAYLOAD_MAX,
	"all listeners in one answer");

static int pack(const struct listener *l, size_t n, uint8_t **ret, size_t *ret_size)
{
	uint8_t *data = malloc(n * (sizeof(struct agent_port) + LISTENER_COMM + LISTENER_COMMAND) + 1);
	size_t at = 0;

	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct agent_port p = l[i].port;

		p.comm_length = (uint8_t)strlen(l[i].comm);
		p.command_length = (uint16_t)strlen(l[i].command);
		memcpy(data + at, &p, sizeof(p));
		at += sizeof(p);
		memcpy(data + at, l[i].comm, p.comm_length);
		at += p.comm_length;
		memcpy(data + at, l[i].command, p.command_length);
		at += p.command_length;
	}
	*ret = data;
	*ret_size = at;
	return 0;
}

static struct known *find_known(uint64_t socket, uint16_t port)
{
	for (size_t i = 0; i < known_count; i++)
		if (known[i].socket == socket && known[i].port == port)
			return &known[i];
	return NULL;
}

static void apply_known(struct listener *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct known *k = find_known(l[i].port.socket, l[i].port.port);

		if (k)
			l[i].port.speaks = k->speaks;
	}
}

static bool say(int fd, const struct listener *l, size_t n, bool more)
{
	_cleanup_free_ uint8_t *data = NULL;
	struct saying head = {.more = more};
	size_t size = 0;

	if (pack(l, n, &data, &size) < 0)
		return false;
	head.size = (uint32_t)size;
	return io_write_full(fd, &head, sizeof(head)) == 0 && io_write_full(fd, data, size) == 0;
}

/* ASK: listeners that are not known yet. */
static void child_run(int fd, bool ask)
{
	struct listener *l = NULL;
	struct probe *p = NULL;
	size_t n = 0, left = 0;
	sigset_t none;

	sigemptyset(&none);
	/* What it holds of the jobs' pipes would keep them from their end; without the call, for as long as it lives. */
	if (fd != 3) {
		dup2(fd, 3);
		fd = 3;
	}
	syscall(SYS_close_range, 4u, ~0u, 0u);
	/* The agent reads its signals; who only looks ends by them. */
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(CHILD_SECONDS);
	if (listeners_read(true, &l, &n) < 0)
		_exit(1);
	listeners_find_owners(l, n);
	apply_known(l, n);
	p = ask ? probe_new(l, n, &left) : NULL;
	if (p)
		left = probe_run(p, ANSWER_MSEC);
	if (!say(fd, l, n, left > 0) || left == 0)
		_exit(0);
	left = probe_run(p, PROBE_MSEC);
	/* Who says nothing for so long speaks something else. */
	for (size_t i = 0; i < n; i++)
		if (l[i].port.protocol == IPPROTO_TCP && l[i].port.speaks == AGENT_SPEAKS_UNKNOWN)
			l[i].port.speaks = AGENT_SPEAKS_OTHER;
	say(fd, l, n, false);
	_exit(0);
}

static void answer_begun(struct channel *c, int code, const void *data, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < asked_count; i++)
		if (asked[i].begun)
			reply(c, asked[i].id, code, data, n);
		else
			asked[kept++] = asked[i];
	asked_count = kept;
}

static void begin(struct channel *c)
{
	int fds[2];
	pid_t pid;

	for (size_t i = 0; i < asked_count; i++)
		asked[i].begun = true;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		answer_begun(c, -errno, NULL, 0);
		return;
	}
	pid = fork();
	if (pid == 0)
		child_run(fds[1], children[1].fd < 0);
	close_fd(fds[1]);
	if (pid < 0) {
		close_fd(fds[0]);
		answer_begun(c, -EAGAIN, NULL, 0);
		return;
	}
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	children[0] = (struct child){.fd = fds[0]};
}

static void answer_tcp(struct channel *c, uint32_t id)
{
	_cleanup_free_ struct listener *l = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0, size = 0;
	int r = listeners_read(false, &l, &n);

	if (r == 0)
		r = pack(l, n, &data, &size);
	reply(c, id, r, data, size);
}

/* Whatever their order. */
static uint64_t look(void)
{
	_cleanup_free_ struct listener *l = NULL;
	uint64_t sum = 0;
	size_t n = 0;

	if (listeners_read(false, &l, &n) < 0)
		return watch.sum;
	for (size_t i = 0; i < n; i++) {
		/* FNV-1a, 64 bits: its offset basis and prime. */
		uint64_t one = 0xcbf29ce484222325u;
		const uint8_t *bytes = (const uint8_t *)&l[i].port;

		for (size_t k = 0; k < sizeof(l[i].port); k++)
			one = (one ^ bytes[k]) * 0x100000001b3u;
		sum += one;
	}
	return sum;
}

void ports_request(struct channel *c, const struct agent_header *h, const uint8_t *payload)
{
	uint32_t v;

	if (h->length != sizeof(v)) {
		reply(c, h->id, -EINVAL, NULL, 0);
		return;
	}
	memcpy(&v, payload, sizeof(v));
	if (h->type == AGENT_PORTS_WATCH) {
		watch.every = v == 0 ? 0 : (uint64_t)(v < WATCH_MSEC_MIN ? WATCH_MSEC_MIN : v) * 1000;
		watch.next = io_now_usec() + watch.every;
		watch.sum = look();
		reply(c, h->id, 0, NULL, 0);
	} else if (!(v & AGENT_PORTS_FULL)) {
		answer_tcp(c, h->id);
	} else if (asked_count == ASKED_MAX) {
		reply(c, h->id, -EAGAIN, NULL, 0);
	} else {
		asked[asked_count].id = h->id;
		asked[asked_count++].begun = false;
		if (children[0].fd < 0)
			begin(c);
	}
}

size_t ports_poll(struct pollfd *p)
{
	size_t n = 0;

	for (size_t i = 0; i < ELEMENTSOF(children); i++)
		if (children[i].fd >= 0)
			p[n++] = (struct pollfd){.fd = children[i].fd, .events = POLLIN};
	return n;
}

static void child_end(struct child *k)
{
	k->fd = close_fd(k->fd);
	free(k->data);
	k->data = NULL;
	k->have = 0;
}

/* ALL: what is not among them listens no more. */
static void learn(const uint8_t *data, size_t n, bool all)
{
	static struct known kept[AGENT_PORTS_MAX];
	size_t at = 0, count = 0;
	struct agent_port p;

	for (; n - at >= sizeof(p); at += p.comm_length + p.command_length) {
		struct known *k;

		memcpy(&p, data + at, sizeof(p));
		at += sizeof(p);
		k = find_known(p.socket, p.port);
		if (k && p.speaks == AGENT_SPEAKS_UNKNOWN)
			p.speaks = k->speaks;
		if (p.protocol != IPPROTO_TCP || p.speaks == AGENT_SPEAKS_UNKNOWN)
			continue;
		if (all)
			kept[count++] = (struct known){p.socket, p.port, p.speaks};
		else if (!k && known_count < ELEMENTSOF(known))
			known[known_count++] = (struct known){p.socket, p.port, p.speaks};
	}
	if (!all)
		return;
	memcpy(known, kept, count * sizeof(kept[0]));
	known_count = count;
}

/* 1: a whole saying is there; 0: not yet; or -errno: none will come. */
static int hear(struct child *k)
{
	size_t wanted = sizeof(struct saying);
	struct saying head;
	ssize_t n;

	for (;;) {
		if (k->have >= sizeof(head)) {
			memcpy(&head, k->data, sizeof(head));
			wanted = sizeof(head) + head.size;
			if (k->have == wanted)
				return 1;
		}
		if (!k->data && !(k->data = malloc(sizeof(head) + AGENT_PAYLOAD_MAX)))
			return -ENOMEM;
		n = read(k->fd, k->data + k->have, wanted - k->have);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		k->have += (size_t)n;
	}
}

static void turn_child(struct channel *c, struct child *k)
{
	int r = k->fd < 0 ? 0 : hear(k);
	struct saying head;

	if (r == 0)
		return;
	if (r > 0) {
		memcpy(&head, k->data, sizeof(head));
		learn(k->data + sizeof(head), head.size, k == &children[0]);
	}
	if (k == &children[0])
		answer_begun(c, r < 0 ? r : 0, r < 0 ? NULL : k->data + sizeof(head), r < 0 ? 0 : head.size);
	if (r > 0 && head.more && k == &children[0]) {
		children[1] = children[0];
		children[1].have = 0;
		children[0] = (struct child){.fd = -EBADF};
	} else {
		child_end(k);
	}
}

void ports_turn(struct channel *c)
{
	turn_child(c, &children[1]);
	turn_child(c, &children[0]);
	if (children[0].fd < 0 && asked_count > 0)
		begin(c);
	if (watch.every > 0 && io_now_usec() >= watch.next) {
		uint64_t sum = look();

		if (sum != watch.sum)
			channel_send(c, AGENT_PORTS_CHANGED, 0, 0, NULL, 0, NULL, 0);
		watch.sum = sum;
		watch.next = io_now_usec() + watch.every;
	}
}

uint64_t ports_deadline(void)
{
	return watch.every > 0 ? watch.next : 0;
}

void ports_new_host(void)
{
	asked_count = 0;
	watch.every = 0;
}
