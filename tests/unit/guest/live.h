/* The calls on files against the guest's own agent, on a socket. */
#ifndef BANGER_TESTS_LIVE_H
#define BANGER_TESTS_LIVE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/files.h"
#include "lib/need.h"
#include "tests/unit/guest/spawn.h"

#define PATIENCE 20000000 /* usec */

struct bench {
	char dir[32];
	sd_event *event;
	struct agent *agent;
	pid_t pid;
	int answers, code;
	struct agent_attr attr;
	_Alignas(8) uint8_t data[AGENT_PAYLOAD_MAX];
	size_t n;
	uint64_t number;
	struct files_statfs st;
};

static inline void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	(void)why;
	b->agent = agent_free(b->agent);
}

/* Noise before the agent's answer, as an earlier connection would leave it. */
static inline int setup_with(void **state, size_t noise)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-files-XXXXXX", sizeof("/tmp/banger-files-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(
		agent_new(b->event, guest_spawn(b->dir, noise, &b->pid), on_lost, b, &b->agent, NULL), 0);
	*state = b;
	return 0;
}

static inline int setup(void **state)
{
	return setup_with(state, 0);
}

static inline int setup_noisy(void **state)
{
	return setup_with(state, 900000);
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int teardown(void **state)
{
	struct bench *b = *state;
	int status;

	agent_free(b->agent);
	for (int i = 0; i < 500 && waitpid(b->pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	assert_int_equal(waitpid(b->pid, &status, WNOHANG), -1);
	assert_int_equal(nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	sd_event_unref(b->event);
	free(b);
	return 0;
}

static inline void wait_answer(struct bench *b)
{
	uint64_t end = io_now_usec() + PATIENCE;
	int want = b->answers + 1;

	while (b->answers < want && io_now_usec() < end)
		sd_event_run(b->event, 100000);
	assert_int_equal(b->answers, want);
}

static inline void on_attr(void *user, int code, const struct agent_attr *attr)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	if (attr)
		b->attr = *attr;
}

static inline void on_done(void *user, int code)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
}

static inline void on_data(void *user, int code, const void *data, size_t n)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	b->n = n;
	if (n > 0)
		memcpy(b->data, data, n);
}

static inline void on_count(void *user, int code, uint32_t n)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	b->number = n;
}

static inline void on_offset(void *user, int code, uint64_t n)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	b->number = n;
}

static inline void on_statfs(void *user, int code, const struct files_statfs *st)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	if (st)
		b->st = *st;
}

#define CALL(b, call)                                                                                        \
	({                                                                                                   \
		assert_int_equal(call, 0);                                                                   \
		wait_answer(b);                                                                              \
		(b)->code;                                                                                   \
	})

static const struct file_ref root;
static const struct files_owner owner;

static inline struct file_ref ref(const struct agent_attr *attr)
{
	return (struct file_ref){attr->ino, 1 + (attr->generation & 0xff)};
}

/* Files are named by handles as ext4 has them; opening by one needs root. */
static inline void need_handles(struct bench *b)
{
	struct statfs st;

	assert_int_equal(statfs(b->dir, &st), 0);
	need_root();
	need("ext4", st.f_type == EXT4_SUPER_MAGIC, "the test's folder is not on ext4");
	assert_int_equal(CALL(b, files_getattr(b->agent, root, on_attr, b, NULL)), 0);
}

#endif
