/* Jobs, against the guest's own agent on a socket. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/hello.h"
#include "vm/exec.h"
#include "vm/exec_job.h"

#define PATIENCE 30000000 /* usec */
#define VM_ID    7

/* The model's part of it. */
struct vm {
	uint32_t id;
	unsigned uses;
};
struct vms {
	struct execs *execs;
};
static struct vms vms;
static struct vm vm = {.id = VM_ID};

void vm_view(const struct vm *v, struct vm_view *ret)
{
	*ret = (struct vm_view){.id = v->id};
}

struct vm *vms_get(struct vms *v, uint32_t id)
{
	(void)v;
	return id == VM_ID ? &vm : NULL;
}

void vm_use(struct vm *v)
{
	v->uses++;
}

void vm_unuse(struct vm *v)
{
	assert_true(v->uses > 0);
	v->uses--;
}

struct execs *execs_of(struct vms *v)
{
	return v->execs;
}

struct execs *vm_execs(struct vm *v)
{
	(void)v;
	return vms.execs;
}

struct image_config *vms_image_config(struct vms *v, uint32_t id)
{
	(void)v;
	(void)id;
	return NULL;
}

struct bench {
	char dir[32], bin[4096];
	int state_fd;
	sd_event *event;
	struct agent *agent;
	pid_t pid;
	int fd; /* another one of the agent's channel */
	int lost, gone, writable, changed, done, done_code;
	char done_text[256];
	struct exec *delete_on_output;
};

static void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	(void)why;
	b->lost++;
	b->agent = agent_free(b->agent);
	execs_agent(vms.execs, &vm, NULL);
}

static void on_changed(void *user, struct exec *x)
{
	(void)x;
	((struct bench *)user)->changed++;
}

static void on_output(void *user, struct exec *x, int stream)
{
	struct bench *b = user;

	(void)stream;
	if (b->delete_on_output != x)
		return;
	/* Another may get its place in memory. */
	b->delete_on_output = NULL;
	assert_int_equal(exec_delete(x, NULL), 0);
}

static void on_writable(void *user, struct exec *x)
{
	(void)x;
	((struct bench *)user)->writable++;
}

static void on_gone(void *user, uint32_t id, uint32_t number)
{
	(void)number;
	assert_int_equal(id, VM_ID);
	((struct bench *)user)->gone++;
}

static const struct exec_watch watch = {
	.changed = on_changed, .output = on_output, .writable = on_writable, .gone = on_gone};

static void connect_agent(struct bench *b)
{
	char boot_id[40];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0) {
		dup2(fds[1], 3);
		fcntl(3, F_SETFD, 0);
		execl(b->bin, "banger-guest", "agent", "--fd", "3", "--root", b->dir, NULL);
		_exit(127);
	}
	close_fd(fds[1]);
	assert_int_equal(agent_hello(fds[0], 20000, -1, -1, boot_id, NULL), 0);
	close_fd(b->fd);
	b->fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
	assert_int_equal(agent_new(b->event, fds[0], on_lost, b, &b->agent, NULL), 0);
	execs_agent(vms.execs, &vm, b->agent);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	ssize_t n;
	char *slash;

	assert_non_null(b);
	/* build/unit/vm/exec -> build/bin/banger-guest */
	n = readlink("/proc/self/exe", b->bin, sizeof(b->bin) - 64);
	assert_true(n > 0);
	b->bin[n] = '\0';
	for (int i = 0; i < 3; i++) {
		slash = strrchr(b->bin, '/');
		assert_non_null(slash);
		*slash = '\0';
	}
	memcpy(b->bin + strlen(b->bin), "/bin/banger-guest", sizeof("/bin/banger-guest"));
	memcpy(b->dir, "/tmp/banger-exec-XXXXXX", sizeof("/tmp/banger-exec-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->state_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->fd = -EBADF;
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(execs_new(&vms, b->state_fd, &vms.execs, NULL), 0);
	execs_watch(vms.execs, &watch, b);
	connect_agent(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	int status;

	execs_vm_gone(vms.execs, VM_ID);
	vms.execs = execs_free(vms.execs);
	assert_int_equal(vm.uses, 0);
	agent_free(b->agent);
	close_fd(b->fd);
	/* It ends by itself, after it has killed what was to be killed. */
	for (int i = 0; i < 500 && waitpid(b->pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	assert_int_equal(waitpid(b->pid, &status, WNOHANG), -1);
	/* Nothing of the jobs is left. */
	assert_int_equal(unlinkat(b->state_fd, "vms", AT_REMOVEDIR), 0);
	unlinkat(b->state_fd, "workspace", AT_REMOVEDIR);
	close_fd(b->state_fd);
	assert_int_equal(rmdir(b->dir), 0);
	sd_event_unref(b->event);
	free(b);
	return 0;
}

static enum exec_state state_of(struct exec *x)
{
	struct exec_view v;

	exec_view(x, &v);
	return v.state;
}

#define UNTIL(b, condition)                                                                                  \
	do {                                                                                                 \
		uint64_t _end = io_now_usec() + PATIENCE;                                                    \
		while (!(condition) && io_now_usec() < _end)                                                 \
			sd_event_run((b)->event, 50000);                                                     \
		assert_true(condition);                                                                      \
	} while (0)

static void run_for(struct bench *b, uint64_t usec)
{
	uint64_t end = io_now_usec() + usec;

	while (io_now_usec() < end)
		sd_event_run(b->event, 20000);
}

static void on_done(void *user, int code, const struct err *e)
{
	struct bench *b = user;

	b->done++;
	b->done_code = code;
	if (code < 0)
		snprintf(b->done_text, sizeof(b->done_text), "%s", err_text(e));
}

static struct exec *make(const char *cmd, size_t n)
{
	struct exec *x;

	assert_int_equal(exec_new(&vm, &x, NULL), 0);
	assert_int_equal(exec_set_cmd(x, cmd, n, NULL), 0);
	assert_int_equal(exec_set_cwd(x, "/tmp", NULL), 0);
	return x;
}
#define MAKE(cmd) make(cmd, sizeof(cmd) - 1)

static struct exec *run(struct bench *b, const char *cmd, bool want_stdin)
{
	struct exec *x = make(cmd, strlen(cmd));
	int before = b->done;

	assert_int_equal(exec_start(x, want_stdin, on_done, b, NULL), 0);
	UNTIL(b, b->done == before + 1);
	assert_int_equal(b->done_code, 0);
	return x;
}

static void expect_output(struct exec *x, int stream, const char *want, size_t n)
{
	char buf[8192];
	uint64_t offset = 0, lost = 9;
	bool eof = false;
	size_t have = 0;

	while (!eof) {
		ssize_t k = exec_read(x, stream, &offset, buf + have, sizeof(buf) - have, &eof, &lost, NULL);

		assert_true(k >= 0);
		assert_int_equal(lost, 0);
		have += (size_t)k;
		offset += (uint64_t)k;
		assert_true(k > 0 || eof);
	}
	assert_int_equal(have, n);
	assert_memory_equal(buf, want, n);
}

static void expect_exit(struct exec *x, uint32_t kind, uint32_t code)
{
	struct exec_view v;

	exec_view(x, &v);
	assert_int_equal(v.state, EXEC_EXITED);
	assert_int_equal(v.exit_kind, kind);
	assert_int_equal(v.exit_code, code);
	assert_true(v.ended >= v.started && v.started >= v.created);
}

/* A guest's mise runs what is run for its user, and nothing else. */
static void by_mise(void **state)
{
	static const char script[] =
		"#!/bin/sh\necho \"$1 $2 $# $MISE_TRUSTED_CONFIG_PATHS\"\nshift 2\nexec \"$@\"\n";
	_cleanup_free_ char *path = NULL;
	struct bench *b = *state;
	struct exec *x = MAKE("sh\n-c\necho \"$1\"; exit 3\nname\n  a b");
	_cleanup_close_ int fd = openat(b->state_fd, "mise", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	int n = asprintf(&path, "PATH=%s:/usr/bin:/bin", b->dir);

	assert_true(n > 0 && fd >= 0 && io_write_full(fd, script, sizeof(script) - 1) == 0);
	fd = close_fd(fd);
	assert_int_equal(exec_set_env(x, path, (size_t)n, NULL), 0);
	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_exit(x, 0, 3);
	expect_output(x, 1, "exec -- 7 /root/workspace\n  a b\n", 32);
	/* Not what is not the user's. */
	x = MAKE("true");
	x->fleeting = true;
	assert_int_equal(exec_set_env(x, path, (size_t)n, NULL), 0);
	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "", 0);
	assert_int_equal(unlinkat(b->state_fd, "mise", 0), 0);
}

static void streams_and_code(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "sh\n-c\necho out; echo err >&2; exit 3\n", false);

	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_exit(x, 0, 3);
	expect_output(x, 1, "out\n", 4);
	expect_output(x, 2, "err\n", 4);
	assert_int_equal(exec_size(x, 1), 4);
	assert_int_equal(exec_signal(x, SIGTERM, NULL), -ESRCH);
	assert_int_equal(exec_stdin(x, "x", 1, NULL), -EPIPE);
	assert_int_equal(exec_start(x, false, NULL, NULL, NULL), -EBUSY);
	assert_int_equal(exec_set_cmd(x, "a", 1, NULL), -EBUSY);
}

static void arguments_exact(void **state)
{
	struct bench *b = *state;
	struct exec *x = MAKE("printf\0<%s>\0a b\0\0*\0$HOME\0new\nline\0\\\0");
	_cleanup_free_ char *shown = NULL;
	struct exec_view v;
	size_t n;
	FILE *out;

	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "<a b><><*><$HOME><new\nline><\\>", 30);
	exec_view(x, &v);
	out = open_memstream(&shown, &n);
	exec_show_list(v.argv, out);
	fclose(out);
	assert_int_equal(n, 36);
	assert_memory_equal(shown, "printf\0<%s>\0a b\0\0*\0$HOME\0new\nline\0\\\0", n);
}

static void lines_are_arguments(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "printf\n[%s]\n\nlast", false);
	_cleanup_free_ char *shown = NULL;
	struct exec_view v;
	size_t n;
	FILE *out;

	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "[][last]", 8);
	exec_view(x, &v);
	out = open_memstream(&shown, &n);
	exec_show_list(v.argv, out);
	fclose(out);
	assert_string_equal(shown, "printf\n[%s]\n\nlast\n");
}

static void settings(void **state)
{
	struct bench *b = *state;
	struct exec *x = MAKE("sh\n-c\necho $A; pwd");
	_cleanup_free_ char *big = malloc(200000);

	assert_int_equal(exec_set_env(x, "A=b c\nB=\n", 9, NULL), 0);
	assert_int_equal(exec_set_env(x, "novalue\n", 8, NULL), -EINVAL);
	assert_int_equal(exec_set_env(x, "=x\n", 3, NULL), -EINVAL);
	assert_int_equal(exec_set_cwd(x, "relative", NULL), -EINVAL);
	assert_int_equal(exec_set_cwd(x, "/", NULL), 0);
	assert_int_equal(exec_set_user(x, "a\nb", NULL), -EINVAL);
	memset(big, 'x', 200000);
	assert_int_equal(exec_set_cmd(x, big, 200000, NULL), -E2BIG);
	memset(big, '\n', 200000);
	assert_int_equal(exec_set_cmd(x, big, 5000, NULL), -E2BIG);
	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "b c\n/\n", 6);
}

static void not_startable(void **state)
{
	struct bench *b = *state;
	struct exec *x;

	assert_int_equal(exec_new(&vm, &x, NULL), 0);
	assert_int_equal(exec_start(x, false, on_done, b, NULL), -EINVAL);
	assert_int_equal(exec_set_cmd(x, "/no/such/program", 16, NULL), 0);
	execs_agent(vms.execs, &vm, NULL);
	assert_int_equal(exec_start(x, false, on_done, b, NULL), -ENOTCONN);
	execs_agent(vms.execs, &vm, b->agent);
	assert_int_equal(b->done, 0);
	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	UNTIL(b, b->done == 1);
	assert_int_equal(b->done_code, -ENOENT);
	assert_non_null(strstr(b->done_text, "/no/such/program"));
	assert_int_equal(state_of(x), EXEC_FAILED);
	expect_output(x, 1, "", 0);
}

static void input(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "sha256sum\n", true);
	_cleanup_free_ char *data = calloc(1, 2000000);
	size_t at = 0;
	uint64_t end = io_now_usec() + PATIENCE;

	assert_non_null(data);
	while (at < 2000000 && io_now_usec() < end) {
		ssize_t n = exec_stdin(x, data + at, 2000000 - at, NULL);

		assert_true(n >= 0);
		at += (size_t)n;
		if (n == 0)
			sd_event_run(b->event, 50000);
	}
	assert_int_equal(at, 2000000);
	assert_int_equal(exec_stdin_close(x), 0);
	assert_int_equal(exec_stdin(x, "x", 1, NULL), -EPIPE);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	/* head -c 2000000 /dev/zero | sha256sum */
	expect_output(x, 1, "13aea96040f2133033d103008d5d96cfe98b3361f7202d77bea97b2424a7a6cd  -\n", 68);
}

/* What goes in comes out, both at once. */
static void both_ways(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "cat\n", true);
	_cleanup_free_ uint8_t *data = malloc(3000000), *back = malloc(3000000);
	uint64_t reader, offset = 0, lost = 0, end = io_now_usec() + PATIENCE;
	size_t at = 0;
	bool eof = false;

	assert_true(data && back);
	for (size_t i = 0; i < 3000000; i++)
		data[i] = (uint8_t)(i * i / 251);
	assert_int_equal(exec_reader_add(x, 1, &reader), 0);
	while (!eof && io_now_usec() < end) {
		ssize_t in = 0, out;

		if (at < 3000000) {
			in = exec_stdin(x, data + at, 3000000 - at < 100000 ? 3000000 - at : 100000, NULL);
			assert_true(in >= 0);
			at += (size_t)in;
			if (at == 3000000)
				exec_stdin_close(x);
		}
		out = exec_read(x, 1, &offset, back + offset,
			3000000 - offset < 60000 ? 3000000 - offset : 60000, &eof, &lost, NULL);
		assert_true(out >= 0);
		assert_int_equal(lost, 0);
		offset += (uint64_t)out;
		exec_reader_at(x, reader, offset);
		sd_event_run(b->event, in == 0 && out == 0 && !eof ? 50000 : 0);
	}
	assert_true(eof);
	assert_int_equal(offset, 3000000);
	assert_memory_equal(back, data, 3000000);
}

static void signals(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "sleep\n1000\n", false);

	assert_int_equal(exec_signal(x, 0, NULL), -EINVAL);
	assert_int_equal(exec_signal(x, 65, NULL), -EINVAL);
	assert_int_equal(exec_signal(x, SIGTERM, NULL), 0);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_exit(x, 1, SIGTERM);
}

static void terminal(void **state)
{
	struct bench *b = *state;
	struct exec *x = MAKE("sh\n-c\nstty size; test -t 0 && test -t 2 && echo yes >&2");

	assert_int_equal(exec_set_tty(x, true, NULL), 0);
	assert_int_equal(exec_winsize(x, 33, 99, NULL), 0);
	assert_int_equal(exec_start(x, true, on_done, b, NULL), 0);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "33 99\r\nyes\r\n", 12);
	expect_output(x, 2, "", 0);
}

static off_t kept_on_disk(struct bench *b, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "vms/%u/exec/%s", VM_ID, name) < 0 || fstatat(b->state_fd, path, &st, 0) < 0)
		return -1;
	return st.st_size;
}

/* Nobody reads: the job runs on, and only the last of it is kept. */
static void flood_without_reader(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "yes\n0123456\n", false);
	uint64_t offset = 0, lost;
	bool eof;
	char buf[16];

	UNTIL(b, exec_size(x, 1) > 20u << 20);
	assert_true(kept_on_disk(b, "1.1") <= EXEC_KEEP_MAX + 16);
	assert_true(exec_first(x, 1) >= exec_size(x, 1) - EXEC_KEEP_MAX);
	assert_int_equal(exec_read(x, 1, &offset, buf, sizeof(buf), &eof, &lost, NULL), sizeof(buf));
	assert_int_equal(lost, exec_first(x, 1));
	assert_int_equal(offset, exec_first(x, 1));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], "0123456\n"[(offset + i) % 8]);
	assert_int_equal(exec_delete(x, NULL), 0);
	assert_int_equal(b->gone, 1);
	assert_int_equal(kept_on_disk(b, "1.1"), -1);
	/* The guest's slot of it comes free: others go on. */
	x = run(b, "echo\nhere\n", false);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "here\n", 5);
}

/* A reader that stands still stops the job; one that reads gets every byte; when it goes the job flows. */
static void slow_reader(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "yes\n0123456\n", false);
	uint64_t reader, offset = 0, lost = 0, size;
	_cleanup_free_ char *buf = malloc(65536);
	bool eof;

	assert_int_equal(exec_reader_add(x, 1, &reader), 0);
	offset = exec_first(x, 1);
	UNTIL(b, exec_size(x, 1) > offset + EXEC_AHEAD);
	run_for(b, 300000);
	size = exec_size(x, 1);
	assert_true(size - offset <= EXEC_AHEAD + 2 * AGENT_WINDOW);
	run_for(b, 200000);
	assert_int_equal(exec_size(x, 1), size);
	while (offset < 16u << 20) {
		ssize_t n = exec_read(x, 1, &offset, buf, 65536, &eof, &lost, NULL);

		assert_true(n >= 0);
		assert_int_equal(lost, 0);
		for (ssize_t i = 0; i < n; i += 4001)
			assert_int_equal(buf[i], "0123456\n"[(offset + (uint64_t)i) % 8]);
		offset += (uint64_t)n;
		exec_reader_at(x, reader, offset);
		if (n == 0)
			sd_event_run(b->event, 50000);
	}
	exec_reader_remove(x, reader);
	size = exec_size(x, 1);
	UNTIL(b, exec_size(x, 1) > size + (8u << 20));
}

static void many_at_once(void **state)
{
	struct bench *b = *state;
	struct exec *x[200], *more;

	for (size_t i = 0; i < ELEMENTSOF(x); i++) {
		x[i] = MAKE("sh\n-c\nread a; echo got $a");
		assert_int_equal(exec_start(x[i], true, on_done, b, NULL), 0);
	}
	UNTIL(b, b->done == (int)ELEMENTSOF(x));
	for (size_t i = 0; i < ELEMENTSOF(x); i++) {
		char line[16];
		int n = snprintf(line, sizeof(line), "%zu\n", i);

		assert_int_equal(state_of(x[i]), EXEC_RUNNING);
		assert_int_equal(exec_stdin(x[i], line, (size_t)n, NULL), n);
	}
	for (size_t i = 0; i < ELEMENTSOF(x); i++) {
		char want[32];
		int n = snprintf(want, sizeof(want), "got %zu\n", i);

		UNTIL(b, state_of(x[i]) == EXEC_EXITED);
		expect_output(x[i], 1, want, (size_t)n);
	}
	for (size_t i = ELEMENTSOF(x); i < EXEC_JOBS_MAX; i++)
		MAKE("true");
	assert_int_equal(exec_new(&vm, &more, NULL), -EUSERS);
	assert_int_equal(exec_delete(x[10], NULL), 0);
	assert_int_equal(exec_new(&vm, &more, NULL), 0);
	assert_null(exec_get(&vms, VM_ID, 11));
	assert_ptr_equal(exec_get(&vms, VM_ID, 12), x[11]);
	assert_ptr_equal(exec_next(&vm, 10), x[11]);
	assert_null(exec_get(&vms, VM_ID + 1, 12));
}

static void stop_of_the_vm(void **state)
{
	struct bench *b = *state;
	struct exec *runs = run(b, "sh\n-c\necho begun; cat", true), *fresh = MAKE("true");

	UNTIL(b, exec_size(runs, 1) == 6);
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	UNTIL(b, b->lost == 1);
	expect_exit(runs, 2, 0);
	expect_output(runs, 1, "begun\n", 6);
	assert_int_equal(exec_start(fresh, false, on_done, b, NULL), -ENOTCONN);
	/* And it is started again. */
	connect_agent(b);
	assert_int_equal(exec_start(fresh, false, on_done, b, NULL), 0);
	UNTIL(b, state_of(fresh) == EXEC_EXITED);
}

static void deleted_while_starting(void **state)
{
	struct bench *b = *state;
	struct exec *x = MAKE("sleep\n1000");

	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	assert_int_equal(exec_delete(x, NULL), 0);
	assert_int_equal(b->done, 1);
	assert_int_equal(b->done_code, -ECANCELED);
	x = MAKE("sleep\n1000");
	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	exec_unwait(x);
	assert_int_equal(b->done_code, -EINTR);
	UNTIL(b, state_of(x) == EXEC_RUNNING);
	assert_int_equal(b->done, 2);
	/* It is not to outlive the test. */
	assert_int_equal(exec_delete(x, NULL), 0);
	x = run(b, "true", false);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	assert_int_equal(b->lost, 0);
}

static void deleted_by_its_watcher(void **state)
{
	struct bench *b = *state;
	struct exec *x = MAKE("sh\n-c\nyes | head -c 100000; sleep 1000");

	b->delete_on_output = x;
	assert_int_equal(exec_start(x, false, on_done, b, NULL), 0);
	UNTIL(b, b->gone == 1);
	x = run(b, "true", false);
	UNTIL(b, state_of(x) == EXEC_EXITED);
}

static void daemon_ends(struct bench *b)
{
	vms.execs = execs_free(vms.execs);
	vm.uses = 0;
	b->agent = agent_free(b->agent);
}

/* Another one has the same channel. */
static void daemon_begins(struct bench *b)
{
	char boot_id[40];
	int fd;

	fd = TAKE_FD(b->fd);
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(agent_hello(fd, 20000, -1, -1, boot_id, NULL), 0);
	assert_int_equal(agent_new(b->event, fd, on_lost, b, &b->agent, NULL), 0);
	assert_int_equal(execs_new(&vms, b->state_fd, &vms.execs, NULL), 0);
	execs_load(vms.execs, VM_ID);
	execs_watch(vms.execs, &watch, b);
	execs_agent(vms.execs, &vm, b->agent);
}

static void another_daemon(struct bench *b)
{
	daemon_ends(b);
	daemon_begins(b);
}

/* Numbers go on where they were, also with a new daemon; what was kept of jobs that had ended is there still. */
static void numbers_outlive_the_daemon(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "sh\n-c\necho hi; exit 7", false);
	struct exec_view v;

	UNTIL(b, state_of(x) == EXEC_EXITED);
	exec_delete(MAKE("true"), NULL);
	another_daemon(b);
	x = exec_get(&vms, VM_ID, 1);
	assert_non_null(x);
	expect_output(x, 1, "hi\n", 3);
	expect_exit(x, 0, 7);
	exec_view(x, &v);
	assert_string_equal(v.argv[2], "echo hi; exit 7");
	assert_null(v.argv[3]);
	assert_string_equal(v.cwd, "/tmp");
	exec_view(MAKE("true"), &v);
	assert_int_equal(v.number, 3);
	assert_int_equal(exec_delete(x, NULL), 0);
	assert_int_equal(kept_on_disk(b, "1.1"), -1);
	assert_int_equal(kept_on_disk(b, "1.job"), -1);
}

/* A job that writes all the time goes from daemon to daemon, and no byte of its output is lost or said twice; how it ended isn't either. */
static void taken_up(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b,
		"sh\n-c\ni=0; while [ $i -lt 300000 ]; do echo $i; i=$((i+1)); done; read l; echo $l; exit 9",
		true);
	uint64_t offset = 0, lost = 0;
	char want[16], got[16];
	bool eof;

	for (int i = 0; i < 5; i++) {
		uint64_t before = exec_size(x, 1);

		UNTIL(b, exec_size(x, 1) > before);
		another_daemon(b);
		x = exec_get(&vms, VM_ID, 1);
		assert_non_null(x);
		assert_int_equal(vm.uses, 1);
	}
	UNTIL(b, state_of(x) == EXEC_RUNNING && exec_stdin(x, "end\n", 4, NULL) == 4);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	another_daemon(b);
	x = exec_get(&vms, VM_ID, 1);
	expect_exit(x, 0, 9);
	assert_int_equal(exec_first(x, 1), 0);
	for (int i = 0; i <= 300000; i++) {
		int n = i < 300000 ? snprintf(want, sizeof(want), "%d\n", i)
				   : snprintf(want, sizeof(want), "end\n");

		assert_int_equal(exec_read(x, 1, &offset, got, (size_t)n, &eof, &lost, NULL), n);
		assert_int_equal(lost, 0);
		assert_memory_equal(got, want, (size_t)n);
		offset += (uint64_t)n;
	}
	assert_true(eof);
}

/* It ended while nobody was there, and had more to say than a window holds. */
static void ended_meanwhile(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "sh\n-c\nread l; head -c 1000000 /dev/zero; echo e >&2; kill -9 $$", true);

	assert_int_equal(exec_stdin(x, "go\n", 3, NULL), 3);
	run_for(b, 1000);
	daemon_ends(b);
	usleep(300000);
	daemon_begins(b);
	x = exec_get(&vms, VM_ID, 1);
	assert_non_null(x);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_exit(x, 1, 9);
	assert_int_equal(exec_size(x, 1), 1000000);
	expect_output(x, 2, "e\n", 2);
}

/* Of whose job nothing is known any more: its input ends, its output goes nowhere, and it comes to its end. */
static void nobodys(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *cmd = NULL;
	uint64_t end = io_now_usec() + PATIENCE;

	assert_true(asprintf(&cmd, "sh\n-c\nhead -c 20000000 /dev/zero; cat; mkdir %s/ended", b->dir) > 0);
	run(b, cmd, true);
	vms.execs = execs_free(vms.execs);
	vm.uses = 0;
	assert_int_equal(execs_new(&vms, b->state_fd, &vms.execs, NULL), 0);
	execs_vm_gone(vms.execs, VM_ID);
	another_daemon(b);
	assert_null(exec_get(&vms, VM_ID, 1));
	while (unlinkat(b->state_fd, "ended", AT_REMOVEDIR) < 0 && io_now_usec() < end)
		sd_event_run(b->event, 50000);
	assert_true(io_now_usec() < end);
	assert_int_equal(b->lost, 0);
}

/* The VM went down while no daemon was there. */
static void down_meanwhile(void **state)
{
	struct bench *b = *state;
	/* Which ends with the agent, and doesn't outlive the test. */
	struct exec *x = run(b, "cat", true);

	vms.execs = execs_free(vms.execs);
	vm.uses = 0;
	assert_int_equal(execs_new(&vms, b->state_fd, &vms.execs, NULL), 0);
	execs_load(vms.execs, VM_ID);
	execs_down(vms.execs, VM_ID);
	x = exec_get(&vms, VM_ID, 1);
	expect_exit(x, 2, 0);
	assert_int_equal(vm.uses, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(by_mise),
		TEST(streams_and_code),
		TEST(arguments_exact),
		TEST(lines_are_arguments),
		TEST(settings),
		TEST(not_startable),
		TEST(input),
		TEST(both_ways),
		TEST(signals),
		TEST(terminal),
		TEST(flood_without_reader),
		TEST(slow_reader),
		TEST(many_at_once),
		TEST(stop_of_the_vm),
		TEST(deleted_while_starting),
		TEST(deleted_by_its_watcher),
		TEST(numbers_outlive_the_daemon),
		TEST(taken_up),
		TEST(ended_meanwhile),
		TEST(nobodys),
		TEST(down_meanwhile),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
