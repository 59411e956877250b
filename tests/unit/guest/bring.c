/* Files brought into a guest, by the guest's own receiving end. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "guest/bring.h"
#include "lib/guest_path.h"

struct bench {
	char dir[32];
	int dir_fd, sock;
	pid_t pid;
	struct bring b;
};

static void connect_guest(struct bench *b)
{
	char guest[4096];
	int fds[2];

	assert_int_equal(guest_path(guest, sizeof(guest)), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0) {
		dup2(fds[1], STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		execl(guest, guest, "workspace", "receive", b->dir, NULL);
		_exit(127);
	}
	close(fds[1]);
	b->sock = fds[0];
	b->b = (struct bring){0};
}

static void hang_up(struct bench *b)
{
	b->sock = close_fd(b->sock);
	assert_int_equal(waitpid(b->pid, NULL, 0), b->pid);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	memcpy(b->dir, "/tmp/banger-bring.XXXXXX", sizeof("/tmp/banger-bring.XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->dir_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	connect_guest(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	const char *const argv[] = {"rm", "-rf", b->dir, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;

	if (b->sock >= 0)
		hang_up(b);
	close_fd(b->dir_fd);
	spec.argv = argv;
	assert_int_equal(proc_run(&spec, NULL, NULL, NULL, NULL), 0);
	free(b);
	return 0;
}

static void files_arrive_and_are_told_of(void **state)
{
	static const char *const paths[] = {"a/b/text", "a/file", "gone"};
	uint8_t states[3][WORKSPACE_ID] = {0};
	struct bench *b = *state;
	_cleanup_free_ char *text = NULL, *big = calloc(1, 300000);
	bool same[3] = {false};
	struct stat st;
	uint64_t n;
	int fd = memfd_create("big", MFD_CLOEXEC);

	memset(big, 'x', 300000);
	assert_int_equal(io_write_full(fd, big, 300000), 0);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(bring_begin(&b->b, b->sock, 0, NULL), 0);
	assert_int_equal(bring_bytes(&b->b, paths[0], 0600, "hello", 5, NULL), 0);
	assert_int_equal(
		bring_file(&b->b, paths[1], 0751, (struct timespec){.tv_sec = 1000000}, fd, 300000, &n, NULL),
		0);
	assert_int_equal(n, 300000);
	assert_int_equal(bring_end(&b->b, states, 2, NULL), 0);
	close(fd);
	hang_up(b);
	assert_int_equal(io_read_file(b->dir_fd, paths[0], 64, &text, NULL, NULL), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(fstatat(b->dir_fd, paths[0], &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstatat(b->dir_fd, paths[1], &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(st.st_size, 300000);
	assert_int_equal(st.st_mtim.tv_sec, 1000000);

	/* What was told is how it is; until somebody there writes. */
	connect_guest(b);
	assert_int_equal(bring_begin(&b->b, b->sock, 0, NULL), 0);
	assert_int_equal(bring_compare(&b->b, paths, states, 3, same, NULL), 0);
	assert_true(same[0] && same[1] && same[2]);
	fd = openat(b->dir_fd, paths[0], O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(io_write_full(fd, "!", 1), 0);
	close(fd);
	assert_int_equal(bring_compare(&b->b, paths, states, 3, same, NULL), 0);
	assert_true(!same[0] && same[1] && same[2]);
}

static void no_more_than_is_allowed(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	assert_int_equal(bring_begin(&b->b, b->sock, 0, NULL), 0);
	assert_int_equal(
		bring_file(&b->b, "zero", 0600, (struct timespec){0}, fd, 1 << 20, NULL, &e), -EFBIG);
	close(fd);
	hang_up(b);
	assert_int_equal(faccessat(b->dir_fd, "zero", F_OK, 0), -1);
}

/* Why the guest can't go on is what who brings is told. */
static void refusals_are_told(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	int r;

	assert_int_equal(symlinkat("/etc", b->dir_fd, "link"), 0);
	assert_int_equal(bring_begin(&b->b, b->sock, 0, NULL), 0);
	r = bring_bytes(&b->b, "link/passwd", 0600, "x", 1, &e);
	if (r == 0)
		r = bring_end(&b->b, NULL, 1, &e);
	assert_true(r == -ENOTDIR || r == -ELOOP);
	assert_non_null(strstr(err_text(&e), "in the guest: link/passwd"));
}

/* A guest that says what it likes. */
static void nonsense_is_refused(void **state)
{
	static const uint32_t types[] = {WORKSPACE_ANSWERS, WORKSPACE_STATES, WORKSPACE_FAILED, 4711};
	uint8_t states[1][WORKSPACE_ID];
	const char *path = "x";
	bool same;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(types); i++)
		for (unsigned n = 0; n < 80; n += 7) {
			struct bring bring = {0};
			uint8_t payload[80];
			int fds[2];

			memset(payload, 0xff, sizeof(payload));
			memset(states, 0, sizeof(states));
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
			bring.sock = bring.in.fd = fds[0];
			assert_int_equal(workspace_write(fds[1], types[i], payload, n, NULL, 0), 0);
			shutdown(fds[1], SHUT_WR);
			assert_true(bring_end(&bring, states, 1, NULL) < 0);
			assert_int_equal(workspace_write(fds[1], 1, NULL, 0, NULL, 0), -EPIPE);
			bring = (struct bring){.sock = fds[0], .in.fd = fds[0]};
			assert_true(bring_compare(&bring, &path, states, 1, &same, NULL) < 0);
			close(fds[0]);
			close(fds[1]);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(files_arrive_and_are_told_of),
		TEST(no_more_than_is_allowed),
		TEST(refusals_are_told),
		cmocka_unit_test(nonsense_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
