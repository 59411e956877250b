/*
 * A checkout on this host, and a guest's own program on the other end of a socket: what the unit tests of repo/ bring from one to the other.
 * Folders of a bench: src, guest, scratch, home; and what a test makes: lib, other, private, plants, ran.
 */
#ifndef BANGER_TESTS_REPO_BENCH_H
#define BANGER_TESTS_REPO_BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "lib/guest_path.h"
#include "repo/send.h"

struct bench {
	char dir[40]; /* src, guest, scratch, home below it */
	char bin[4096];
	struct prepared *before;
	struct send_result result;
	char text[2048]; /* of the last error */
	char **notes;
};

static int run_script(struct bench *b, const char *how, const char *script, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *home = NULL;
	_cleanup_close_ int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(asprintf(&home, "HOME=%s/home", b->dir) > 0);
	spec.argv = (const char *const[]){"sh", how, script, NULL};
	spec.env = (const char *const[]){
		"PATH=/usr/bin:/bin", home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8", NULL};
	spec.dir_fd = dir;
	return proc_run(&spec, NULL, NULL, NULL, e);
}

static void sh(struct bench *b, const char *script)
{
	_cleanup_err_ struct err e = {0};

	if (run_script(b, "-ec", script, &e) < 0)
		fail_msg("%s: %s", script, err_text(&e));
}

/* Whether SCRIPT says so. */
static bool holds(struct bench *b, const char *script)
{
	return run_script(b, "-c", script, NULL) == 0;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(guest_path(b->bin, sizeof(b->bin)), 0);
	memcpy(b->dir, "/tmp/banger-repo-XXXXXX", sizeof("/tmp/banger-repo-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	sh(b, "mkdir src home; git config --global user.name Me; git config --global user.email "
	      "me@example.com; "
	      "git config --global init.defaultBranch main");
	*state = b;
	return 0;
}

static void drop_notes(struct bench *b)
{
	for (char **note = b->notes; note && *note; note++)
		free(*note);
	free(b->notes);
	b->notes = NULL;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	sh(b, "chmod -R u+rwx .; rm -rf src guest home scratch lib other private plants ran");
	assert_int_equal(rmdir(b->dir), 0);
	prepared_free(b->before);
	drop_notes(b);
	free(b);
	return 0;
}

/* The guest's end; 0: nobody's, *RET_PEER is the test's own. */
static pid_t start_guest(struct bench *b, int *ret_sock)
{
	_cleanup_free_ char *folder = NULL;
	int pair[2];
	pid_t pid;

	assert_true(asprintf(&folder, "%s/guest", b->dir) > 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pair[1], 0);
		dup2(pair[1], 1);
		execl(b->bin, "banger-guest", "workspace", "receive", folder, NULL);
		_exit(127);
	}
	close(pair[1]);
	*ret_sock = pair[0];
	return pid;
}

static int prepare(struct bench *b, const char *source, const char *ref, bool force, int sock)
{
	_cleanup_free_ char *path = NULL, *home = NULL, *scratch = NULL;
	_cleanup_err_ struct err e = {0};
	_cleanup_close_ int fd = -EBADF;
	struct checkout c;
	int r;

	assert_true(asprintf(&path, "%s/%s", b->dir, source) > 0 && asprintf(&home, "%s/home", b->dir) > 0 &&
		    asprintf(&scratch, "%s/scratch", b->dir) > 0);
	sh(b, "rm -rf scratch; mkdir scratch");
	fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	drop_notes(b);
	b->text[0] = '\0';
	r = checkout_look(path, ref, b->before, fd, home, NULL, &c, &e);
	if (r == 0) {
		r = checkout_send(&c, b->before, force, sock, NULL, &b->result, &e);
		if (r == 0) {
			prepared_free(b->before);
			b->before = TAKE_PTR(c.now);
		}
		b->notes = TAKE_PTR(c.notes);
		c.note_count = 0;
		checkout_clear(&c);
	}
	if (r < 0) {
		snprintf(b->text, sizeof(b->text), "%s", err_text(&e));
		print_message("# %d: %s\n", r, b->text);
	}
	return r;
}

static int bring_from(struct bench *b, const char *source, const char *ref, bool force)
{
	int sock, status, r;
	pid_t pid = start_guest(b, &sock);

	r = prepare(b, source, ref, force, sock);
	close(sock);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (r == 0)
		assert_int_equal(status, 0);
	/* Nothing half-made stays, whatever came of it. */
	assert_true(holds(b, "! find guest -name '.banger-*' | grep -q ."));
	return r;
}

static inline int bring(struct bench *b, bool force)
{
	return bring_from(b, "src", "", force);
}

static inline bool noted(struct bench *b, const char *word)
{
	for (char **note = b->notes; note && *note; note++)
		if (strstr(*note, word))
			return true;
	return false;
}

#define SAME       "diff -r --no-dereference -x .git src guest"
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
