#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "listeners.h"
#include "processes.h"

/* States as the tables have them (include/net/tcp_states.h). */
#define TCP_LISTEN_STATE 0x0a
#define UDP_UNCONNECTED  0x07

static const struct table {
	const char *path;
	uint8_t protocol, family;
	unsigned state;
} tables[] = {
	{"/proc/net/tcp", IPPROTO_TCP, 4, TCP_LISTEN_STATE},
	{"/proc/net/tcp6", IPPROTO_TCP, 6, TCP_LISTEN_STATE},
	{"/proc/net/udp", IPPROTO_UDP, 4, UDP_UNCONNECTED},
	{"/proc/net/udp6", IPPROTO_UDP, 6, UDP_UNCONNECTED},
};

/* Words of 32 bits, each printed as this machine reads it. */
static bool parse_address(const char *hex, uint8_t ret[16])
{
	size_t n = strlen(hex) / 8;

	for (size_t i = 0; i < n && i < 4; i++) {
		uint32_t word;

		if (sscanf(hex + i * 8, "%8x", &word) != 1)
			return false;
		memcpy(ret + i * 4, &word, sizeof(word));
	}
	return n == 1 || n == 4;
}

/* 1: a line of those that are wanted; 0: another. */
static int parse_line(const char *line, const struct table *t, struct agent_port *ret)
{
	unsigned port, state;
	unsigned long long inode;
	char address[33];

	if (sscanf(line, " %*u: %32[0-9A-F]:%4x %*[0-9A-F]:%*x %2x %*s %*s %*s %*s %*s %llu", address, &port,
		    &state, &inode) != 4 ||
		state != t->state)
		return 0;
	*ret = (struct agent_port){
		.socket = inode, .port = (uint16_t)port, .protocol = t->protocol, .family = t->family};
	return port > 0 && parse_address(address, ret->address);
}

static int read_table(const struct table *t, struct listener *l, size_t *n)
{
	_cleanup_fclose_ FILE *in = fopen(t->path, "re");
	char line[512];

	/* A kernel without IPv6 has no such table. */
	if (!in)
		return errno == ENOENT ? 0 : -errno;
	if (!fgets(line, sizeof(line), in))
		return 0;
	while (*n < AGENT_PORTS_MAX && fgets(line, sizeof(line), in)) {
		int r = parse_line(line, t, &l[*n].port);

		*n += (size_t)r;
		/* Of TCP those that listen come first (tcp_seq_start()): of ten thousand connections not one is looked at. */
		if (r == 0 && t->protocol == IPPROTO_TCP)
			break;
	}
	return 0;
}

static int by_port(const void *a, const void *b)
{
	const struct agent_port *x = &((const struct listener *)a)->port,
				*y = &((const struct listener *)b)->port;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (x->protocol != y->protocol)
		return x->protocol < y->protocol ? -1 : 1;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	if (memcmp(x->address, y->address, sizeof(x->address)) != 0)
		return memcmp(x->address, y->address, sizeof(x->address));
	return x->socket < y->socket ? -1 : x->socket > y->socket;
}

int listeners_read(bool udp, struct listener **ret, size_t *ret_n)
{
	_cleanup_free_ struct listener *l = calloc(AGENT_PORTS_MAX, sizeof(*l));
	size_t n = 0;
	int r = l ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(tables); i++)
		if (udp || tables[i].protocol == IPPROTO_TCP)
			r = read_table(&tables[i], l, &n);
	if (r < 0)
		return r;
	qsort(l, n, sizeof(*l), by_port);
	*ret = TAKE_PTR(l);
	*ret_n = n;
	return 0;
}

/* What FILE of the process says, NULs as blanks, cut. */
static void read_word(int dir_fd, const char *file, char *ret, size_t size)
{
	_cleanup_close_ int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	n = n < 0 ? 0 : n;
	for (ssize_t i = 0; i < n; i++)
		if (ret[i] == '\0')
			ret[i] = ' ';
	/* What ends the file is not of the word. */
	while (n > 0 && (ret[n - 1] == ' ' || ret[n - 1] == '\n'))
		n--;
	ret[n] = '\0';
}

static void own(struct listener *l, size_t n, uint64_t inode, uint32_t pid, int proc_fd)
{
	for (size_t i = 0; i < n; i++)
		if (l[i].port.socket == inode && l[i].port.pid == 0) {
			l[i].port.pid = pid;
			read_word(proc_fd, "comm", l[i].comm, sizeof(l[i].comm));
			read_word(proc_fd, "cmdline", l[i].command, sizeof(l[i].command));
		}
}

static void look_at(struct listener *l, size_t n, int proc, const char *pid_text, uint32_t pid)
{
	_cleanup_close_ int dir_fd = openat(proc, pid_text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = NULL;
	int fds = dir_fd < 0 ? -1 : openat(dir_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;

	dir = fds < 0 ? NULL : fdopendir(fds);
	if (!dir)
		close_fd(fds);
	while (dir && (entry = readdir(dir))) {
		unsigned long long inode;
		char target[64];
		ssize_t k = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (k <= 0)
			continue;
		target[k] = '\0';
		if (sscanf(target, "socket:[%llu]", &inode) == 1)
			own(l, n, inode, pid, dir_fd);
	}
}

static bool all_owned(const struct listener *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (l[i].port.pid == 0)
			return false;
	return true;
}

void listeners_find_owners(struct listener *l, size_t n)
{
	_cleanup_close_ int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ uint32_t *pids = NULL;
	size_t count = proc < 0 ? 0 : processes_list(proc, &pids);

	for (size_t i = 0; i < count && !all_owned(l, n); i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", pids[i]);
		look_at(l, n, proc, name, pids[i]);
	}
}
