/*
 * processvm: in QEMU's place, a VMM whose guest is a process of this machine (tests/lib/process_guests.sh). Its monitor says that the VM runs; the agent's port goes,
 * as bytes, to the guest's socket, in one of the few folders that a VMM can see.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"

#define DOORS    "/usr/share/seabios/"
#define PATIENCE 3000 /* for the guest to be made: so often 10 ms */

struct port {
	int host, guest;
	atomic_bool host_gone;
};

static const char *vm; /* the number that its folder has in the daemon's */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void carry(int from, int to)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (io_write_full(to, buf, (size_t)n) < 0)
			break;
}

/* What the host says, to the guest. */
static void *carry_in(void *data)
{
	struct port *p = data;

	carry(p->host, p->guest);
	p->host_gone = true;
	shutdown(p->guest, SHUT_RDWR);
	return NULL;
}

static int connect_guest(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), DOORS "%s", vm);
	for (int i = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		if (i == PATIENCE)
			die(address.sun_path);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return fd;
}

/* The port's hosts, one after the other, until it is the guest that goes: that is the VM's end. */
static void *serve_port(void *data)
{
	const int listener = (int)(intptr_t)data;
	struct port p = {0};
	pthread_t thread;

	while ((p.host = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		p.guest = connect_guest();
		p.host_gone = false;
		if (pthread_create(&thread, NULL, carry_in, &p) != 0)
			die("thread");
		carry(p.guest, p.host);
		if (!p.host_gone)
			exit(0);
		pthread_join(thread, NULL);
		close(p.host);
		close(p.guest);
	}
	die("port");
	return NULL;
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
	if (strstr(line, "system_powerdown"))
		exit(0);
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
	/* Of the monitor's callers one at a time, as QEMU has it. */
	struct pollfd p[] = {{qmp, POLLIN, 0}, {-1, POLLIN, 0}, {events, POLLIN, 0}};
	pthread_t thread;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("QEMU emulator version 7.2.0 (a process)");
		return 0;
	}
	/* -name banger-VM */
	vm = argc > 2 ? strrchr(argv[2], '-') : NULL;
	if (qmp < 0 || events < 0 || port < 0 || !vm++) {
		fprintf(stderr, "processvm: not the command line that banger gives QEMU\n");
		return 1;
	}
	if (pthread_create(&thread, NULL, serve_port, (void *)(intptr_t)port) != 0)
		die("thread");
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
	}
}
