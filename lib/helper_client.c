#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "banger/helper_client.h"
#include "banger/io.h"

#define CALL_MSEC 30000

struct helper {
	pthread_mutex_t lock;
	char *path;
	int sock;
	int mount_fd; /* given to a helper that was started anew; a duplicate of the daemon's */
	unsigned msec;
};

int helper_new(const char *path, struct helper **ret, struct err *e)
{
	struct helper *h = calloc(1, sizeof(*h));

	if (!h || !(h->path = strdup(path))) {
		free(h);
		return err_sys(e, -ENOMEM, "helper");
	}
	pthread_mutex_init(&h->lock, NULL);
	h->sock = h->mount_fd = -EBADF;
	h->msec = CALL_MSEC;
	*ret = h;
	return 0;
}

struct helper *helper_free(struct helper *h)
{
	if (h) {
		close_fd(h->sock);
		close_fd(h->mount_fd);
		pthread_mutex_destroy(&h->lock);
		free(h->path);
		free(h);
	}
	return NULL;
}

void helper_set_patience(struct helper *h, unsigned msec)
{
	h->msec = msec;
}

static int wait_for(int fd, short events, unsigned msec, struct err *e)
{
	struct pollfd p = {.fd = fd, .events = events};
	int r;

	do
		r = poll(&p, 1, (int)msec);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(e, -errno, "helper");
	return r == 0 ? err_set(e, -ETIMEDOUT, "banger-helper doesn't answer") : 0;
}

static int exchange(struct helper *h, struct helper_request *q, const int *fds, size_t nfds,
	struct helper_reply *reply, int *ret_fd, struct err *e)
{
	int fd = -EBADF, r;
	size_t got = 0;
	ssize_t n;

	q->magic = HELPER_MAGIC;
	q->version = HELPER_VERSION;
	r = io_send_fds(h->sock, q, sizeof(*q), fds, nfds);
	if (r < 0)
		return err_sys(e, r == -ECONNRESET ? -EPIPE : r, "banger-helper");
	r = wait_for(h->sock, POLLIN, h->msec, e);
	if (r < 0)
		return r;
	n = io_recv_fds(h->sock, reply, sizeof(*reply), &fd, 1, &got, 0);
	if (n != sizeof(*reply) || reply->magic != HELPER_MAGIC || reply->version != HELPER_VERSION ||
		reply->call != q->call) {
		if (got)
			close_fd(fd);
		return err_set(e, -EPIPE, "banger-helper ended in the middle of a call: sudo banger up");
	}
	reply->text[sizeof(reply->text) - 1] = '\0';
	if (ret_fd)
		*ret_fd = got ? fd : -EBADF;
	else if (got)
		close_fd(fd);
	return 0;
}

static int connect_now(struct helper *h, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = h->msec / 1000, .tv_usec = h->msec % 1000 * 1000};

	if (fd < 0)
		return err_sys(e, -errno, "helper");
	if (strlen(h->path) >= sizeof(address.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket", h->path);
	memcpy(address.sun_path, h->path, strlen(h->path));
	/* A listener whose queue is full holds up who connects, for as long as this allows (unix(7)). */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return err_sys(e, -errno, "helper");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(e, errno == ENOENT ? -ECONNREFUSED : -errno,
			"banger-helper doesn't run (%s): start it with: sudo banger up", h->path);
	h->sock = TAKE_FD(fd);
	if (h->mount_fd >= 0) {
		struct helper_request q = {.call = HELPER_MOUNT};
		struct helper_reply reply;

		/* A helper that has it already keeps the one it is given. */
		return exchange(h, &q, &h->mount_fd, 1, &reply, NULL, e);
	}
	return 0;
}

/* Whether the peer has gone since the last call. */
static int peer_gone(int sock)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static int call(struct helper *h, struct helper_request *q, const int *fds, size_t nfds,
	struct helper_reply *reply, int *ret_fd, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&h->lock);
	if (h->sock >= 0 && peer_gone(h->sock))
		h->sock = close_fd(h->sock);
	if (h->sock < 0)
		r = connect_now(h, e);
	if (r == 0)
		r = exchange(h, q, fds, nfds, reply, ret_fd, e);
	if (r < 0)
		h->sock = close_fd(h->sock);
	pthread_mutex_unlock(&h->lock);
	if (r < 0)
		return r;
	if (reply->code < 0)
		return err_set(e, reply->code, "%s", *reply->text ? reply->text : strerror(-reply->code));
	return 0;
}

int helper_hello(struct helper *h, struct helper_hello *ret, struct err *e)
{
	struct helper_request q = {.call = HELPER_HELLO};
	struct helper_reply reply;
	int r = call(h, &q, NULL, 0, &reply, NULL, e);

	if (r < 0)
		return r;
	*ret = (struct helper_hello){
		.network = reply.u.hello.network,
		.gateway = reply.u.hello.gateway,
		.prefix = reply.u.hello.prefix,
		.mount_held = reply.u.hello.mount_held != 0,
		.pid = reply.u.hello.pid,
		.owner = reply.u.hello.owner,
	};
	memcpy(ret->version, reply.u.hello.version, sizeof(ret->version) - 1);
	memcpy(ret->bridge, reply.u.hello.bridge, sizeof(ret->bridge) - 1);
	memcpy(ret->prefix6, reply.u.hello.prefix6, sizeof(ret->prefix6));
	ret->has_ip6 = ret->prefix6[0] != 0;
	return 0;
}

int helper_mount(struct helper *h, int *ret_fd, bool *ret_adopted, struct err *e)
{
	struct helper_request q = {.call = HELPER_MOUNT};
	struct helper_reply reply;
	_cleanup_close_ int fd = -EBADF;
	int r = call(h, &q, NULL, 0, &reply, &fd, e);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(e, -EPROTO, "banger-helper sent no descriptor");
	*ret_adopted = reply.u.mount.adopted != 0;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int helper_keep_mount(struct helper *h, int fd, struct err *e)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (mine < 0)
		return err_sys(e, -errno, "mount");
	pthread_mutex_lock(&h->lock);
	close_fd(h->mount_fd);
	h->mount_fd = mine;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

int helper_unmount(struct helper *h, struct err *e)
{
	struct helper_request q = {.call = HELPER_UNMOUNT};
	struct helper_reply reply;

	pthread_mutex_lock(&h->lock);
	h->mount_fd = close_fd(h->mount_fd);
	pthread_mutex_unlock(&h->lock);
	return call(h, &q, NULL, 0, &reply, NULL, e);
}

static int plain(struct helper *h, enum helper_call which, uint64_t op, uint32_t vm, struct err *e)
{
	struct helper_request q = {.call = (uint16_t)which, .op = op, .vm = vm};
	struct helper_reply reply;

	return call(h, &q, NULL, 0, &reply, NULL, e);
}

int helper_net_up(struct helper *h, struct err *e)
{
	return plain(h, HELPER_NET_UP, 0, 0, e);
}

int helper_net_down(struct helper *h, struct err *e)
{
	return plain(h, HELPER_NET_DOWN, 0, 0, e);
}

int helper_tap(struct helper *h, uint64_t op, uint32_t vm, uint32_t address, struct err *e)
{
	struct helper_request q = {.call = HELPER_TAP, .op = op, .vm = vm, .u.tap.address = address};
	struct helper_reply reply;

	return call(h, &q, NULL, 0, &reply, NULL, e);
}

int helper_nat(struct helper *h, uint64_t op, uint32_t vm, uint32_t address, bool on, struct err *e)
{
	struct helper_request q = {
		.call = HELPER_NAT, .op = op, .vm = vm, .u.nat = {.address = address, .on = on}};
	struct helper_reply reply;

	return call(h, &q, NULL, 0, &reply, NULL, e);
}

int helper_rate(struct helper *h, uint64_t op, uint32_t vm, uint64_t rate, struct err *e)
{
	struct helper_request q = {.call = HELPER_RATE, .op = op, .vm = vm, .u.rate.bytes = rate};
	struct helper_reply reply;

	return call(h, &q, NULL, 0, &reply, NULL, e);
}

static int process_reply(int r, const struct helper_reply *reply, int fd, struct helper_process *ret,
	int *ret_pidfd, struct err *e)
{
	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(e, -EPROTO, "banger-helper sent no descriptor");
	*ret = (struct helper_process){.pid = reply->u.launch.pid,
		.reaper_pid = reply->u.launch.reaper_pid,
		.starttime = reply->u.launch.starttime,
		.cid = reply->u.launch.cid};
	memcpy(ret->tap, reply->u.launch.tap, sizeof(ret->tap) - 1);
	*ret_pidfd = fd;
	return 0;
}

int helper_jail(struct helper *h, uint64_t op, uint32_t vm, struct err *e)
{
	_cleanup_close_ int mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct helper_request q = {.call = HELPER_JAIL, .op = op, .vm = vm};
	struct helper_reply reply;

	return mounts < 0 ? err_sys(e, -errno, "/proc/self/ns/mnt")
			  : call(h, &q, &mounts, 1, &reply, NULL, e);
}

int helper_launch(struct helper *h, uint64_t op, uint32_t vm, const struct helper_launch *what,
	struct helper_process *ret, int *ret_pidfd, struct err *e)
{
	struct helper_request q = {.call = HELPER_LAUNCH, .op = op, .vm = vm};
	struct helper_reply reply;
	int fd = -EBADF, r;

	q.u.launch.memory = what->memory;
	q.u.launch.tsc_khz = what->tsc_khz;
	q.u.launch.console_max = what->console_max;
	q.u.launch.vcpus = what->vcpus;
	q.u.launch.accel = what->accel;
	q.u.launch.no_network = what->no_network;
	q.u.launch.storage = what->storage;
	q.u.launch.engine = what->engine;
	q.u.launch.vsock = what->vsock;
	q.u.launch.disk_rate = what->disk_rate;
	q.u.launch.disk_ops = what->disk_ops;
	r = call(h, &q, what->fds,
		what->engine == HELPER_ENGINE_QEMU ? LAUNCH_FD_COUNT : LAUNCH_FD_COUNT_JAILED, &reply, &fd,
		e);
	return process_reply(r, &reply, fd, ret, ret_pidfd, e);
}

int helper_pidfd(struct helper *h, uint32_t vm, struct helper_process *ret, int *ret_pidfd, struct err *e)
{
	struct helper_request q = {.call = HELPER_PIDFD, .vm = vm};
	struct helper_reply reply;
	int fd = -EBADF, r = call(h, &q, NULL, 0, &reply, &fd, e);

	return process_reply(r, &reply, fd, ret, ret_pidfd, e);
}

int helper_signal(struct helper *h, uint64_t op, uint32_t vm, enum helper_signal sig, struct err *e)
{
	struct helper_request q = {.call = HELPER_SIGNAL, .op = op, .vm = vm, .u.signal.signal = sig};
	struct helper_reply reply;

	return call(h, &q, NULL, 0, &reply, NULL, e);
}

int helper_release(struct helper *h, uint64_t op, uint32_t vm, struct err *e)
{
	return plain(h, HELPER_RELEASE, op, vm, e);
}

int helper_storage(struct helper *h, struct err *e)
{
	return plain(h, HELPER_STORAGE, 0, 0, e);
}

int helper_disk(struct helper *h, uint64_t op, uint32_t vm, enum helper_disk_what what, uint64_t size,
	const int fds[DISK_FD_COUNT], int *ret_fd, struct err *e)
{
	struct helper_request q = {
		.call = HELPER_DISK, .op = op, .vm = vm, .u.disk = {.size = size, .what = what}};
	struct helper_reply reply;
	int fd = -EBADF, r = call(h, &q, fds, DISK_FD_COUNT, &reply, &fd, e);

	if (r < 0)
		return r;
	if (fd < 0)
		return err_set(e, -EPROTO, "banger-helper sent no descriptor");
	*ret_fd = fd;
	return 0;
}

int helper_disk_off(struct helper *h, uint64_t op, uint32_t vm, struct err *e)
{
	return plain(h, HELPER_DISK, op, vm, e);
}

int helper_disk_status(struct helper *h, uint32_t vm, struct helper_disk_use *ret, struct err *e)
{
	struct helper_request q = {.call = HELPER_DISK_STATUS, .vm = vm};
	struct helper_reply reply;
	int r = call(h, &q, NULL, 0, &reply, NULL, e);

	if (r < 0)
		return r;
	*ret = (struct helper_disk_use){
		.state = reply.u.disk.state, .used = reply.u.disk.used, .size = reply.u.disk.size};
	return 0;
}

int helper_list(struct helper *h, uint32_t after, struct helper_entry *ret, struct err *e)
{
	struct helper_request q = {.call = HELPER_LIST, .u.list.after = after};
	struct helper_reply reply;
	int r = call(h, &q, NULL, 0, &reply, NULL, e);

	if (r < 0)
		return r;
	*ret = (struct helper_entry){.vm = reply.vm,
		.has_tap = reply.u.list.has_tap != 0,
		.has_nat = reply.u.list.has_nat != 0,
		.has_process = reply.u.list.has_process != 0,
		.alive = reply.u.list.alive != 0,
		.pid = reply.u.list.pid,
		.starttime = reply.u.list.starttime};
	return 0;
}
