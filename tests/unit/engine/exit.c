/* What is known of a VMM's end, and what it has counted until then. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "engine/engines.h"

static void ends(void **state)
{
	static const struct {
		const char *file;
		bool known;
		int code, signal;
		const char *reason, *text, *words;
	} rows[] = {
		{"exit 148\nstderr Shutting down VM after intercepting a bad syscall (59).\n", true, 148, 0,
			"", "Shutting down VM after intercepting a bad syscall (59).\n",
			"it made a system call that its filter forbids"},
		{"exit 155\n", true, 155, 0, "", "", "a connection that broke (SIGPIPE)"},
		{"exit 1\n", true, 1, 0, "", "", ""},
		{"signal 9\n", true, 0, 9, "", "", ""},
		{"event {\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-shutdown\"}}\nexit 0\n", true, 0,
			0, "guest-shutdown", "", ""},
		{"event {\"event\":null,\"id\":\"SHUTDOWN\"}\nexit 0\n", true, 0, 0, "", "", ""},
		{"event {\"event\":\"SHUTDOWN\",\"data\":null}\nevent {\"event\":\"SHUTDOWN\",\"data\":{"
		 "\"reason\":null}}\nexit 0\n",
			true, 0, 0, "", "", ""},
		{"exit 256\nsignal 0\n", false, 0, 0, "", "", ""},
		{"", false, 0, 0, "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_close_ int fd = memfd_create("banger-exit", MFD_CLOEXEC);
		struct engine_exit x;

		assert_int_equal(io_write_full(fd, rows[i].file, strlen(rows[i].file)), 0);
		assert_int_equal(engine_read_exit(fd, &x, NULL), 0);
		assert_int_equal(x.known, rows[i].known);
		assert_int_equal(x.code, rows[i].code);
		assert_int_equal(x.signal, rows[i].signal);
		assert_string_equal(x.reason, rows[i].reason);
		assert_string_equal(x.text, rows[i].text);
		assert_string_equal(engine_exit_words(x.code), rows[i].words);
		engine_exit_clear(&x);
	}
}

/* Written by another process, while it is waited for; and by none. */
static void awaited(void **state)
{
	static const char late[] = "exit 1\nstderr no such disk\n";
	_cleanup_close_ int fd = memfd_create("banger-exit", MFD_CLOEXEC);
	struct engine_exit x;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(engine_await_exit(fd, &x, NULL), 0);
	assert_false(x.known);
	engine_exit_clear(&x);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		usleep(50000);
		_exit(io_write_full(fd, late, strlen(late)) < 0);
	}
	assert_int_equal(engine_await_exit(fd, &x, NULL), 0);
	assert_true(x.known);
	assert_int_equal(x.code, 1);
	assert_string_equal(x.text, "no such disk\n");
	engine_exit_clear(&x);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Each line is what has been counted since the one before it; what isn't as it should be counts nothing. */
static void metrics(void **state)
{
	static const char *const lines[] = {
		"{\"block\":{\"read_bytes\":4096,\"write_bytes\":512,\"read_count\":2,\"write_count\":1},"
		"\"net\":{}}",
		"{\"block\":{\"read_bytes\":100,\"write_bytes\":0,\"read_count\":1,\"write_count\":0}}",
		"{\"block\":{\"read_bytes\":-5,\"write_bytes\":\"7\",\"read_count\":[],\"write_count\":"
		"18446744073709551615}}",
		"{\"block\":[1,2]}",
		"{}",
		"",
		"{\"block\":{\"read_bytes\":9",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	};
	struct disk_counters c = {0};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(lines); i++)
		engine_firecracker.count(lines[i], &c);
	assert_int_equal(c.read_bytes, 4196);
	assert_int_equal(c.write_bytes, 512);
	assert_int_equal(c.reads, 3);
	assert_int_equal(c.writes, 1);
}

/* A fifo, and nothing else that may be there in its stead. */
static void fifos(void **state)
{
	char name[] = "/tmp/banger-fifos.XXXXXX", buf[8];
	_cleanup_close_ int dir = -EBADF, out = -EBADF;
	int fd = -EBADF;

	(void)state;
	assert_non_null(mkdtemp(name));
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(engine_open_fifo(dir, ENGINE_LOG, &fd), -ENOENT);
	assert_int_equal(mkdirat(dir, ENGINE_JAIL, 0700), 0);
	assert_int_equal(engine_open_fifo(dir, ENGINE_LOG, &fd), -ENOENT);
	assert_int_equal(mkfifoat(dir, ENGINE_JAIL "/" ENGINE_LOG, 0600), 0);
	assert_int_equal(symlinkat(ENGINE_LOG, dir, ENGINE_JAIL "/" ENGINE_METRICS), 0);
	assert_int_equal(engine_open_fifo(dir, ENGINE_METRICS, &fd), -ELOOP);
	assert_int_equal(unlinkat(dir, ENGINE_JAIL "/" ENGINE_METRICS, 0), 0);
	assert_int_equal(close(openat(dir, ENGINE_JAIL "/" ENGINE_METRICS, O_CREAT | O_WRONLY, 0600)), 0);
	assert_int_equal(engine_open_fifo(dir, ENGINE_METRICS, &fd), -ENOENT);
	assert_int_equal(engine_open_fifo(dir, ENGINE_LOG, &fd), 0);
	out = openat(dir, ENGINE_JAIL "/" ENGINE_LOG, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(out >= 0 && read(fd, buf, sizeof(buf)) < 0 && errno == EAGAIN);
	assert_int_equal(write(out, "line\n", 5), 5);
	assert_int_equal(read(fd, buf, sizeof(buf)), 5);
	close(fd);
	assert_int_equal(unlinkat(dir, ENGINE_JAIL "/" ENGINE_LOG, 0) |
				 unlinkat(dir, ENGINE_JAIL "/" ENGINE_METRICS, 0) |
				 unlinkat(dir, ENGINE_JAIL, AT_REMOVEDIR) | rmdir(name),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(ends), cmocka_unit_test(awaited),
		cmocka_unit_test(metrics), cmocka_unit_test(fifos)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
