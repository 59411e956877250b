/* Firecracker's API against a server that says what a script has: the calls and their bodies, refusals, and answers of a hostile VMM. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "engine/fc_machine.h"
#include "engine/engines.h"

#define REQUEST_MAX 16384

/* Answers that are no text. */
static const char HANG[] = "hang", CLOSE[] = "close", CANCEL[] = "cancel", HEADERS[] = "headers",
		  BODY[] = "body", DRIP[] = "drip";

#define NO_CONTENT "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"
#define JSON(status, text)                                                                                   \
	"HTTP/1.1 " status " \r\nServer: Firecracker API\r\nConnection: close\r\nContent-Type: "             \
	"application/json\r\n\r\n" text

struct server {
	char dir_name[32];
	int dir, listener, quit;
	pthread_t thread;
	const char *const *script; /* then NO_CONTENT for ever */
	struct op *op;
	unsigned connections;
	char *log; /* METHOD PATH BODY, a line each */
	size_t log_size;
	FILE *log_file;
};

/* False: end, or nothing more to hear. */
static bool wait_for(struct server *s, int fd, short events)
{
	struct pollfd p[] = {{.fd = s->quit, .events = POLLIN}, {.fd = fd, .events = events}};

	return poll(p, 2, -1) > 0 && !p[0].revents;
}

/* One request, into the log. */
static bool hear(struct server *s, int fd)
{
	char buf[REQUEST_MAX + 1], *end = NULL, *length;
	size_t have = 0, body = 0;

	while (!end || have < (size_t)(end + 4 - buf) + body) {
		ssize_t n;

		if (have == REQUEST_MAX || !wait_for(s, fd, POLLIN))
			return false;
		n = recv(fd, buf + have, REQUEST_MAX - have, 0);
		if (n <= 0)
			return false;
		have += (size_t)n;
		buf[have] = '\0';
		end = strstr(buf, "\r\n\r\n");
		length = strcasestr(buf, "Content-Length: ");
		if (end && length && length < end)
			body = strtoul(length + strlen("Content-Length: "), NULL, 10);
	}
	/* What its HTTP server doesn't know. */
	assert_null(strcasestr(buf, "Transfer-Encoding"));
	assert_null(strcasestr(buf, "Expect:"));
	*strstr(buf, " HTTP/1.1\r\n") = '\0';
	fprintf(s->log_file, "%s%s%.*s\n", buf, body ? " " : "", (int)body, end + 4);
	fflush(s->log_file);
	return true;
}

static bool say(struct server *s, int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t k;

		if (!wait_for(s, fd, POLLOUT))
			return false;
		k = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k < 0 && errno != EAGAIN)
			return false;
		if (k > 0) {
			text += k;
			n -= (size_t)k;
		}
	}
	return true;
}

/* Until the other end has enough. */
static void flood(struct server *s, int fd, const char *head, const char *unit)
{
	if (say(s, fd, head, strlen(head)))
		while (say(s, fd, unit, strlen(unit)))
			continue;
}

static void drip(struct server *s, int fd)
{
	struct pollfd p = {.fd = s->quit, .events = POLLIN};

	do
		if (!say(s, fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
			return;
	while (poll(&p, 1, 5) == 0);
}

static bool answer(struct server *s, int fd)
{
	const char *text = s->script && *s->script ? *s->script++ : NO_CONTENT;
	char byte;

	if (text == CLOSE)
		return false;
	if (text == CANCEL)
		op_cancel(s->op);
	if (text == HANG || text == CANCEL) {
		/* Until the client gives it up. */
		while (wait_for(s, fd, POLLIN) && recv(fd, &byte, 1, 0) > 0)
			continue;
		return false;
	}
	if (text == HEADERS)
		flood(s, fd, "HTTP/1.1 200 OK\r\n",
			"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	else if (text == BODY)
		flood(s, fd, "HTTP/1.1 200 OK\r\n\r\n{\"a\": \"",
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	else if (text == DRIP)
		drip(s, fd);
	else
		return say(s, fd, text, strlen(text)) && !strstr(text, "Connection: close");
	return false;
}

static void *serve(void *user)
{
	struct server *s = user;

	while (wait_for(s, s->listener, POLLIN)) {
		_cleanup_close_ int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

		s->connections++;
		while (hear(s, fd) && answer(s, fd))
			continue;
	}
	return NULL;
}

static void begin_dir(struct server *s)
{
	*s = (struct server){.dir_name = "/tmp/banger-fc.XXXXXX", .listener = -EBADF};
	assert_non_null(mkdtemp(s->dir_name));
	s->dir = open(s->dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->dir >= 0);
	assert_int_equal(mkdirat(s->dir, ENGINE_JAIL, 0700), 0);
}

static void begin(struct server *s, const char *const *script)
{
	begin_dir(s);
	s->script = script;
	s->quit = eventfd(0, EFD_CLOEXEC);
	s->log_file = open_memstream(&s->log, &s->log_size);
	assert_non_null(s->log_file);
	assert_int_equal(engine_listen(s->dir, ENGINE_API_SOCKET, &s->listener, NULL), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end_dir(struct server *s)
{
	unlinkat(s->dir, ENGINE_API_SOCKET, 0);
	unlinkat(s->dir, ENGINE_JAIL, AT_REMOVEDIR);
	close_fd(s->dir);
	assert_int_equal(rmdir(s->dir_name), 0);
}

/* What was heard stays in s->log until end(). */
static void finish(struct server *s)
{
	assert_int_equal(eventfd_write(s->quit, 1), 0);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	close_fd(s->quit);
	close_fd(s->listener);
	fclose(s->log_file);
}

static void end(struct server *s)
{
	end_dir(s);
	free(s->log);
}

/* --- what is said --- */

static const struct fc_disk disks[] = {
	{"image", "/disks/image", true, {{0}, {0}}},
	{"overlay", "/disks/overlay", false, {{1048576, 4194304, 100}, {0}}},
	{"work", "/disks/work", false, {{0, 5, 100}, {200, 0, 1000}}},
};
static const struct fc_machine whole = {
	.memory = (512ull << 20) + 4096,
	.vcpus = 2,
	.kernel = "/vmlinux",
	.initrd = "/initramfs",
	.disks = disks,
	.disk_count = ELEMENTSOF(disks),
	.tap = "bgr000007",
	.mac = "52:54:00:00:00:07",
	.receive = {.bandwidth = {125000, 0, 100}},
	.transmit = {.ops = {100, 50, 100}},
	.vsock = "/vsock",
	.cid = 7,
	.balloon_stats_sec = 5,
	.log = "/log",
	.metrics = "/metrics",
	.serial = "/dev/ttyS0",
};
static const struct fc_machine least = {.memory = 128ull << 20, .vcpus = 1, .kernel = "/vmlinux"};

#define BOOT_ARGS                                                                                            \
	"\"boot_args\":\"console=ttyS0 quiet reboot=k panic=1 8250.nr_uarts=1 i8042.noaux i8042.nomux "      \
	"i8042.dumbkbd cryptomgr.notests systemd.getty_auto=no banger.off=reset\"}\n"
#define LOG     "PUT /logger {\"log_path\":\"\\/log\",\"level\":\"Error\",\"show_level\":true}\n"
#define METRICS "PUT /metrics {\"metrics_path\":\"\\/metrics\"}\n"
#define SERIAL  "PUT /serial {\"serial_out_path\":\"\\/dev\\/ttyS0\"}\n"
#define MACHINE                                                                                              \
	"PUT /machine-config {\"vcpu_count\":2,\"mem_size_mib\":512}\n"                                      \
	"PUT /boot-source {\"kernel_image_path\":\"\\/vmlinux\",\"initrd_path\":\"\\/initramfs\"," BOOT_ARGS \
	"PUT /network-interfaces/net {\"iface_id\":\"net\",\"host_dev_name\":\"bgr000007\","                 \
	"\"guest_mac\":\"52:54:00:00:00:07\",\"rx_rate_limiter\":{\"bandwidth\":{\"size\":125000,"           \
	"\"refill_time\":100}},\"tx_rate_limiter\":{\"ops\":{\"size\":100,\"one_time_burst\":50,"            \
	"\"refill_time\":100}}}\n"                                                                           \
	"PUT /vsock {\"guest_cid\":7,\"uds_path\":\"\\/vsock\"}\n"                                           \
	"PUT /entropy {}\n"
#define DISKS                                                                                                \
	"PUT /drives/image {\"drive_id\":\"image\",\"path_on_host\":\"\\/disks\\/image\","                   \
	"\"is_root_device\":false,\"is_read_only\":true,\"cache_type\":\"Unsafe\"}\n"                        \
	"PUT /drives/overlay {\"drive_id\":\"overlay\",\"path_on_host\":\"\\/disks\\/overlay\","             \
	"\"is_root_device\":false,\"is_read_only\":false,\"cache_type\":\"Writeback\",\"rate_limiter\":"     \
	"{\"bandwidth\":{\"size\":1048576,\"one_time_burst\":4194304,\"refill_time\":100}}}\n"               \
	"PUT /drives/work {\"drive_id\":\"work\",\"path_on_host\":\"\\/disks\\/work\","                      \
	"\"is_root_device\":false,\"is_read_only\":false,\"cache_type\":\"Writeback\",\"rate_limiter\":"     \
	"{\"ops\":{\"size\":200,\"refill_time\":1000}}}\n"

static void sequence(void **state)
{
	static const struct {
		struct fc_version version;
		const struct fc_machine *machine;
		const char *expected;
	} cases[] = {
		{{1, 16, 1}, &whole,
			LOG METRICS SERIAL MACHINE
			"PUT /balloon "
			"{\"amount_mib\":0,\"deflate_on_oom\":true,\"stats_polling_interval_s\":5,"
			"\"free_page_reporting\":true}\n" DISKS},
		/* Newer parts are refused by older releases. */
		{{1, 13, 0}, &whole,
			LOG METRICS MACHINE "PUT /balloon {\"amount_mib\":0,\"deflate_on_oom\":true,"
					    "\"stats_polling_interval_s\":5}\n" DISKS},
		{{2, 0, 0}, &least,
			"PUT /machine-config {\"vcpu_count\":1,\"mem_size_mib\":128}\n"
			"PUT /boot-source {\"kernel_image_path\":\"\\/vmlinux\"," BOOT_ARGS
			"PUT /entropy {}\n"
			"PUT /balloon "
			"{\"amount_mib\":0,\"deflate_on_oom\":true,\"stats_polling_interval_s\":0,"
			"\"free_page_reporting\":true}\n"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_(fc_api_freep) struct fc_api *a = NULL;
		_cleanup_err_ struct err e = {0};
		struct server s;

		begin(&s, NULL);
		assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
		assert_int_equal(fc_machine_configure(a, &cases[i].version, cases[i].machine, &e), 0);
		assert_int_equal(fc_machine_start(a, &e), 0);
		finish(&s);
		assert_memory_equal(s.log, cases[i].expected, strlen(cases[i].expected));
		assert_string_equal(s.log + strlen(cases[i].expected),
			"PUT /actions {\"action_type\":\"InstanceStart\"}\n");
		/* All of it over one. */
		assert_int_equal(s.connections, 1);
		end(&s);
	}
}

/* After a refusal nothing more is said. */
static void refusal(void **state)
{
	static const char *const script[] = {NO_CONTENT,
		JSON("400", "{\"fault_message\":\"The kernel file cannot be opened: /vmlinux\"}"), NULL};
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	_cleanup_err_ struct err e = {0};
	struct server s;

	(void)state;
	begin(&s, script);
	assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
	assert_int_equal(fc_machine_configure(a, &(struct fc_version){1, 16, 0}, &least, &e), -EIO);
	assert_string_equal(err_text(&e),
		"Firecracker refused PUT /boot-source: The kernel file cannot be opened: "
		"/vmlinux (status 400)");
	finish(&s);
	assert_string_equal(s.log, "PUT /machine-config {\"vcpu_count\":1,\"mem_size_mib\":128}\n"
				   "PUT /boot-source {\"kernel_image_path\":\"\\/vmlinux\"," BOOT_ARGS);
	end(&s);
}

/* --- what is answered --- */

static const char deep[] = JSON("200",
	"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");

static void answers(void **state)
{
	static const struct {
		const char *answer;
		int code;
		const char *text; /* part of the error */
	} cases[] = {
		{JSON("200", "{\"a\": 1}"), 0, NULL},
		{NO_CONTENT, 0, NULL},
		{JSON("400", "{\"fault_message\":\"No.\"}"), -EIO, "refused GET /x: No. (status 400)"},
		/* Its HTTP server's own, a newline inside of the string. */
		{JSON("400", "{ \"error\": \"Invalid header.\nAll previous unanswered requests will be "
			     "dropped.\" }"),
			-EIO,
			"Invalid header. All previous unanswered requests will be dropped. (status 400)"},
		{JSON("503", "{ \"error\": \"Too many open connections\" }"), -EIO,
			"Too many open connections (status 503)"},
		{JSON("413", ""), -EIO, "it doesn't say why (status 413)"},
		{JSON("400", "just words\n"), -EIO, "just words (status 400)"},
		{JSON("400", "{\"fault_message\":{\"a\":1}}"), -EIO, "{\"fault_message\":{\"a\":1}}"},
		{JSON("400", "{\"fault_message\":\"\\u001b[2J\\u009b\xff!\"}"), -EIO, "?!"},
		{JSON("301", ""), -EIO, "status 301"},
		{JSON("200", "garbage"), -EPROTO, "no JSON"},
		{deep, -EPROTO, "no JSON"},
		{"\x16\x03\x01\x02\x01\x01\xfc\x03\x03 Connection: close", -EPROTO, "is none"},
		{"HTTP/1.1 200\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{}", -EPIPE,
			"no whole answer"},
		{"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n", -EPIPE,
			"no whole answer"},
		{CLOSE, -EPIPE, "no whole answer"},
		{HEADERS, -EFBIG, "too long"},
		{BODY, -EFBIG, "too long"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *script[] = {cases[i].answer, NULL};
		_cleanup_(fc_api_freep) struct fc_api *a = NULL;
		_cleanup_err_ struct err e = {0};
		struct server s;
		json_object *o = NULL;

		begin(&s, script);
		assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
		if (fc_api_call(a, "GET", "/x", NULL, FC_MSEC, &o, &e) != cases[i].code)
			fail_msg("case %zu: %d, %s", i, e.code, err_text(&e));
		if (cases[i].text && !strstr(err_text(&e), cases[i].text))
			fail_msg("case %zu: %s", i, err_text(&e));
		for (const char *c = err_text(&e); *c; c++)
			assert_in_range((unsigned char)*c, ' ', '~');
		assert_int_equal(o != NULL, i == 0);
		json_object_put(o);
		/* The next call is none the worse for it. */
		assert_int_equal(fc_api_call(a, "GET", "/y", NULL, FC_MSEC, NULL, &e), 0);
		finish(&s);
		assert_string_equal(s.log, "GET /x\nGET /y\n");
		end(&s);
	}
}

static void silence(void **state)
{
	static const char *const mute[] = {HANG, DRIP, CANCEL, NULL};
	_cleanup_(fc_api_freep) struct fc_api *a = NULL, *b = NULL;
	_cleanup_err_ struct err e = {0};
	struct server s;
	struct ops *ops;
	uint64_t began;

	(void)state;
	assert_int_equal(ops_new(1, &ops, NULL), 0);
	begin(&s, mute);
	assert_int_equal(op_begin(ops, "start", "vms/a", &s.op, NULL), 0);
	assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
	assert_int_equal(fc_api_call(a, "GET", "/", NULL, 50, NULL, &e), -ETIMEDOUT);
	assert_string_equal(err_text(&e), "Firecracker doesn't answer GET /");
	/* Saying something isn't answering. */
	assert_int_equal(fc_api_call(a, "GET", "/", NULL, 50, NULL, &e), -ETIMEDOUT);
	assert_int_equal(fc_api_new(s.dir, s.op, &b, NULL), 0);
	began = io_now_usec();
	assert_int_equal(fc_api_call(b, "GET", "/", NULL, 60000, NULL, &e), -EINTR);
	assert_true(io_now_usec() - began < 30000000);
	assert_string_equal(err_text(&e), "cancelled");
	finish(&s);
	op_end(s.op);
	op_unref(s.op);
	ops_free(ops);
	end(&s);
}

/* --- before it answers --- */

static int child(int *ret_pipe)
{
	int pair[2], pidfd;
	pid_t pid;
	char byte;

	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close_fd(pair[1]);
		(void)!read(pair[0], &byte, 1);
		_exit(0);
	}
	close_fd(pair[0]);
	*ret_pipe = pair[1];
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(pidfd >= 0);
	return pidfd;
}

static void *listen_late(void *user)
{
	struct server *s = user;

	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	assert_int_equal(engine_listen(s->dir, ENGINE_API_SOCKET, &s->listener, NULL), 0);
	return NULL;
}

static void waiting(void **state)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL, *b = NULL;
	_cleanup_err_ struct err e = {0};
	struct server s;
	struct ops *ops;
	int go, pidfd = child(&go);

	(void)state;
	assert_int_equal(ops_new(1, &ops, NULL), 0);
	begin_dir(&s);
	assert_int_equal(op_begin(ops, "start", "vms/a", &s.op, NULL), 0);
	assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
	assert_int_equal(fc_api_new(s.dir, s.op, &b, NULL), 0);
	assert_int_equal(fc_api_call(a, "GET", "/", NULL, FC_MSEC, NULL, &e), -ENOENT);
	assert_int_equal(fc_api_wait(a, pidfd, 20, &e), -ETIMEDOUT);
	assert_int_equal(pthread_create(&s.thread, NULL, listen_late, &s), 0);
	assert_int_equal(fc_api_wait(a, pidfd, 60000, &e), 0);
	assert_int_equal(pthread_join(s.thread, NULL), 0);
	/* One that another process has left. */
	s.listener = close_fd(s.listener);
	assert_int_equal(fc_api_call(a, "GET", "/", NULL, FC_MSEC, NULL, &e), -ECONNREFUSED);
	assert_int_equal(fc_api_wait(a, pidfd, 20, &e), -ETIMEDOUT);
	op_cancel(s.op);
	assert_int_equal(fc_api_wait(b, pidfd, 60000, &e), -EINTR);
	close_fd(go);
	assert_int_equal(fc_api_wait(a, pidfd, 60000, &e), -ESRCH);
	assert_int_equal(waitpid(-1, NULL, 0) > 0, 1);
	close_fd(pidfd);
	op_end(s.op);
	op_unref(s.op);
	ops_free(ops);
	end_dir(&s);
}

/* --- versions --- */

static void versions(void **state)
{
	static const char *const bad[] = {"", "1", "1.5", "1.5.", "a.b.c", "1.5.x", "1.5.0.1", "-1.5.0",
		"1..5", "99999.1.1", " 1.5.0", "1.5.0 "};
	struct fc_version v = {7, 7, 7};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(fc_version_parse(bad[i], &v), -EINVAL);
	assert_int_equal(v.patch, 7);
	assert_int_equal(fc_version_parse("1.17.0-dev", &v), 0);
	assert_int_equal(v.minor, 17);
	assert_true(fc_version_is(&v, 1, 17));
	assert_true(fc_version_is(&v, 0, 99));
	assert_false(fc_version_is(&v, 1, 18));
	assert_false(fc_version_is(&v, 2, 0));
}

static void versions_of_use(void **state)
{
	static const struct {
		const char *vmm, *jailer, *why; /* NULL: of use */
	} rows[] = {
		{"1.16.1", "1.16.1", NULL},
		{"1.14.1", "1.14.1", NULL},
		{"1.13.2", "1.13.2", NULL},
		{"2.0.0", "2.0.0", NULL},
		{"1.14.0", "1.14.0", "CVE-2026-1386"},
		{"1.13.1", "1.13.1", "CVE-2026-1386"},
		{"1.12.1", "1.12.1", "CVE-2026-1386"},
		{"1.4.1", "1.4.1", "too old"},
		{"1.16.1", "1.16.0", "one release"},
		{"1.15.1", "1.16.1", "one release"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		struct fc_version vmm, jailer;
		int r;

		assert_int_equal(fc_version_parse(rows[i].vmm, &vmm), 0);
		assert_int_equal(fc_version_parse(rows[i].jailer, &jailer), 0);
		r = fc_version_check(&vmm, &jailer, &e);
		assert_int_equal(r, rows[i].why ? -EPROTONOSUPPORT : 0);
		assert_true(!rows[i].why || strstr(err_text(&e), rows[i].why));
	}
}

static void version_asked(void **state)
{
	static const struct {
		const char *answer;
		int code;
		const char *text; /* of the note, or of the error */
	} cases[] = {
		{JSON("200", "{\"firecracker_version\":\"1.16.1\"}"), 0, NULL},
		{JSON("200", "{\"firecracker_version\":\"1.8.0\"}"), 0, NULL},
		{JSON("200", "{\"firecracker_version\":\"1.5.0\"}"), 0, "no ACPI"},
		{JSON("200", "{\"firecracker_version\":\"1.17.0\"}"), 0, "newer than any"},
		{JSON("200", "{\"firecracker_version\":\"2.0.0\"}"), 0, "newer than any"},
		{JSON("200", "{\"firecracker_version\":\"1.4.1\"}"), -EPROTONOSUPPORT,
			"Firecracker 1.4.1 is too old"},
		{JSON("200", "{\"firecracker_version\":16}"), -EPROTO, "cannot be read"},
		{JSON("200", "{\"firecracker_version\":\"new\"}"), -EPROTO, "cannot be read"},
		{JSON("200", "{}"), -EPROTO, "cannot be read"},
		{NO_CONTENT, -EPROTO, "cannot be read"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *script[] = {cases[i].answer, NULL};
		_cleanup_(fc_api_freep) struct fc_api *a = NULL;
		_cleanup_err_ struct err e = {0};
		_cleanup_free_ char *note = NULL;
		struct fc_version v = {0};
		struct server s;
		const char *text;

		begin(&s, script);
		assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
		assert_int_equal(fc_version_get(a, &v, &note, &e), cases[i].code);
		text = cases[i].code ? err_text(&e) : note;
		if (cases[i].text ? !text || !strstr(text, cases[i].text) : text != NULL)
			fail_msg("case %zu: %s", i, text ? text : "nothing");
		finish(&s);
		assert_string_equal(s.log, "GET /version\n");
		end(&s);
	}
}

/* --- the engine --- */

static void verbs(void **state)
{
	static const char *const script[] = {JSON("200", "{\"firecracker_version\":\"1.15.1\"}"), NULL};
	_cleanup_err_ struct err e = {0};
	struct server s;

	(void)state;
	begin(&s, script);
	assert_int_equal(engine_firecracker.pause(s.dir, NULL, &e), 0);
	assert_int_equal(engine_firecracker.resume(s.dir, NULL, &e), 0);
	assert_int_equal(engine_firecracker.powerdown(s.dir, NULL, &e), 0);
	finish(&s);
	assert_string_equal(s.log, "GET /version\n"
				   "PATCH /vm {\"state\":\"Paused\"}\n"
				   "PATCH /vm {\"state\":\"Resumed\"}\n"
				   "PUT /actions {\"action_type\":\"SendCtrlAltDel\"}\n");
	end(&s);
}

/* A release whose pauses cost the agent. */
static void no_pause(void **state)
{
	static const struct {
		const char *answer;
		int code;
	} rows[] = {
		{JSON("200", "{\"firecracker_version\":\"1.16.0\"}"), -EOPNOTSUPP},
		{JSON("200", "{\"firecracker_version\":\"1.16.1\"}"), -EOPNOTSUPP},
		{JSON("200", "{\"firecracker_version\":\"1.17.0\"}"), 0},
		{JSON("200", "{}"), -EPROTO},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		const char *script[] = {rows[i].answer, NULL};
		struct server s;

		begin(&s, script);
		assert_int_equal(engine_firecracker.pause(s.dir, NULL, NULL), rows[i].code);
		finish(&s);
		assert_string_equal(s.log,
			rows[i].code ? "GET /version\n" : "GET /version\nPATCH /vm {\"state\":\"Paused\"}\n");
		end(&s);
	}
}

static void status(void **state)
{
	static const struct {
		const char *answer;
		int code;
		enum engine_status status;
	} cases[] = {
		{JSON("200", "{\"id\":\"7\",\"state\":\"Running\",\"vmm_version\":\"1.16.1\"}"), 0,
			ENGINE_RUNNING},
		{JSON("200", "{\"state\":\"Paused\"}"), 0, ENGINE_PAUSED},
		{JSON("200", "{\"state\":\"Not started\"}"), 0, ENGINE_OTHER},
		{JSON("200", "{\"state\":[]}"), 0, ENGINE_OTHER},
		{NO_CONTENT, 0, ENGINE_OTHER},
		{CLOSE, -EPIPE, ENGINE_OTHER},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *script[] = {cases[i].answer, NULL};
		enum engine_status found = ENGINE_OTHER;
		struct server s;

		begin(&s, script);
		assert_int_equal(engine_firecracker.status(s.dir, &found, NULL), cases[i].code);
		assert_int_equal(found, cases[i].status);
		finish(&s);
		assert_string_equal(s.log, "GET /\n");
		end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequence),
		cmocka_unit_test(refusal),
		cmocka_unit_test(answers),
		cmocka_unit_test(silence),
		cmocka_unit_test(waiting),
		cmocka_unit_test(versions),
		cmocka_unit_test(versions_of_use),
		cmocka_unit_test(version_asked),
		cmocka_unit_test(verbs),
		cmocka_unit_test(no_pause),
		cmocka_unit_test(status),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
