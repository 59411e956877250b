#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/guest_ssh.h"
#include "banger/io.h"
#include "banger/workspace_proto.h"
#include "guest.h"
#include "receive.h"
#include "ssh.h"

#define IN_FOLDER(name) GUEST_SSH_FOLDER "/" name
#define SFTP_NAME       "/sftp-server"
#define PIECE           65536

static const char *const servers[] = {
	"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/bin/sshd"};

/* The image's own, or NULL. */
static const char *find_sshd(void)
{
	for (size_t i = 0; i < ELEMENTSOF(servers); i++)
		if (access(servers[i], X_OK) == 0)
			return servers[i];
	return NULL;
}

/* A session's first program is this one (`brought`, below), which a user's session can't find in the agent. */
static int place_self(void)
{
	_cleanup_close_ int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = -EBADF;
	struct stat st;

	if ((mkdir(GUEST_SSH_BASE "/banger", 0755) < 0 && errno != EEXIST) ||
		(mkdir(GUEST_SSH_FOLDER, 0755) < 0 && errno != EEXIST))
		return -errno;
	unlink(IN_FOLDER(GUEST_SSH_SELF));
	to = open(IN_FOLDER(GUEST_SSH_SELF), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (from < 0 || to < 0 || fstat(from, &st) < 0)
		return -errno;
	return sendfile(to, from, NULL, (size_t)st.st_size) == st.st_size ? 0 : -EIO;
}

int ssh_receive(void)
{
	uint32_t need = !find_sshd();
	int r;

	umask(022);
	r = need ? place_self() : 0;
	if (r < 0) {
		guest_say(GUEST_SSH_FOLDER ": %s", strerror(-r));
		return 1;
	}
	if (workspace_write(STDOUT_FILENO, GUEST_SSH_NEED, &need, sizeof(need), NULL, 0) < 0)
		return 1;
	return receive_run(GUEST_SSH_BASE);
}

/* One direction of a connection. False: it is over. */
struct lane {
	int from, to;
	size_t at, n;
	bool ended;
	char data[PIECE];
};

static void lane_read(struct lane *l)
{
	ssize_t n = read(l->from, l->data, sizeof(l->data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	l->ended = n <= 0;
	l->n = n > 0 ? (size_t)n : 0;
	l->at = 0;
}

static void lane_write(struct lane *l)
{
	ssize_t n = write(l->to, l->data + l->at, l->n);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Nobody takes it any more. */
	if (n < 0) {
		l->ended = true;
		n = (ssize_t)l->n;
	}
	l->at += (size_t)n;
	l->n -= (size_t)n;
}

/* Between our standard streams, which are pipes, and the server's socket, until the server ends it. */
static void relay(int sock)
{
	static struct lane in, out;
	bool told = false;

	in.from = STDIN_FILENO;
	in.to = out.from = sock;
	out.to = STDOUT_FILENO;
	for (int i = 0; i < 3; i++)
		fcntl(i == 2 ? sock : i, F_SETFL, O_NONBLOCK);
	while (!out.ended || out.n > 0) {
		struct pollfd p[] = {
			{.fd = in.ended || in.n > 0 ? -1 : STDIN_FILENO, .events = POLLIN},
			{.fd = sock,
				.events = (short)((in.n > 0 ? POLLOUT : 0) |
						  (!out.ended && out.n == 0 ? POLLIN : 0))},
			{.fd = out.n > 0 ? STDOUT_FILENO : -1, .events = POLLOUT},
		};

		if (poll(p, ELEMENTSOF(p), -1) < 0 && errno != EINTR)
			return;
		if (p[0].revents)
			lane_read(&in);
		if (in.n > 0)
			lane_write(&in);
		if (in.ended && in.n == 0 && !told) {
			shutdown(sock, SHUT_WR);
			told = true;
		}
		if ((p[1].revents & (POLLIN | POLLHUP | POLLERR)) && out.n == 0)
			lane_read(&out);
		if (out.n > 0)
			lane_write(&out);
	}
}

/*
 * A connection whose one end a server can ask for its peer's address: dropbear insists on that (src/netio.c: get_socket_address()), and what
 * sshd has instead of one, libaudit looks up by DNS at each step (lib/audit_logging.c: _resolve_addr()). Over loopback, and nobody else's: the
 * peer is who we have bound.
 */
static int connect_pair(int ret[2])
{
	_cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int mine = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), theirs = -EBADF;
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, there,
			   peer;
	socklen_t n = sizeof(there);

	if (listener < 0 || mine < 0 || bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
		listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&there, &n) < 0 ||
		connect(mine, (struct sockaddr *)&there, sizeof(there)) < 0 ||
		(theirs = accept4(listener, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC)) < 0 ||
		getsockname(mine, (struct sockaddr *)&here, &n) < 0)
		return -errno;
	if (peer.sin_port != here.sin_port || peer.sin_addr.s_addr != here.sin_addr.s_addr)
		return -EACCES;
	setsockopt(mine, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	ret[0] = TAKE_FD(mine);
	ret[1] = TAKE_FD(theirs);
	return 0;
}

static char *const brought[] = {(char *)IN_FOLDER(GUEST_SSH_LINKER), (char *)"--library-path",
	(char *)IN_FOLDER(GUEST_SSH_LIBRARIES), (char *)IN_FOLDER(GUEST_SSH_DROPBEAR), (char *)"-i",
	(char *)"-m", (char *)"-s", (char *)"-r", (char *)IN_FOLDER(GUEST_SSH_DROPBEAR_KEY), (char *)"-W",
	(char *)"1048576", (char *)"-c", (char *)"exec " IN_FOLDER(GUEST_SSH_SELF) " ssh session", NULL};

int ssh_serve(void)
{
	char *sshd = (char *)find_sshd();
	/* What its configuration says of ports and addresses means nothing here; the rest holds, but for who gets in. */
	char *const own[] = {sshd, (char *)"-i", (char *)"-e", (char *)"-oLogLevel=ERROR",
		(char *)"-h" IN_FOLDER(GUEST_SSH_HOST_KEY), (char *)"-oPermitRootLogin=prohibit-password",
		(char *)"-oPubkeyAuthentication=yes",
		(char *)"-oAuthorizedKeysFile=.ssh/authorized_keys " IN_FOLDER(GUEST_SSH_AUTHORIZED),
		(char *)"-oPrintMotd=no", (char *)"-oPrintLastLog=no", NULL};
	char *const *argv = sshd ? own : brought;
	int pair[2] = {-EBADF, -EBADF}, status = 0, r = connect_pair(pair);
	pid_t pid;

	if (r < 0) {
		guest_say("ssh: %s", strerror(-r));
		return 127;
	}
	/* Its unit makes it, where one runs. */
	if (sshd)
		mkdir("/run/sshd", 0755);
	signal(SIGPIPE, SIG_IGN);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		if (dup2(pair[1], STDIN_FILENO) >= 0 && dup2(pair[1], STDOUT_FILENO) >= 0)
			execv(argv[0], argv);
		guest_say("%s: %s", argv[0], strerror(errno));
		_exit(127);
	}
	close_fd(pair[1]);
	if (pid > 0)
		relay(pair[0]);
	close_fd(pair[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

int ssh_session(void)
{
	_cleanup_free_ char *command = NULL, *login = NULL;
	const char *asked = getenv("SSH_ORIGINAL_COMMAND"), *shell = getenv("SHELL"), *base;

	if (!shell || !*shell)
		shell = "/bin/sh";
	base = strrchr(shell, '/') ? strrchr(shell, '/') + 1 : shell;
	if (!asked || !*asked) {
		if (asprintf(&login, "-%s", base) < 0)
			return 127;
		execl(shell, login, NULL);
	} else {
		command = strdup(asked);
		unsetenv("SSH_ORIGINAL_COMMAND");
		/* The subsystem, under the name that the server was built with; the image's own where it has that. */
		if (command && ends_with(command, SFTP_NAME) && !strchr(command, ' ') &&
			access(command, X_OK) < 0)
			execl(IN_FOLDER(GUEST_SSH_LINKER), IN_FOLDER(GUEST_SSH_LINKER), "--library-path",
				IN_FOLDER(GUEST_SSH_LIBRARIES), IN_FOLDER(GUEST_SSH_SFTP), NULL);
		else if (command)
			execl(shell, base, "-c", command, NULL);
	}
	fprintf(stderr, "banger: %s: %s\n", shell, strerror(errno));
	return 127;
}
