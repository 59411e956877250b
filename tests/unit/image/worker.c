/* Images made by a confined child: the same bytes and errors as without one, and what becomes of a child that is stopped. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "image/sandbox.h"
#include "image/worker.h"
#include "image/worker_wire.h"

struct bench {
	int out, plain_out;
	struct ops *ops;
	struct op *op;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->out = memfd_create("out", MFD_CLOEXEC);
	b->plain_out = memfd_create("plain", MFD_CLOEXEC);
	assert_true(b->out >= 0 && b->plain_out >= 0);
	assert_int_equal(ops_new(1, &b->ops, NULL), 0);
	assert_int_equal(op_begin(b->ops, "import", "images/x", &b->op, NULL), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_fd(b->out);
	close_fd(b->plain_out);
	op_end(b->op);
	op_unref(b->op);
	ops_free(b->ops);
	free(b);
	return 0;
}

/* FILES of N bytes each, called NAME0, NAME1 ..., in another folder for every fifty. */
static int tar_of(const char *name, int files, size_t n, int (*filter)(struct archive *))
{
	int fd = memfd_create("tar", MFD_CLOEXEC);
	struct archive *a = archive_write_new();
	_cleanup_free_ uint8_t *data = malloc(n);

	for (size_t i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	archive_write_set_format_pax(a);
	assert_int_equal(filter(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (int i = 0; i < files; i++) {
		struct archive_entry *e = archive_entry_new();
		char path[64];

		snprintf(path, sizeof(path), "\303\251%d/%s%d", i / 50, name, i);
		archive_entry_set_pathname(e, path);
		archive_entry_set_mode(e, S_IFREG | 0644);
		archive_entry_set_size(e, (int64_t)n);
		archive_entry_xattr_add_entry(e, "user.note", "here", 4);
		assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
		assert_int_equal(archive_write_data(a, data, n), n);
		archive_entry_free(e);
	}
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void assert_same_file(int a, int b)
{
	_cleanup_free_ uint8_t *x = malloc(1 << 20), *y = malloc(1 << 20);
	struct stat sa, sb;

	assert_int_equal(fstat(a, &sa), 0);
	assert_int_equal(fstat(b, &sb), 0);
	assert_true(sa.st_size > 0 && sa.st_size == sb.st_size);
	/* Where neither has data both read as zeros. */
	for (off_t at = 0; at < sa.st_size; at += 1 << 20) {
		off_t da = lseek(a, at, SEEK_DATA), db = lseek(b, at, SEEK_DATA);
		ssize_t n;

		if (da < 0 && db < 0)
			break;
		at = da < 0 || (db >= 0 && db < da) ? db : da;
		n = pread(a, x, 1 << 20, at);
		assert_true(n > 0);
		assert_int_equal(pread(b, y, 1 << 20, at), n);
		assert_memory_equal(x, y, (size_t)n);
	}
}

static void assert_same_result(const struct image_result *a, const struct image_result *b)
{
	assert_true(a->content == b->content);
	assert_true(a->entries == b->entries && a->entries > 0);
	assert_string_equal(a->digest, b->digest);
	assert_string_equal(a->arch, b->arch);
}

static void a_tar(void **state)
{
	static int (*const filters[])(struct archive *) = {archive_write_add_filter_none,
		archive_write_add_filter_gzip, archive_write_add_filter_xz, archive_write_add_filter_zstd,
		archive_write_add_filter_bzip2, archive_write_add_filter_lz4};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
		_cleanup_close_ int tar = tar_of("file", 300, 9000, filters[i]);
		struct worker_request q = {
			.task = WORKER_TAR, .input = tar, .output = b->out, .seed = "seed"};
		struct image_result result = {0}, plain = {0};
		_cleanup_err_ struct err e = {0};

		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(ftruncate(b->plain_out, 0), 0);
		if (worker_run(&q, b->op, &result, &e) < 0)
			fail_msg("filter %zu: %s", i, err_text(&e));
		lseek(tar, 0, SEEK_SET);
		assert_int_equal(image_from_tar(tar, b->plain_out, "seed", NULL, &plain, &e), 0);
		assert_same_result(&result, &plain);
		assert_same_file(b->out, b->plain_out);
	}
}

static void two_layers(void **state)
{
	struct bench *b = *state;
	struct image_layer l[2] = {{.fd = tar_of("low", 60, 5000, archive_write_add_filter_gzip), .grow = -1},
		{.fd = tar_of("up", 60, 100, archive_write_add_filter_zstd), .grow = -1}};
	struct worker_request q = {
		.task = WORKER_LAYERS, .output = b->out, .layers = l, .layer_count = 2, .seed = "seed"};
	struct image_result result = {0}, plain = {0};
	_cleanup_err_ struct err e = {0};

	if (worker_run(&q, b->op, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	for (size_t i = 0; i < 2; i++)
		lseek(l[i].fd, 0, SEEK_SET);
	assert_int_equal(image_from_layers(l, 2, b->plain_out, "seed", NULL, &plain, &e), 0);
	assert_same_result(&result, &plain);
	assert_same_file(b->out, b->plain_out);
	/* What is promised of a layer goes with it. */
	for (int which = 0; which < 3; which++) {
		struct image_layer wrong = {.fd = l[0].fd, .grow = -1};
		_cleanup_err_ struct err mine = {0}, its = {0};

		if (which == 0)
			wrong.size = 17;
		else
			*(which == 1 ? &wrong.digest : &wrong.diff_id) = "sha256:00";
		q.layers = &wrong;
		q.layer_count = 1;
		lseek(wrong.fd, 0, SEEK_SET);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(worker_run(&q, NULL, &result, &its), -EBADMSG);
		lseek(wrong.fd, 0, SEEK_SET);
		assert_int_equal(ftruncate(b->plain_out, 0), 0);
		assert_int_equal(
			image_from_layers(&wrong, 1, b->plain_out, "seed", NULL, &plain, &mine), -EBADMSG);
		assert_string_equal(err_text(&its), err_text(&mine));
	}
	for (size_t i = 0; i < 2; i++)
		close_fd(l[i].fd);
}

/* As many as may be, each with its pipe: a thousand descriptors. */
static void most_layers(void **state)
{
	_cleanup_close_ int tar = tar_of("file", 1, 10, archive_write_add_filter_none);
	struct bench *b = *state;
	struct image_layer l[LAYERS_MAX + 1];
	struct worker_request q = {.task = WORKER_LAYERS, .output = b->out, .layers = l};
	struct image_result result;
	_cleanup_err_ struct err e = {0};
	struct stat st;
	char bytes[16384];

	assert_int_equal(fstat(tar, &st), 0);
	assert_int_equal(pread(tar, bytes, sizeof(bytes), 0), st.st_size);
	for (size_t i = 0; i < LAYERS_MAX; i++) {
		uint64_t said[] = {(uint64_t)st.st_size, (uint64_t)st.st_size};
		int p[2];

		l[i] = (struct image_layer){.fd = memfd_create("layer", MFD_CLOEXEC)};
		assert_int_equal(io_write_full(l[i].fd, bytes, (size_t)st.st_size), 0);
		lseek(l[i].fd, 0, SEEK_SET);
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		assert_int_equal(io_write_full(p[1], said, sizeof(said)), 0);
		close_fd(p[1]);
		l[i].grow = p[0];
	}
	q.layer_count = LAYERS_MAX + 1;
	assert_int_equal(worker_run(&q, NULL, &result, &e), -EBADMSG);
	q.layer_count = LAYERS_MAX;
	if (worker_run(&q, NULL, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_true(result.content == 10 * LAYERS_MAX && result.entries > 1);
	for (size_t i = 0; i < LAYERS_MAX; i++) {
		close_fd(l[i].fd);
		close_fd(l[i].grow);
	}
}

static void hostile(void **state)
{
	static const char *const names[] = {"../x", "a/../../x", "a\033[2Jb/../c"};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(names) + 1; i++) {
		_cleanup_close_ int tar = memfd_create("tar", MFD_CLOEXEC);
		struct worker_request q = {.task = WORKER_TAR, .input = tar, .output = b->out, .seed = "s"};
		struct image_result result = {.entries = 77};
		_cleanup_err_ struct err its = {0}, mine = {0};

		if (i < ELEMENTSOF(names)) {
			struct archive *a = archive_write_new();
			struct archive_entry *entry = archive_entry_new();

			archive_write_set_format_pax(a);
			archive_write_open_fd(a, tar);
			archive_entry_set_pathname(entry, names[i]);
			archive_entry_set_mode(entry, S_IFREG | 0644);
			archive_write_header(a, entry);
			archive_write_close(a);
			archive_entry_free(entry);
			archive_write_free(a);
		} else {
			assert_int_equal(io_write_full(tar, "no tar at all", 13), 0);
		}
		lseek(tar, 0, SEEK_SET);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(ftruncate(b->plain_out, 0), 0);
		assert_int_equal(worker_run(&q, b->op, &result, &its), -EBADMSG);
		assert_int_equal(result.entries, 77);
		lseek(tar, 0, SEEK_SET);
		assert_int_equal(image_from_tar(tar, b->plain_out, "s", NULL, &result, &mine), -EBADMSG);
		assert_string_equal(err_text(&its), err_text(&mine));
	}
}

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

/* An xz that says it wants a dictionary of 4 GiB; its writer had a small one. */
static void memory(void **state)
{
	_cleanup_close_ int tar = tar_of("file", 3, 1000, archive_write_add_filter_xz);
	struct bench *b = *state;
	struct worker_request q = {.task = WORKER_TAR, .input = tar, .output = b->out};
	struct image_result result;
	_cleanup_err_ struct err e = {0};
	uint8_t head[64];
	uint32_t sum;
	size_t size;
	int r;

	/* The block's header, xz-file-format.txt 3.1: its size, flags, LZMA2 (0x21), one byte, the dictionary's size, padding, CRC32. */
	assert_int_equal(pread(tar, head, sizeof(head), 12), sizeof(head));
	size = (size_t)(head[0] + 1) * 4;
	assert_true(size <= sizeof(head) && head[1] == 0 && head[2] == 0x21 && head[3] == 1);
	head[4] = 40;
	sum = (uint32_t)crc32(0, head, (unsigned)size - 4);
	memcpy(head + size - 4, &sum, 4);
	assert_int_equal(io_pwrite_full(tar, head, size, 12), 0);
	r = worker_run(&q, b->op, &result, &e);
	if (SANDBOX_ASAN) {
		assert_int_equal(r, 0); /* without the limit it is a good one */
		return;
	}
	assert_int_equal(r, -ENOMEM);
	if (!strstr(err_text(&e), "2048 MiB"))
		fail_msg("%s", err_text(&e));
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

/* What a child that was taken over may say. */
static void reports(void **state)
{
	_cleanup_free_ struct wire_report *r = calloc(1, sizeof(*r));
	size_t n = sizeof(*r);

	(void)state;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->kind = WIRE_RESULT;
	assert_int_equal(wire_check_report(r, n), 0);
	assert_int_equal(wire_check_report(r, n - 1), -EBADMSG);
	assert_int_equal(wire_check_report(r, WIRE_PROGRESS_SIZE), -EBADMSG);
	assert_int_equal(wire_check_report(r, 0), -EBADMSG);
	r->code = 1;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->code = INT32_MIN;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->code = -5;
	memcpy(r->text, "a\033[2J\nb", 8);
	assert_int_equal(wire_check_report(r, n), 0);
	assert_string_equal(r->text, "a?[2J?b");
	memset(r->text, 'x', sizeof(r->text));
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->text[0] = '\0';
	memset(r->result.digest, 'x', sizeof(r->result.digest));
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->result.digest[0] = '\0';
	memset(r->result.arch, 'x', sizeof(r->result.arch));
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	r->kind = WIRE_PROGRESS;
	assert_int_equal(wire_check_report(r, n), -EBADMSG);
	assert_int_equal(wire_check_report(r, WIRE_PROGRESS_SIZE), 0);
	assert_null(wire_stage_name(0));
	assert_null(wire_stage_name(UINT32_MAX));
	assert_string_equal(wire_stage_name(wire_stage("write the image")), "write the image");
	assert_int_equal(wire_stage("another"), 0);
}

static void descriptors(void **state)
{
	struct bench *b = *state;
	struct worker_request q = {.task = WORKER_TAR, .input = 0, .output = b->out};
	struct image_result result;
	_cleanup_err_ struct err e = {0};

	assert_int_equal(worker_run(&q, NULL, &result, &e), -EBADF);
}

int main(int argc, char **argv)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {TEST(a_tar), TEST(two_layers), TEST(most_layers),
		TEST(hostile), TEST(confined), TEST(cancelled), TEST(cancelled_before), TEST(download_failed),
		TEST(killed), TEST(memory), TEST(descriptors), cmocka_unit_test(sandboxed),
		cmocka_unit_test(reports)};

	if (argc > 1 && strcmp(argv[1], WORKER_ARGUMENT) == 0)
		return worker_main(argc, argv);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
