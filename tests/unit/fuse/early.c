/* Requests about guests that a new daemon has not found yet. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "fuse/state.h"
#include "tree/node.h"

#define VMS   3
#define AGAIN 6 /* the number of what an earlier daemon was asked */

static struct {
	uint64_t seen[16]; /* `unique` of what was let through */
	bool again[16];
	size_t count;
	uint64_t now;
	bool found[VMS]; /* its agent */
	bool on_its_way[VMS];
	int said;         /* that one is for too long */
	bool late;        /* what was let through last has waited */
	bool interrupted; /* the request at work */
	int gone;         /* requests that are taken up later */
	enum vm_state state[VMS];
	int out[2];
} at;

struct bench {
	struct server s;
};

uint64_t io_now_usec(void)
{
	return at.now;
}

struct vm *tree_vm(struct tree *t, uint32_t id)
{
	(void)t;
	return id < VMS ? (struct vm *)&at.found[id] : NULL;
}

bool vm_awaits_agent(const struct vm *vm)
{
	size_t i = (size_t)((const bool *)vm - at.found);

	return at.state[i] == VM_RUNNING && !at.found[i];
}

bool guest_is(struct server *s, uint64_t number)
{
	struct node n;

	(void)s;
	return node_parse(number, &n) && n.guest;
}

int fuse_session_fd(struct fuse_session *se)
{
	(void)se;
	return at.out[1];
}

bool vm_is_on_its_way(const struct vm *vm)
{
	return at.on_its_way[(const bool *)vm - at.found];
}

void vm_set_error(struct vm *vm, int code, uint64_t op, const char *text)
{
	(void)vm;
	(void)op;
	assert_int_equal(code, -EBUSY);
	assert_non_null(strstr(text, "on its way"));
	at.said++;
}

int fuse_req_interrupted(fuse_req_t req)
{
	(void)req;
	return at.interrupted;
}

void fuse_reply_none(fuse_req_t req)
{
	(void)req;
	at.gone++;
}

void server_process(struct server *s, const struct fuse_buf *buf, bool again)
{
	at.again[at.count] = again;
	at.late = s->late;
	at.seen[at.count++] = ((struct fuse_in_header *)buf->mem)->unique;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memset(&at, 0, sizeof(at));
	at.now = 1000000;
	for (size_t i = 0; i < VMS; i++)
		at.state[i] = VM_RUNNING;
	assert_int_equal(pipe2(at.out, O_CLOEXEC | O_NONBLOCK), 0);
	STAILQ_INIT(&b->s.early);
	assert_true(sd_event_new(&b->s.config.event) >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	early_end(&b->s);
	sd_event_unref(b->s.config.event);
	close_fd(at.out[0]);
	close_fd(at.out[1]);
	free(b);
	return 0;
}

static bool keep(struct bench *b, uint32_t opcode, uint64_t node, uint64_t unique, uint64_t of)
{
	struct {
		struct fuse_in_header h;
		struct fuse_interrupt_in in;
	} m = {.h = {.len = sizeof(m), .opcode = opcode, .nodeid = node, .unique = unique}, .in.unique = of};
	struct fuse_buf buf = {.size = sizeof(m), .mem = &m};

	return early_keep(&b->s, &buf, unique == AGAIN);
}

static uint64_t file_of(uint32_t vm)
{
	return node_guest_number(vm, NODE_WORK, 12, 1);
}

/* Until COUNT requests were let through, or long enough for those that must not be. */
static void look(struct bench *b, size_t count)
{
	for (int i = 0; i < (at.count < count ? 500 : 5) && (at.count < count || i < 5); i++)
		sd_event_run(b->s.config.event, 20000);
}

static void wait_for_their_own_guest(void **state)
{
	struct bench *b = *state;

	early_begin(&b->s);
	assert_true(keep(b, FUSE_GETATTR, file_of(1), 2, 0));
	assert_true(keep(b, FUSE_READ, file_of(2), 4, 0));
	assert_true(keep(b, FUSE_LOOKUP, file_of(1), AGAIN, 0));
	look(b, 0);
	assert_int_equal(at.count, 0);
	at.found[1] = true;
	look(b, 2);
	assert_int_equal(at.count, 2);
	assert_int_equal(at.seen[0], 2);
	assert_int_equal(at.seen[1], AGAIN);
	assert_false(at.again[0]);
	assert_true(at.again[1]);
	assert_false(keep(b, FUSE_GETATTR, file_of(1), 8, 0));
	/* One that comes to its end meanwhile: its requests are told so. */
	at.state[2] = VM_FAILED;
	look(b, 3);
	assert_int_equal(at.count, 3);
	assert_int_equal(at.seen[2], 4);
}

static void not_for_ever(void **state)
{
	struct bench *b = *state;

	early_begin(&b->s);
	assert_true(keep(b, FUSE_GETATTR, file_of(1), 2, 0));
	at.now += 61000000;
	look(b, 1);
	assert_int_equal(at.count, 1);
	assert_false(keep(b, FUSE_GETATTR, file_of(1), 4, 0));
}

static void what_does_not_wait(void **state)
{
	struct bench *b = *state;

	/* A mount of one's own. */
	assert_false(keep(b, FUSE_GETATTR, file_of(1), 2, 0));
	early_begin(&b->s);
	assert_false(keep(b, FUSE_GETATTR, NODE_ROOT, 2, 0));
	assert_false(keep(b, FUSE_FORGET, file_of(1), 2, 0));
	assert_false(keep(b, FUSE_BATCH_FORGET, file_of(1), 2, 0));
	assert_false(keep(b, FUSE_GETATTR, file_of(7), 2, 0));
	at.state[1] = VM_PAUSED;
	assert_false(keep(b, FUSE_GETATTR, file_of(1), 2, 0));
}

static void can_be_interrupted(void **state)
{
	struct bench *b = *state;
	struct fuse_out_header out;

	early_begin(&b->s);
	assert_true(keep(b, FUSE_READ, file_of(1), 2, 0));
	assert_true(keep(b, FUSE_READ, file_of(1), 4, 0));
	assert_true(keep(b, FUSE_INTERRUPT, 0, 5, 4));
	assert_int_equal(read(at.out[0], &out, sizeof(out)), sizeof(out));
	assert_int_equal(out.unique, 4);
	assert_int_equal(out.error, -EINTR);
	/* Of one that does not wait here. */
	assert_false(keep(b, FUSE_INTERRUPT, 0, 7, 4));
	at.found[1] = true;
	look(b, 1);
	assert_int_equal(at.count, 1);
	assert_int_equal(at.seen[0], 2);
}

/* They are asked again of the next daemon. */
static void an_end_answers_none(void **state)
{
	struct bench *b = *state;
	char byte;

	early_begin(&b->s);
	assert_true(keep(b, FUSE_READ, file_of(1), 2, 0));
	early_end(&b->s);
	look(b, 0);
	assert_int_equal(at.count, 0);
	assert_int_equal(read(at.out[0], &byte, 1), -1);
}

/* What nobody serves: is it taken up later? */
static bool waits(struct bench *b, uint64_t unique, uint32_t vm)
{
	struct fuse_in_header h = {
		.len = sizeof(h), .opcode = FUSE_GETATTR, .nodeid = file_of(vm), .unique = unique};
	struct fuse_buf buf = {.size = sizeof(h), .mem = &h};
	int gone = at.gone;
	bool r;

	b->s.now = &buf;
	r = early_wait(&b->s, NULL, vm);
	b->s.now = NULL;
	assert_int_equal(at.gone, gone + r);
	return r;
}

static void who_comes_up_or_goes_down(void **state)
{
	struct bench *b = *state;

	/* Neither. */
	assert_false(waits(b, 2, 1));
	at.on_its_way[1] = true;
	at.interrupted = true;
	assert_false(waits(b, 2, 1));
	at.interrupted = false;
	assert_true(waits(b, 2, 1));
	b->s.again = true;
	assert_true(waits(b, 4, 1));
	b->s.again = false;
	assert_false(waits(b, 6, 2));
	look(b, 0);
	assert_int_equal(at.count, 0);
	assert_true(keep(b, FUSE_INTERRUPT, 0, 3, 2));
	at.on_its_way[1] = false;
	look(b, 1);
	assert_int_equal(at.count, 1);
	assert_int_equal(at.seen[0], 4);
	assert_true(at.again[0] && !at.late);
	assert_int_equal(at.said, 0);
}

static void for_a_minute(void **state)
{
	struct bench *b = *state;

	at.on_its_way[1] = true;
	assert_true(waits(b, 2, 1));
	at.now += 59000000;
	look(b, 0);
	assert_int_equal(at.count, 0);
	at.now += 2000000;
	look(b, 1);
	assert_int_equal(at.count, 1);
	assert_true(at.late);
	assert_int_equal(at.said, 1);
	/* Then it is answered, whatever. */
	b->s.late = true;
	assert_false(waits(b, 2, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wait_for_their_own_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(not_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(can_be_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_answers_none, setup, teardown),
		cmocka_unit_test_setup_teardown(who_comes_up_or_goes_down, setup, teardown),
		cmocka_unit_test_setup_teardown(for_a_minute, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
