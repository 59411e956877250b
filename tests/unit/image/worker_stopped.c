/* The child that makes images: what confines it, and what becomes of it when it is stopped. */
#include "tests/unit/image/worker.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/io.h"
#include "banger/parse.h"

/* The child that is a worker, as soon as there is one. */
static pid_t find_child(void)
{
	for (;;) {
		_cleanup_closedir_ DIR *proc = opendir("/proc");
		struct dirent *d;

		while ((d = readdir(proc))) {
			_cleanup_free_ char *path = NULL, *stat = NULL, *line = NULL;
			uint64_t pid;
			char *end;
			size_t n;
			int parent;

			if (parse_u64(d->d_name, 1, INT32_MAX, &pid) < 0)
				continue;
			assert_true(asprintf(&path, "/proc/%s/stat", d->d_name) > 0);
			if (io_read_file(AT_FDCWD, path, 4096, &stat, NULL, NULL) < 0)
				continue;
			end = strrchr(stat, ')');
			if (!end || sscanf(end, ") %*c %d", &parent) != 1 || parent != getpid())
				continue;
			memcpy(path + strlen(path) - 4, "comm", 4);
			if (io_read_file(AT_FDCWD, path, 4096, &line, &n, NULL) == 0 &&
				strcmp(line, "image-worker\n") == 0)
				return (pid_t)pid;
		}
		poll(NULL, 0, 5);
	}
}

/* A layer that never comes, made in a thread while the test does something to its worker. */
struct endless {
	pthread_t thread;
	struct op *op;
	struct image_layer layers[2];
	struct worker_request request;
	int grow[2], r;
	struct err err;
};

static void *endless_thread(void *arg)
{
	struct endless *x = arg;
	struct image_result result;

	x->r = worker_run(&x->request, x->op, &result, &x->err);
	return NULL;
}

static pid_t endless_begin(struct endless *x, struct bench *b)
{
	assert_int_equal(pipe2(x->grow, O_CLOEXEC), 0);
	x->op = b->op;
	x->layers[0] = (struct image_layer){
		.fd = tar_of("low", 60, 50000, archive_write_add_filter_none), .grow = -1};
	x->layers[1] = (struct image_layer){.fd = memfd_create("part", MFD_CLOEXEC), .grow = x->grow[0]};
	x->request = (struct worker_request){
		.task = WORKER_LAYERS, .output = b->out, .layers = x->layers, .layer_count = 2};
	assert_int_equal(pthread_create(&x->thread, NULL, endless_thread, x), 0);
	return find_child();
}

static void endless_end(struct endless *x)
{
	for (size_t i = 0; i < 2; i++) {
		close_fd(x->layers[i].fd);
		close_fd(x->grow[i]);
	}
	err_clear(&x->err);
}

/* Until it has told where it stands. */
static void endless_wait(struct bench *b)
{
	struct op_view view;

	do
		assert_true(ops_next(b->ops, 0, &view));
	while (strcmp(view.stage, "unpack layers") != 0 && poll(NULL, 0, 5) == 0);
}

static char *proc_file(pid_t pid, const char *name, size_t *ret_n)
{
	_cleanup_free_ char *path = NULL;
	char *text = NULL;

	assert_true(asprintf(&path, "/proc/%d/%s", pid, name) > 0);
	assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &text, ret_n, NULL), 0);
	return text;
}

/* Nothing of the parent's but what it was given; a filter, and no way to more. */
static void confined(void **state)
{
	struct bench *b = *state;
	struct endless x = {0};
	_cleanup_close_ int canary = open("/proc/version", O_RDONLY); /* not close-on-exec */
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ char *status = NULL, *environ_text = NULL, *path = NULL;
	struct dirent *d;
	size_t n = 1, seen = 0;
	pid_t pid;

	assert_true(canary >= 0);
	assert_int_equal(setenv("BANGER_CANARY", "1", 1), 0);
	pid = endless_begin(&x, b);
	endless_wait(b);
	status = proc_file(pid, "status", NULL);
	assert_non_null(strstr(status, "NoNewPrivs:\t1\n"));
	assert_non_null(strstr(status, "Seccomp:\t2\n"));
	environ_text = proc_file(pid, "environ", &n);
	assert_int_equal(n, 0);
	assert_true(asprintf(&path, "/proc/%d/fd", pid) > 0);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir))) {
		char target[256];
		ssize_t k = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);

		if (k < 0)
			continue;
		target[k] = '\0';
		assert_null(strstr(target, "/proc/version"));
		assert_null(strstr(target, "plain")); /* the bench's other file */
		seen++;
	}
	/* Standard ones, the socket, the output twice, two layers, a pipe, an operation's and a stream's eventfd. */
	assert_true(seen >= 8 && seen <= 12);
	op_cancel(b->op);
	pthread_join(x.thread, NULL);
	endless_end(&x);
}

static void cancelled(void **state)
{
	struct bench *b = *state;
	struct endless x = {0};
	pid_t pid = endless_begin(&x, b);

	endless_wait(b);
	op_cancel(b->op);
	pthread_join(x.thread, NULL);
	assert_int_equal(x.r, -EINTR);
	assert_string_equal(err_text(&x.err), "cancelled");
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	endless_end(&x);
}

static void cancelled_before(void **state)
{
	_cleanup_close_ int tar = tar_of("file", 1, 10, archive_write_add_filter_none);
	struct bench *b = *state;
	struct worker_request q = {.task = WORKER_TAR, .input = tar, .output = b->out};
	struct image_result result;
	_cleanup_err_ struct err e = {0};

	op_cancel(b->op);
	assert_int_equal(worker_run(&q, b->op, &result, &e), -EINTR);
}

static void download_failed(void **state)
{
	struct bench *b = *state;
	struct endless x = {0};

	endless_begin(&x, b);
	x.grow[1] = close_fd(x.grow[1]);
	pthread_join(x.thread, NULL);
	assert_int_equal(x.r, -EIO);
	assert_string_equal(err_text(&x.err), "layer 2 (of the archive): its download failed");
	endless_end(&x);
}

static void killed(void **state)
{
	static const struct {
		int sig;
		const char *says;
	} rows[] = {{SIGKILL, "memory"}, {SIGSYS, "may not"}, {SIGSEGV, "SIGSEGV"}};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		struct bench *b = *state;
		struct endless x = {0};
		pid_t pid;

		/* AddressSanitizer takes it for a fault of its own and ends with an exit code. */
		if (rows[i].sig == SIGSEGV && SANDBOX_ASAN)
			break;
		assert_int_equal(ftruncate(b->out, 0), 0);
		pid = endless_begin(&x, b);
		assert_int_equal(kill(pid, rows[i].sig), 0);
		pthread_join(x.thread, NULL);
		assert_int_equal(x.r, -EIO);
		if (!strstr(err_text(&x.err), rows[i].says))
			fail_msg("%s", err_text(&x.err));
		endless_end(&x);
	}
}

enum attempt {
	NOTHING,
	OPEN,
	IOCTL,
	SOCKET,
	CONNECT_FD,
	EXEC,
	KILL,
	LIMITS,
	CODE,
	FORK,
	UNLINK,
};

static int attempt(enum attempt what)
{
	struct rlimit l;

	switch (what) {
	case NOTHING:
		return 0;
	case OPEN:
		return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 1;
	case IOCTL:
		return (int)syscall(SYS_ioctl, 0, 0, 0) < 0 && errno == ENOTTY ? 0 : 1;
	case SOCKET:
		return (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	case CONNECT_FD:
		return (int)syscall(SYS_connect, 0, NULL, 0);
	case EXEC:
		return (int)syscall(SYS_execve, "/bin/true", NULL, NULL);
	case KILL:
		return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
	case LIMITS:
		return (int)syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, NULL, &l);
	case CODE:
		return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0) == 0;
	case FORK:
		return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	case UNLINK:
		return (int)syscall(SYS_unlinkat, AT_FDCWD, "/tmp/banger-worker-no-such-file", 0);
	}
	return 1;
}

static void sandboxed(void **state)
{
	(void)state;
	for (int i = NOTHING; i <= UNLINK; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			_cleanup_err_ struct err e = {0};

			if (sandbox_enter(1 << 20, 64, -1, &e) < 0)
				_exit(99);
			_exit(attempt((enum attempt)i));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (i <= IOCTL ? !WIFEXITED(status) || WEXITSTATUS(status) != 0
			       : !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("attempt %d: status %x", i, (unsigned)status);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(confined),
		TEST(cancelled),
		TEST(cancelled_before),
		TEST(download_failed),
		TEST(killed),
		cmocka_unit_test(sandboxed),
	};

	if (argc > 1 && strcmp(argv[1], WORKER_ARGUMENT) == 0)
		return worker_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
