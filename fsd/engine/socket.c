#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <stdio.h>
#include <sys/un.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "engine/engine.h"
#include "engine/vsock.h"
#include "guest/hello.h"

static int address_of(int dir_fd, const char *name, struct sockaddr_un *ret, struct err *e)
{
	int n;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? err_set(e, -ENAMETOOLONG, "%s", name) : 0;
}

int engine_listen(int dir_fd, const char *name, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "socket");
	r = address_of(dir_fd, name, &address, e);
	if (r < 0)
		return r;
	unlinkat(dir_fd, name, 0);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		fchmodat(dir_fd, name, 0600, 0) < 0 || listen(fd, 4) < 0)
		return err_sys(e, -errno, "%s", name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int engine_find_socket(int dir_fd, const char *name, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", name);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -ENOTSOCK, "%s: not a socket", name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int engine_open_fifo(int vm_dir_fd, const char *name, int *ret_fd)
{
	_cleanup_close_ int jail = openat(vm_dir_fd, ENGINE_JAIL, O_PATH | O_DIRECTORY | O_CLOEXEC),
			    fd = -EBADF;
	struct stat st;

	if (jail < 0)
		return -errno;
	/* Nothing happens to what isn't a fifo by opening it like this: it's a file system in memory, without devices. */
	fd = openat(jail, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISFIFO(st.st_mode))
		return -ENOENT;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int engine_connect(int dir_fd, const char *name, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	_cleanup_close_ int place = -EBADF;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "socket");
	r = engine_find_socket(dir_fd, name, &place, e);
	if (r < 0)
		return r;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", place);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(e, -errno, "%s", name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static const struct {
	const char *name;
	enum helper_launch_fd fd;
	bool jailed; /* of a jailed VMM too */
} sockets[] = {
	{ENGINE_QMP_SOCKET, LAUNCH_FD_QMP, false},
	{ENGINE_AGENT_SOCKET, LAUNCH_FD_AGENT, false},
	{ENGINE_TTY_SOCKET, LAUNCH_FD_TTY, true},
};

int engine_make_token(uint8_t ret[AGENT_TOKEN], struct err *e)
{
	return getrandom(ret, AGENT_TOKEN, 0) == AGENT_TOKEN ? 0 : err_sys(e, -errno, "random bytes");
}

int engine_make_folder(const struct engine *engine, int runs_fd, const char *name,
	const uint8_t token[AGENT_TOKEN], int ret_fds[LAUNCH_FD_COUNT], int *ret_dir_fd, struct err *e)
{
	_cleanup_free_ char *jail = NULL;
	_cleanup_close_ int dir = -EBADF;
	int r;

	engine_remove_folder(runs_fd, name);
	if (mkdirat(runs_fd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", name);
	dir = openat(runs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, -errno, "%s", name);
	r = io_replace_file(dir, ENGINE_TOKEN, token, AGENT_TOKEN, 0600, e);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(sockets); i++)
		if (!engine->jailed || sockets[i].jailed)
			r = engine_listen(dir, sockets[i].name, &ret_fds[sockets[i].fd], e);
	/* From PLACE_FSD_DIR/vm/ID to PLACE_JAILS/ID (banger/place.h). */
	if (r == 0 && engine->jailed) {
		if (asprintf(&jail, "../../../jails/%s", name) < 0)
			jail = NULL;
		if (!jail || symlinkat(jail, dir, ENGINE_JAIL) < 0)
			r = err_sys(e, jail ? -errno : -ENOMEM, "%s", name);
	}
	if (r == 0)
		*ret_dir_fd = TAKE_FD(dir);
	return r;
}

void engine_remove_folder(int runs_fd, const char *name)
{
	_cleanup_close_ int dir = openat(runs_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	for (size_t i = 0; i < ELEMENTSOF(sockets); i++)
		unlinkat(dir, sockets[i].name, 0);
	unlinkat(dir, ENGINE_JAIL, 0);
	unlinkat(dir, ENGINE_SUMS, 0);
	unlinkat(dir, ENGINE_TOKEN, 0);
	unlinkat(dir, ENGINE_CID, 0);
	unlinkat(runs_fd, name, AT_REMOVEDIR);
}

int engine_keep_cid(int vm_dir_fd, uint32_t cid, struct err *e)
{
	char text[16];

	if (!cid)
		return 0;
	snprintf(text, sizeof(text), "%" PRIu32, cid);
	return io_replace_file(vm_dir_fd, ENGINE_CID, text, strlen(text), 0600, e);
}

/* What is in a VM's folder about its agent. */
struct line {
	bool has_token;
	uint8_t token[AGENT_TOKEN];
	struct vsock_place vsock;
};

static int read_line(int vm_dir_fd, struct line *ret, struct err *e)
{
	_cleanup_free_ char *token = NULL, *cid = NULL;
	uint64_t number = 0;
	size_t n;
	int r;

	*ret = (struct line){
		.vsock = {.dir_fd = vm_dir_fd, .name = ENGINE_VSOCK_SOCKET, .port = GUEST_AGENT_VSOCK}};
	r = io_read_file(vm_dir_fd, ENGINE_TOKEN, AGENT_TOKEN, &token, &n, NULL);
	if (r == 0 && n == AGENT_TOKEN)
		memcpy(ret->token, token, n);
	else if (r != -ENOENT)
		return err_sys(e, r < 0 ? r : -EIO, ENGINE_TOKEN);
	ret->has_token = r == 0;
	r = io_read_file(vm_dir_fd, ENGINE_CID, 16, &cid, NULL, NULL);
	if (r == 0)
		r = parse_u64(cid, 3, UINT32_MAX - 1, &number);
	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, ENGINE_CID);
	ret->vsock.cid = (uint32_t)number;
	return 0;
}

void engine_channel(int vm_dir_fd, char ret[ENGINE_CHANNEL])
{
	struct line line = {0};

	if (read_line(vm_dir_fd, &line, NULL) == 0 && line.vsock.cid)
		snprintf(ret, ENGINE_CHANNEL, "vsock %" PRIu32, line.vsock.cid);
	else
		snprintf(ret, ENGINE_CHANNEL, "%s", engine_of(vm_dir_fd)->jailed ? "vsock" : "virtio-serial");
}

/* *RET_VSOCK: who is connected to is behind a vsock, and may hang up on us without being gone. */
static int dial(const struct line *l, const struct vsock_wait *w, int *ret_fd, bool *ret_vsock, struct err *e)
{
	int r;

	*ret_vsock = l->vsock.cid != 0;
	/* The socket listened before the VMM began: only an earlier connection that is still being closed can be in the way. */
	while (!*ret_vsock &&
		(r = engine_connect(l->vsock.dir_fd, ENGINE_AGENT_SOCKET, ret_fd, NULL)) != -ENOENT) {
		if (r != -EAGAIN || io_now_usec() > w->end)
			return r < 0 ? err_sys(e, r, "the agent's channel") : 0;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	*ret_vsock = true;
	return vsock_connect(&l->vsock, w, ret_fd, e);
}

int engine_wait_agent(int vm_dir_fd, int pidfd, unsigned timeout_msec, int cancel_fd, int *ret_fd,
	char ret_boot_id[40], struct err *e)
{
	const struct vsock_wait w = {
		.end = io_now_usec() + (uint64_t)timeout_msec * 1000, .pidfd = pidfd, .cancel_fd = cancel_fd};
	struct line line;
	int r = read_line(vm_dir_fd, &line, e);

	while (r == 0) {
		_cleanup_close_ int fd = -EBADF;
		_cleanup_err_ struct err mine = {0};
		uint64_t now;
		bool vsock;

		r = dial(&line, &w, &fd, &vsock, e);
		if (r < 0)
			break;
		now = io_now_usec();
		r = agent_hello(fd, line.has_token ? line.token : NULL,
			now < w.end ? (unsigned)((w.end - now) / 1000) : 1, cancel_fd, pidfd, ret_boot_id,
			&mine);
		if (r == 0) {
			*ret_fd = TAKE_FD(fd);
			break;
		}
		/* It makes room for those who came later when many knock who say nothing (guest/door.h). */
		if (!vsock || (r != -EPIPE && r != -ECONNRESET))
			return err_move(e, &mine);
		r = vsock_pause(&w, e);
	}
	return r;
}
