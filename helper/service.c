#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "service.h"

#define FDS_START 3 /* SD_LISTEN_FDS_START */
#define FDS_MAX   8 /* the units pass one socket and at most two others */
#define SOCKET    "banger-helper.socket"
#define NAMESPACE "namespace"
/* The service manager's own: a unit with a mount namespace has one in all of its processes. */
#define HOST_MOUNTS "/proc/1/ns/mnt"

struct passed {
	int fd;
	char *name;
};

struct service {
	struct sockaddr_un manager; /* where it listens; without a path: nowhere */
	socklen_t manager_size;
	struct passed passed[FDS_MAX];
	size_t n;
};

/* A path, or a name in the abstract namespace, written with '@'. */
static int find_manager(struct service *s, const char *at, struct err *e)
{
	size_t n = at ? strlen(at) : 0;

	if (n == 0)
		return 0;
	if ((at[0] != '/' && at[0] != '@') || n < 2 || n >= sizeof(s->manager.sun_path))
		return err_set(e, -EBADMSG, "NOTIFY_SOCKET is no address of a socket");
	s->manager.sun_family = AF_UNIX;
	memcpy(s->manager.sun_path, at, n);
	if (at[0] == '@')
		s->manager.sun_path[0] = '\0';
	s->manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (at[0] == '/'));
	return 0;
}

/* The descriptors from 3 on, and their names, between colons. */
static int take_passed(struct service *s, const char *count, const char *names, struct err *e)
{
	_cleanup_free_ char *copy = strdup(names ? names : "");
	char *rest = copy, *name;
	uint64_t n;

	if (!copy)
		return err_sys(e, -ENOMEM, "service");
	if (parse_u64(count, 0, FDS_MAX, &n) < 0)
		return err_set(
			e, -EBADMSG, "LISTEN_FDS=%s: at most %d descriptors are wanted", count, FDS_MAX);
	for (size_t i = 0; i < n; i++) {
		int fd = FDS_START + (int)i;

		name = strsep(&rest, ":");
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return err_sys(e, -errno, "descriptor %d of LISTEN_FDS", fd);
		s->passed[i].name = strdup(name ? name : "");
		if (!s->passed[i].name)
			return err_sys(e, -ENOMEM, "service");
		s->passed[i].fd = fd;
		s->n++;
	}
	return 0;
}

int service_new(struct service **ret, struct err *e)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	_cleanup_free_ struct service *s = NULL;
	uint64_t whose = 0;
	int r;

	/* What was meant for a parent isn't for us. */
	if (count && (!pid || parse_u64(pid, 1, INT32_MAX, &whose) < 0 || (pid_t)whose != getpid()))
		count = NULL;
	if (!count && !getenv("NOTIFY_SOCKET")) {
		*ret = NULL;
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, -ENOMEM, "service");
	r = find_manager(s, getenv("NOTIFY_SOCKET"), e);
	if (r == 0 && count)
		r = take_passed(s, count, getenv("LISTEN_FDNAMES"), e);
	if (r < 0) {
		service_free(TAKE_PTR(s));
		return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

struct service *service_free(struct service *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->n; i++) {
		close_fd(s->passed[i].fd);
		free(s->passed[i].name);
	}
	free(s);
	return NULL;
}

/* One datagram. That the manager can't be reached changes nothing of what is to be done. */
static void tell(struct service *s, const char *text, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = (char *)text, .iov_len = strlen(text)};
	struct msghdr m = {
		.msg_name = &s->manager, .msg_namelen = s->manager_size, .msg_iov = &iov, .msg_iovlen = 1};
	_cleanup_close_ int sock = -EBADF;
	struct cmsghdr *c;

	if (s->manager_size == 0)
		return;
	if (fd >= 0) {
		m.msg_control = control.space;
		m.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
		fprintf(stderr, "banger-helper: telling the service manager: %s\n", strerror(errno));
}

static int take(struct service *s, const char *name)
{
	for (size_t i = 0; s && i < s->n; i++)
		if (strcmp(s->passed[i].name, name) == 0)
			return TAKE_FD(s->passed[i].fd);
	return -EBADF;
}

int service_take_socket(struct service *s)
{
	return take(s, SOCKET);
}

int service_take_namespace(struct service *s)
{
	return take(s, NAMESPACE);
}

/* By the mount's number: one kept for a mount that has gone is never taken for the one that is there now. */
static char *fuse_name(uint64_t dev)
{
	char *name = NULL;

	return asprintf(&name, "fuse-%" PRIu64, dev) < 0 ? NULL : name;
}

static void forget(struct service *s, const char *name)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "FDSTOREREMOVE=1\nFDNAME=%s", name) < 0) {
		text = NULL;
		return;
	}
	tell(s, text, -EBADF);
}

int service_keep_namespace(struct service *s, struct err *e)
{
	_cleanup_close_ int fd = open(HOST_MOUNTS, O_RDONLY | O_CLOEXEC);

	if (!s || s->manager_size == 0)
		return err_set(e, -EINVAL, "there is no service manager to keep anything");
	if (fd < 0)
		return err_sys(e, -errno, HOST_MOUNTS);
	/* The one of the start before is the same namespace by another descriptor. */
	forget(s, NAMESPACE);
	tell(s, "FDSTORE=1\nFDPOLL=0\nFDNAME=" NAMESPACE, fd);
	return 0;
}

int service_take_fuse(struct service *s, uint64_t dev)
{
	_cleanup_free_ char *wanted = fuse_name(dev);
	int found = -EBADF;

	for (size_t i = 0; s && i < s->n; i++) {
		struct passed *p = &s->passed[i];

		if (p->fd < 0 || strncmp(p->name, "fuse-", 5) != 0)
			continue;
		if (wanted && found < 0 && strcmp(p->name, wanted) == 0) {
			found = TAKE_FD(p->fd);
			continue;
		}
		p->fd = close_fd(p->fd);
		forget(s, p->name);
	}
	return found;
}

void service_ready(struct service *s)
{
	if (s)
		tell(s, "READY=1", -EBADF);
}

void service_keep_fuse(struct service *s, int fd, uint64_t dev)
{
	_cleanup_free_ char *name = fuse_name(dev), *text = NULL;

	if (!s || !name)
		return;
	/* FDPOLL=0: otherwise every request of the tree would wake the manager, which waits on the same descriptor for its hang-up. */
	if (asprintf(&text, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name) < 0) {
		text = NULL;
		return;
	}
	tell(s, text, fd);
}

void service_drop_fuse(struct service *s, uint64_t dev)
{
	_cleanup_free_ char *name = s ? fuse_name(dev) : NULL;

	if (name)
		forget(s, name);
}
