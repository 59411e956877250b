#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/journald.h"
#include "server.h"

#define LOG_MAX     (1 << 20)
#define CLIENTS_MAX 16
#define CLIENTS_OWN 12 /* of them the owner's at most: root's `banger down` gets through */

struct client {
	int fd;
	uid_t uid;
	pid_t pid;
};

/* What systemd made by banger-helper.socket: its place and its kind must be those that we would have made ourselves. */
static int check_socket(const struct instance *inst, int fd, struct err *e)
{
	struct sockaddr_un address = {0};
	socklen_t n = sizeof(address) - 1, size = sizeof(int);
	int type = 0, listens = 0;

	if (getsockname(fd, (struct sockaddr *)&address, &n) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
		return err_sys(e, -errno, "the socket passed");
	if (address.sun_family != AF_UNIX || type != SOCK_SEQPACKET || !listens ||
		strcmp(address.sun_path, inst->socket) != 0)
		return err_set(e, -EBADMSG, "the socket passed is not %s", inst->socket);
	return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? err_sys(e, -errno, "the socket passed") : 0;
}

int server_listen(const struct instance *inst, int *ret_fd, struct err *e)
{
	_cleanup_close_ int passed = service_take_socket(inst->service);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int n;

	if (passed >= 0) {
		n = check_socket(inst, passed, e);
		if (n == 0)
			*ret_fd = TAKE_FD(passed);
		return n;
	}
	if (fd < 0)
		return err_sys(e, -errno, "socket");
	/* By the folder's descriptor: a path of any length fits, and no part of it can be swapped. */
	n = snprintf(
		address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/helper.sock", inst->run_fd);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return err_set(e, -ENAMETOOLONG, "socket");
	/* The lock says that nobody serves it: what is there is a dead helper's. */
	unlinkat(inst->run_fd, "helper.sock", 0);
	/* umask 077: nobody but us can connect before it is the owner's. */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(e, -errno, "%s", inst->socket);
	if (fchownat(inst->run_fd, "helper.sock", inst->owner, inst->group, AT_SYMLINK_NOFOLLOW) < 0 ||
		fchmodat(inst->run_fd, "helper.sock", 0600, 0) < 0 || listen(fd, CLIENTS_MAX) < 0)
		return err_sys(e, -errno, "%s", inst->socket);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void client_new(const struct instance *inst, int listen_fd, struct client *clients)
{
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 ||
		(peer.uid != inst->owner && peer.uid != 0)) {
		fprintf(stderr, "banger-helper: refused user %u (pid %d)\n", peer.uid, peer.pid);
		return;
	}
	for (int i = 0; i < (peer.uid == 0 ? CLIENTS_MAX : CLIENTS_OWN); i++)
		if (clients[i].fd < 0) {
			clients[i] = (struct client){.fd = TAKE_FD(fd), .uid = peer.uid, .pid = peer.pid};
			return;
		}
	fprintf(stderr, "banger-helper: refused pid %d: as many as may be are connected\n", peer.pid);
}

static void log_call(const struct client *c, const struct helper_request *q, const char *name,
	const struct helper_reply *reply, uint64_t usec)
{
	char op[40], vm[24], caller[32], call[32], code[24], took[40], line[sizeof(reply->text) + 160];
	const char *const fields[] = {op, vm, caller, call, code, took, NULL};

	/* Looking changes nothing and isn't worth a line. */
	if (q->call == HELPER_LIST || q->call == HELPER_HELLO || q->call == HELPER_PIDFD ||
		q->call == HELPER_STORAGE || q->call == HELPER_DISK_STATUS)
		return;
	snprintf(op, sizeof(op), "OPERATION=%" PRIu64, q->op);
	snprintf(vm, sizeof(vm), "VM_ID=%u", q->vm);
	snprintf(caller, sizeof(caller), "CALLER_UID=%u", c->uid);
	snprintf(call, sizeof(call), "CALL=%s", name);
	snprintf(code, sizeof(code), "CODE=%d", reply->code);
	snprintf(took, sizeof(took), "DURATION_USEC=%" PRIu64, usec);
	snprintf(line, sizeof(line), "op=%" PRIu64 " uid=%u call=%s vm=%u code=%d usec=%" PRIu64 "%s%s",
		q->op, c->uid, name, q->vm, reply->code, usec, *reply->text ? " " : "", reply->text);
	if (!journald_line(reply->code < 0 ? LOG_WARNING : LOG_INFO, line, fields))
		fprintf(stderr, "banger-helper: %s\n", line);
}

/* One request. -EPIPE or -EPROTO: the connection is to be closed. */
static int serve(struct helper_state *s, const struct client *c, struct err *e)
{
	struct helper_request q;
	struct helper_reply reply = {.magic = HELPER_MAGIC, .version = HELPER_VERSION};
	_cleanup_err_ struct err failed = {0};
	int fds[LAUNCH_FD_COUNT], fd = -EBADF, owned = 0, r;
	const char *name = "?";
	uint64_t began = io_now_usec();
	size_t nfds = 0;
	ssize_t n;

	n = io_recv_fds(c->fd, &q, sizeof(q), fds, ELEMENTSOF(fds), &nfds, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return 0;
	if (n == 0)
		return -EPIPE;
	r = n == sizeof(q) ? calls_check(&q, nfds, &name, e)
			   : err_set(e, -EPROTO, "a message of another length or with too many descriptors");
	if (r < 0) {
		while (nfds > 0)
			close_fd(fds[--nfds]);
		return r;
	}
	reply.call = q.call;
	reply.op = q.op;
	reply.code = calls_run(s, &q, fds, nfds, &reply, &fd, &owned, &failed);
	if (reply.code < 0)
		snprintf(reply.text, sizeof(reply.text), "%s", err_text(&failed));
	log_call(c, &q, name, &reply, io_now_usec() - began);
	r = io_send_fds(c->fd, &reply, sizeof(reply), &fd, fd >= 0);
	if (owned)
		close_fd(fd);
	return r < 0 ? err_sys(e, r, "answer") : 0;
}

/* The log is a file in /run where no journal takes it: whoever makes us write must not be able to fill that. */
static void bound_log(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > LOG_MAX &&
		ftruncate(STDERR_FILENO, 0) == 0)
		fprintf(stderr, "banger-helper: the log was full and begins anew\n");
}

/* 0: to end. -ECHILD: a child has ended, without which nobody can be served as they should; whoever starts us anew starts it too. */
static int signalled(int signal_fd, struct err *e)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGCHLD)
		return err_set(e, -ECHILD, "process %u, a child of the helper's, has ended", info.ssi_pid);
	return 0;
}

int server_run(
	const struct instance *inst, struct helper_state *s, int listen_fd, int signal_fd, struct err *e)
{
	struct client clients[CLIENTS_MAX];
	int r = 0, going = 1;

	for (int i = 0; i < CLIENTS_MAX; i++)
		clients[i].fd = -EBADF;
	while (going) {
		struct pollfd p[CLIENTS_MAX + 2] = {
			{.fd = listen_fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};

		for (int i = 0; i < CLIENTS_MAX; i++)
			p[2 + i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
		if (poll(p, ELEMENTSOF(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			r = err_sys(e, -errno, "poll");
			break;
		}
		bound_log();
		if (p[1].revents) {
			going = 0;
			r = signalled(signal_fd, e);
		}
		if (p[0].revents)
			client_new(inst, listen_fd, clients);
		for (int i = 0; i < CLIENTS_MAX; i++) {
			_cleanup_err_ struct err mine = {0};

			if (clients[i].fd < 0 || p[2 + i].fd != clients[i].fd || !p[2 + i].revents)
				continue;
			if (serve(s, &clients[i], &mine) < 0) {
				if (mine.text)
					fprintf(stderr, "banger-helper: closed pid %d: %s\n", clients[i].pid,
						err_text(&mine));
				clients[i].fd = close_fd(clients[i].fd);
			}
		}
	}
	for (int i = 0; i < CLIENTS_MAX; i++)
		close_fd(clients[i].fd);
	return r;
}
