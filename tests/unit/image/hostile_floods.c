/* Millions of entries: more than may be, and those that make each other slow. */
#include "tests/unit/image/hostile.h"

#include <pthread.h>
#include <signal.h>

/* Headers on the way through a pipe: more of them than fit anywhere. */
struct flood {
	pthread_t thread;
	int to;
	uint64_t count;
	/* Writes the I-th header's path to its first 100 bytes, and the target behind, and sets its type. */
	void (*name)(uint64_t i, char head[BLOCK]);
};

static void *flood_thread(void *arg)
{
	struct flood *f = arg;
	size_t many = 256;
	_cleanup_free_ char *buf = malloc(many * BLOCK);
	char head[BLOCK];

	signal(SIGPIPE, SIG_IGN);
	set_head(head, "", '0', "", 0, 0);
	for (uint64_t i = 0; i < f->count;) {
		for (size_t k = 0; k < many; k++, i++) {
			f->name(i, head);
			set_checksum(head);
			memcpy(buf + k * BLOCK, head, BLOCK);
		}
		if (io_write_full(f->to, buf, many * BLOCK) < 0)
			break;
	}
	close(f->to);
	return NULL;
}

static void flood(struct bench *b, void (*name)(uint64_t i, char *head), const char *says)
{
	struct flood f = {.count = 10000000, .name = name};
	_cleanup_err_ struct err e = {0};
	struct image_layer l = {.grow = -1};
	struct image_result result;
	uint64_t began = io_now_usec();
	int fds[2], r;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
	l.fd = fds[0];
	f.to = fds[1];
	assert_int_equal(pthread_create(&f.thread, NULL, flood_thread, &f), 0);
	assert_int_equal(ftruncate(b->out, 0), 0);
	r = image_from_layers(&l, 1, b->out, "seed", NULL, &result, &e);
	close(fds[0]);
	pthread_join(f.thread, NULL);
	if (r != -EFBIG || !strstr(err_text(&e), "layer 1 ") || !strstr(err_text(&e), says))
		fail_msg("%d: %s", r, err_text(&e));
	print_message("# %s: %llu ms\n", says, (unsigned long long)(io_now_usec() - began) / 1000);
	assert_true(io_now_usec() - began < SOON_USEC);
}

static void name_same(uint64_t i, char *head)
{
	(void)i;
	memcpy(head, "same", 5);
}

static void name_each(uint64_t i, char *head)
{
	snprintf(head, 100, "%02x/%02x/%llx", (unsigned)(i & 0xff), (unsigned)(i >> 8 & 0xff),
		(unsigned long long)i);
}

static void ten_million_entries(void **state)
{
	flood(*state, name_same, "same: more than 4000000 entries");
	flood(*state, name_each, ": more than 4000000 entries");
}

/* A million files, and then the same folder made opaque again and again: each sweep looks at all of them. */
static void name_opaque(uint64_t i, char *head)
{
	if (i < 1000000)
		snprintf(head, 100, "d/%llx", (unsigned long long)i);
	else
		snprintf(head, 100, i % 2 ? "d/.wh..wh..opq" : ".wh.d");
}

static void many_whiteouts(void **state)
{
	flood(*state, name_opaque, "more than 4000000 entries");
}

/* Links whose targets are long ways, one behind the other: 80000 steps for each entry. */
static void name_links(uint64_t i, char *head)
{
	memset(head, 0, 100);
	memset(head + 157, 0, 100);
	head[156] = '2';
	if (i < 38) {
		snprintf(head, 100, "l%llu", (unsigned long long)i);
		for (size_t k = 0; k < 45; k++)
			memcpy(head + 157 + 2 * k, "./", 2);
		snprintf(head + 157 + 90, 10, "l%llu", (unsigned long long)i + 1);
	} else if (i == 38) {
		memcpy(head, "l38", 4);
		memcpy(head + 157, ".", 2);
	} else {
		head[156] = '0';
		memcpy(head, "l0/x", 5);
	}
}

static void long_ways(void **state)
{
	flood(*state, name_links, "l0/x: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ten_million_entries),
		TEST(many_whiteouts),
		TEST(long_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
