/*
 * processvm: in QEMU's place, a VMM whose guest is a process of this machine. What banger itself costs is seen without an emulator's time: its monitor says that the
 * VM runs, and the agent's port goes, as bytes, to the socket GUEST, where a `banger-guest agent` is.
 *
 * The helper starts it as it does QEMU, where nothing but /usr/lib and the firmware's folders is seen: GUEST lies in one of these.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"

#define GUEST "/usr/share/seabios/guest"

struct way {
	int from, to;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* One way of the port. Its end is the VM's. */
static void *carry(void *data)
{
	const struct way *w = data;
	char buf[65536];
	ssize_t n;

	while ((n = read(w->from, buf, sizeof(buf))) > 0)
		if (io_write_full(w->to, buf, (size_t)n) < 0)
			break;
	exit(0);
}

static void start_port(int host)
{
	static struct way ways[2];
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = GUEST};
	int guest = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	if (guest < 0 || connect(guest, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(GUEST);
	ways[0] = (struct way){host, guest};
	ways[1] = (struct way){guest, host};
	for (size_t i = 0; i < 2; i++)
		if (pthread_create(&thread, NULL, carry, &ways[i]) != 0)
			die("thread");
}

/* A monitor's commands, each of a line, as QEMU takes them from here. False: it has closed. */
static bool answer(int fd)
{
	char line[4096];
	ssize_t n = recv(fd, line, sizeof(line) - 1, 0);

	if (n <= 0)
		return false;
	line[n] = '\0';
	for (const char *at = line; (at = strchr(at, '\n')); at++)
		dprintf(fd, "{\"return\":{%s}}\n",
			strstr(line, "query-status") ? "\"status\":\"running\"" : "");
	return true;
}

static void greet(int fd)
{
	dprintf(fd, "{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n");
}

/* The descriptor of the socket that the command line names after PREFIX; -1: none. */
static int find_socket(char **argv, const char *prefix)
{
	size_t n = strlen(prefix);
	uint64_t fd;

	for (; *argv; argv++) {
		_cleanup_free_ char *digits = NULL;

		if (strncmp(*argv, prefix, n) != 0)
			continue;
		digits = strndup(*argv + n, strcspn(*argv + n, ","));
		return digits && parse_u64(digits, 0, INT32_MAX, &fd) == 0 ? (int)fd : -1;
	}
	return -1;
}

int main(int argc, char **argv)
{
	const int qmp = find_socket(argv, "socket,id=qmp,fd="),
		  events = find_socket(argv, "socket,id=events,fd="),
		  port = find_socket(argv, "socket,id=agent,fd=");
	/* Of the monitor's callers one at a time, as QEMU has it; and one of the port, for good. */
	struct pollfd p[] = {{qmp, POLLIN, 0}, {-1, POLLIN, 0}, {events, POLLIN, 0}, {port, POLLIN, 0}};

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("QEMU emulator version 7.2.0 (a process)");
		return 0;
	}
	if (qmp < 0 || events < 0 || port < 0) {
		fprintf(stderr, "processvm: not the command line that banger gives QEMU\n");
		return 1;
	}
	greet(events);
	for (;;) {
		if (poll(p, ELEMENTSOF(p), -1) < 0)
			die("poll");
		if (p[0].revents) {
			p[1].fd = accept4(qmp, NULL, NULL, SOCK_CLOEXEC);
			greet(p[1].fd);
		} else if (p[1].revents && !answer(p[1].fd)) {
			close(p[1].fd);
			p[1].fd = -1;
		}
		p[0].fd = p[1].fd < 0 ? qmp : -1;
		if (p[2].revents && !answer(events))
			return 0;
		if (p[3].revents) {
			start_port(accept4(port, NULL, NULL, SOCK_CLOEXEC));
			p[3].fd = -1;
		}
	}
}
