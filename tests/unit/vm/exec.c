/* Jobs against the guest's own agent: what they are given, how they end, how many there may be. */
#include "tests/unit/vm/exec.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(by_mise),
		TEST(streams_and_code),
		TEST(arguments_exact),
		TEST(lines_are_arguments),
		TEST(settings),
		TEST(not_startable),
		TEST(signals),
		TEST(terminal),
		TEST(many_at_once),
		TEST(stop_of_the_vm),
		TEST(deleted_while_starting),
		TEST(deleted_by_its_watcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
