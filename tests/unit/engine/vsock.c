/* The agent over Firecracker's vsock socket: a guest that isn't up yet, one that answers, and what is neither. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "banger/agent_proto.h"
#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "engine/engine.h"

#define LONG_MSEC 60000
#define BOOT_ID   "01234567-89ab-cdef-0123-456789abcdef"

static const uint8_t token[AGENT_TOKEN] = "the one that this VM was given.";

/* Answers that are no text. */
static const char DROP[] = "drop", CLOSE[] = "close", HANG[] = "hang", CANCEL[] = "cancel", END[] = "end";

struct server {
	char dir_name[32];
	int dir, listener, quit;
	int cancel, vmm; /* readable: cancelled; the VMM has ended */
	pthread_t thread;
	const char *const *script; /* the answers to CONNECT, one a connection */
	unsigned connections;
};

static bool wait_for(struct server *s, int fd)
{
	struct pollfd p[] = {{.fd = s->quit, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

	return poll(p, 2, -1) > 0 && !p[0].revents;
}

/* What the guest's agent says to a HELLO. */
static void greet(int fd)
{
	struct {
		struct agent_header header;
		uint32_t version;
		uint8_t cookie[AGENT_COOKIE];
		uint8_t token[AGENT_TOKEN];
	} __attribute__((packed)) hello;
	struct {
		struct agent_header header;
		uint32_t version;
		uint8_t cookie[AGENT_COOKIE];
		uint64_t boot_usec;
		char boot_id[36];
	} __attribute__((packed)) answer = {.header = {.type = AGENT_HELLO}, .version = AGENT_VERSION};

	assert_int_equal(io_read_full(fd, &hello, sizeof(hello)), 0);
	assert_int_equal(hello.header.type, AGENT_HELLO);
	assert_int_equal(hello.header.length, sizeof(hello) - sizeof(hello.header));
	assert_memory_equal(hello.token, token, AGENT_TOKEN);
	answer.header.length = sizeof(answer) - sizeof(answer.header);
	memcpy(answer.cookie, hello.cookie, AGENT_COOKIE);
	memcpy(answer.boot_id, BOOT_ID, 36);
	assert_int_equal(io_write_full(fd, &answer, sizeof(answer)), 0);
}

static void converse(struct server *s, int fd)
{
	const char *text = *s->script++;
	char line[64] = "", byte;

	if (!wait_for(s, fd))
		return;
	/* Firecracker takes what one read gives it. */
	assert_true(recv(fd, line, sizeof(line) - 1, 0) > 0);
	assert_string_equal(line, "CONNECT 1000\n");
	if (text == CLOSE)
		return;
	if (text == DROP) {
		assert_int_equal(io_write_full(fd, "OK 1\n", 5), 0);
		return;
	}
	if (text == CANCEL)
		assert_int_equal(eventfd_write(s->cancel, 1), 0);
	if (text == END)
		assert_int_equal(eventfd_write(s->vmm, 1), 0);
	if (text == HANG || text == CANCEL || text == END) {
		while (wait_for(s, fd) && recv(fd, &byte, 1, 0) > 0)
			continue;
		return;
	}
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	if (strcmp(text, "OK 1073741824\n") == 0)
		greet(fd);
	while (wait_for(s, fd) && recv(fd, &byte, 1, 0) > 0)
		continue;
}

static void *serve(void *user)
{
	struct server *s = user;

	while (*s->script && wait_for(s, s->listener)) {
		_cleanup_close_ int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

		s->connections++;
		converse(s, fd);
	}
	return NULL;
}

/* What engine_wait_agent() says while a server goes by SCRIPT. */
static int run(const char *const *script, unsigned msec, unsigned *ret_connections, struct err *e)
{
	struct server s = {.dir_name = "/tmp/banger-vs.XXXXXX", .script = script};
	char boot_id[40] = "";
	int fd = -EBADF, r;

	assert_non_null(mkdtemp(s.dir_name));
	s.dir = open(s.dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s.quit = eventfd(0, EFD_CLOEXEC);
	s.cancel = eventfd(0, EFD_CLOEXEC);
	s.vmm = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(io_replace_file(s.dir, ENGINE_TOKEN, token, sizeof(token), 0600, NULL), 0);
	assert_int_equal(mkdirat(s.dir, ENGINE_JAIL, 0700), 0);
	assert_int_equal(engine_listen(s.dir, ENGINE_VSOCK_SOCKET, &s.listener, NULL), 0);
	assert_int_equal(pthread_create(&s.thread, NULL, serve, &s), 0);
	r = engine_wait_agent(s.dir, s.vmm, msec, s.cancel, &fd, boot_id, e);
	assert_int_equal(fd >= 0, r == 0);
	if (r == 0)
		assert_string_equal(boot_id, BOOT_ID);
	close_fd(fd);
	assert_int_equal(eventfd_write(s.quit, 1), 0);
	assert_int_equal(pthread_join(s.thread, NULL), 0);
	*ret_connections = s.connections;
	close_fd(s.listener);
	close_fd(s.quit);
	close_fd(s.cancel);
	close_fd(s.vmm);
	unlinkat(s.dir, ENGINE_TOKEN, 0);
	unlinkat(s.dir, ENGINE_VSOCK_SOCKET, 0);
	unlinkat(s.dir, ENGINE_JAIL, AT_REMOVEDIR);
	close_fd(s.dir);
	assert_int_equal(rmdir(s.dir_name), 0);
	return r;
}

static void cases(void **state)
{
	static const struct {
		const char *script[5];
		unsigned msec;
		int code;
		unsigned connections;
		const char *text;
	} rows[] = {
		{{"OK 1073741824\n"}, LONG_MSEC, 0, 1, NULL},
		/* The guest's agent comes later. */
		{{CLOSE, CLOSE, CLOSE, "OK 1073741824\n"}, LONG_MSEC, 0, 4, NULL},
		/* It had to make room for others, who had come later. */
		{{DROP, DROP, "OK 1073741824\n"}, LONG_MSEC, 0, 3, NULL},
		{{"OK\n"}, LONG_MSEC, -EPROTO, 1, "not Firecracker"},
		{{"OK x\n"}, LONG_MSEC, -EPROTO, 1, "not Firecracker"},
		{{"OK 99999999999\n"}, LONG_MSEC, -EPROTO, 1, "not Firecracker"},
		{{"NO 1\n"}, LONG_MSEC, -EPROTO, 1, "not Firecracker"},
		{{"OK 1111111111111111111111111111111111111111"}, LONG_MSEC, -EPROTO, 1, "not Firecracker"},
		{{"OK 10"}, 50, -ETIMEDOUT, 1, "did not answer in time"},
		{{HANG}, 50, -ETIMEDOUT, 1, "did not answer in time"},
		{{CLOSE, CANCEL}, LONG_MSEC, -EINTR, 2, "cancelled"},
		{{CLOSE, END}, LONG_MSEC, -ESRCH, 2, "the VMM ended"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		unsigned connections;
		int r = run(rows[i].script, rows[i].msec, &connections, &e);

		if (r != rows[i].code || connections != rows[i].connections)
			fail_msg("row %zu: %d after %u connections: %s", i, r, connections, err_text(&e));
		if (rows[i].text && !strstr(err_text(&e), rows[i].text))
			fail_msg("row %zu: %s", i, err_text(&e));
	}
}

/* Nobody listens any more, or never did. */
static void nobody(void **state)
{
	char dir_name[] = "/tmp/banger-vs.XXXXXX", boot_id[40];
	_cleanup_err_ struct err e = {0};
	int dir, listener, fd;

	(void)state;
	assert_non_null(mkdtemp(dir_name));
	dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(engine_wait_agent(dir, -1, LONG_MSEC, -1, &fd, boot_id, &e), -ENOENT);
	assert_int_equal(mkdirat(dir, ENGINE_JAIL, 0700), 0);
	assert_int_equal(engine_listen(dir, ENGINE_VSOCK_SOCKET, &listener, NULL), 0);
	close_fd(listener);
	assert_int_equal(engine_wait_agent(dir, -1, 50, -1, &fd, boot_id, &e), -ETIMEDOUT);
	unlinkat(dir, ENGINE_VSOCK_SOCKET, 0);
	unlinkat(dir, ENGINE_JAIL, AT_REMOVEDIR);
	close_fd(dir);
	assert_int_equal(rmdir(dir_name), 0);
}

/* What is in a VM's folder about its agent must be what a launch has put there. */
static void folders(void **state)
{
	static const struct {
		const char *file, *text;
		int code;
		const char *channel;
	} rows[] = {
		{ENGINE_CID, "", -EINVAL, "virtio-serial"},
		{ENGINE_CID, "2", -ERANGE, "virtio-serial"},
		{ENGINE_CID, "4294967295", -ERANGE, "virtio-serial"},
		{ENGINE_CID, "12345678901234567", -EFBIG, "virtio-serial"},
		{ENGINE_TOKEN, "short", -EIO, "virtio-serial"},
		/* The guest that has it isn't on this host, if anybody has. */
		{ENGINE_CID, "4294967294", -EINTR, "vsock 4294967294"},
	};
	char dir_name[] = "/tmp/banger-vs.XXXXXX", boot_id[40], channel[ENGINE_CHANNEL];
	int dir, cancel, fd;

	(void)state;
	assert_non_null(mkdtemp(dir_name));
	dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cancel = eventfd(1, EFD_CLOEXEC);
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		assert_int_equal(
			io_replace_file(dir, rows[i].file, rows[i].text, strlen(rows[i].text), 0600, NULL),
			0);
		if (rows[i].code != -EINTR || engine_has_vsock())
			assert_int_equal(engine_wait_agent(dir, -1, LONG_MSEC, cancel, &fd, boot_id, NULL),
				rows[i].code);
		engine_channel(dir, channel);
		assert_string_equal(channel, rows[i].channel);
		unlinkat(dir, rows[i].file, 0);
	}
	assert_int_equal(engine_keep_cid(dir, 0, NULL), 0);
	engine_channel(dir, channel);
	assert_string_equal(channel, "virtio-serial");
	assert_int_equal(engine_keep_cid(dir, 77, NULL), 0);
	engine_channel(dir, channel);
	assert_string_equal(channel, "vsock 77");
	unlinkat(dir, ENGINE_CID, 0);
	close_fd(cancel);
	close_fd(dir);
	assert_int_equal(rmdir(dir_name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases),
		cmocka_unit_test(nobody),
		cmocka_unit_test(folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
