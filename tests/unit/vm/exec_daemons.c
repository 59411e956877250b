/* Jobs that go from daemon to daemon. */
#include "tests/unit/vm/exec.h"

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
	assert_int_equal(agent_hello(fd, NULL, 20000, -1, -1, boot_id, NULL), 0);
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

/* A job that writes the numbers up to COUNT, and END when it is told, goes from daemon to daemon. */
static void take_up(struct bench *b, const char *cmd, int count)
{
	struct exec *x = run(b, cmd, true);
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
	for (int i = 0; i <= count; i++) {
		int n = i < count ? snprintf(want, sizeof(want), "%d\n", i)
				  : snprintf(want, sizeof(want), "end\n");

		assert_int_equal(exec_read(x, 1, &offset, got, (size_t)n, &eof, &lost, NULL), n);
		assert_int_equal(lost, 0);
		assert_memory_equal(got, want, (size_t)n);
		offset += (uint64_t)n;
	}
	assert_true(eof);
}

/* It writes all the time, and no byte of its output is lost or said twice; how it ended isn't either. */
static void taken_up(void **state)
{
	take_up(*state,
		"sh\n-c\ni=0; while [ $i -lt 300000 ]; do echo $i; i=$((i+1)); done; read l; echo $l; exit 9",
		300000);
}

/* Faster than it is taken: what was said to a daemon that has gone is said again. */
static void taken_up_in_bulk(void **state)
{
	take_up(*state, "sh\n-c\nseq 0 499999; read l; echo $l; exit 9", 500000);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(numbers_outlive_the_daemon),
		TEST(taken_up),
		TEST(taken_up_in_bulk),
		TEST(ended_meanwhile),
		TEST(nobodys),
		TEST(down_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
