/* Firecracker's API: refusals, answers of a hostile VMM, and none. */
#include "tests/unit/engine/firecracker.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(silence),
		cmocka_unit_test(waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
