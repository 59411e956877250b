/* Jobs, against the guest's own agent on a socket, with the model's part played here. */
#ifndef BANGER_TESTS_EXEC_H
#define BANGER_TESTS_EXEC_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "vm/exec.h"
#include "vm/exec_job.h"
#include "tests/unit/guest/spawn.h"

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

static inline void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	(void)why;
	b->lost++;
	b->agent = agent_free(b->agent);
	execs_agent(vms.execs, &vm, NULL);
}

static inline void on_changed(void *user, struct exec *x)
{
	(void)x;
	((struct bench *)user)->changed++;
}

static inline void on_output(void *user, struct exec *x, int stream)
{
	struct bench *b = user;

	(void)stream;
	if (b->delete_on_output != x)
		return;
	/* Another may get its place in memory. */
	b->delete_on_output = NULL;
	assert_int_equal(exec_delete(x, NULL), 0);
}

static inline void on_writable(void *user, struct exec *x)
{
	(void)x;
	((struct bench *)user)->writable++;
}

static inline void on_gone(void *user, uint32_t id, uint32_t number)
{
	(void)number;
	assert_int_equal(id, VM_ID);
	((struct bench *)user)->gone++;
}

static const struct exec_watch watch = {
	.changed = on_changed, .output = on_output, .writable = on_writable, .gone = on_gone};

static inline void connect_agent(struct bench *b)
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
	assert_int_equal(agent_hello(fds[0], NULL, 20000, -1, -1, boot_id, NULL), 0);
	close_fd(b->fd);
	b->fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 3);
	assert_int_equal(agent_new(b->event, fds[0], on_lost, b, &b->agent, NULL), 0);
	execs_agent(vms.execs, &vm, b->agent);
}

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_int_equal(guest_path(b->bin, sizeof(b->bin)), 0);
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

static inline int teardown(void **state)
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

static inline enum exec_state state_of(struct exec *x)
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

static inline void run_for(struct bench *b, uint64_t usec)
{
	uint64_t end = io_now_usec() + usec;

	while (io_now_usec() < end)
		sd_event_run(b->event, 20000);
}

static inline void on_done(void *user, int code, const struct err *e)
{
	struct bench *b = user;

	b->done++;
	b->done_code = code;
	if (code < 0)
		snprintf(b->done_text, sizeof(b->done_text), "%s", err_text(e));
}

static inline struct exec *make(const char *cmd, size_t n)
{
	struct exec *x;

	assert_int_equal(exec_new(&vm, &x, NULL), 0);
	assert_int_equal(exec_set_cmd(x, cmd, n, NULL), 0);
	assert_int_equal(exec_set_cwd(x, "/tmp", NULL), 0);
	return x;
}
#define MAKE(cmd) make(cmd, sizeof(cmd) - 1)

static inline struct exec *run(struct bench *b, const char *cmd, bool want_stdin)
{
	struct exec *x = make(cmd, strlen(cmd));
	int before = b->done;

	assert_int_equal(exec_start(x, want_stdin, on_done, b, NULL), 0);
	UNTIL(b, b->done == before + 1);
	assert_int_equal(b->done_code, 0);
	return x;
}

static inline void expect_output(struct exec *x, int stream, const char *want, size_t n)
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

static inline void expect_exit(struct exec *x, uint32_t kind, uint32_t code)
{
	struct exec_view v;

	exec_view(x, &v);
	assert_int_equal(v.state, EXEC_EXITED);
	assert_int_equal(v.exit_kind, kind);
	assert_int_equal(v.exit_code, code);
	assert_true(v.ended >= v.started && v.started >= v.created);
}

static inline off_t kept_on_disk(struct bench *b, const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "vms/%u/exec/%s", VM_ID, name) < 0 || fstatat(b->state_fd, path, &st, 0) < 0)
		return -1;
	return st.st_size;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
