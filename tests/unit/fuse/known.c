/* What is known of a guest's folders, and when it is known no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

static int setup(void **state)
{
	*state = known_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	*state = known_free(*state);
	return 0;
}

/* So many folders of one place are known beside each other; then the one that came first gives way. */
static void folders_of_one_place(void **state)
{
	enum { SETS = 16384, WAYS = 3 };
	struct known *k = *state;
	struct agent_attr attr = {.nlink = 2}, got;
	uint64_t nodes[WAYS + 1], count = 0;

	for (uint64_t node = 5; count < WAYS + 1; node++)
		if (node_place(node, SETS) == node_place(5, SETS))
			nodes[count++] = node;
	for (uint64_t i = 0; i < WAYS + 1; i++) {
		attr.size = i;
		known_attr(k, nodes[i], &attr, known_changes(k));
	}
	assert_false(known_get(k, nodes[0], &got));
	for (uint64_t i = 1; i < WAYS + 1; i++) {
		assert_true(known_get(k, nodes[i], &got));
		assert_int_equal(got.size, i);
	}
	/* What one becomes is not what the others are. */
	known_changing(k, nodes[2]);
	assert_false(known_get(k, nodes[2], &got));
	assert_true(known_get(k, nodes[1], &got));
	assert_true(known_get(k, nodes[3], &got));
	/* What is known anew takes the free place, not another's. */
	known_attr(k, nodes[2], &attr, known_changes(k));
	for (uint64_t i = 1; i < WAYS + 1; i++)
		assert_true(known_get(k, nodes[i], &got));
	/* An answer that comes late doesn't take the place of a later one. */
	known_changing(k, 6);
	attr.size = 100;
	known_attr(k, nodes[1], &attr, known_changes(k));
	attr.size = 50;
	known_attr(k, nodes[1], &attr, known_changes(k) - 1);
	assert_true(known_get(k, nodes[1], &got));
	assert_int_equal(got.size, 100);
}

static void what_a_folder_is_like(void **state)
{
	struct known *k = *state;
	struct agent_attr attr = {.size = 4096, .nlink = 3}, got;
	uint64_t node = 5, before;

	assert_false(known_get(k, 5, &got));
	known_attr(k, 5, &attr, known_changes(k));
	assert_true(known_get(k, 5, &got));
	assert_int_equal(got.size, 4096);
	known_changing(k, 6);
	assert_true(known_get(k, 5, &got));
	known_changing(k, 5);
	assert_false(known_get(k, 5, &got));
	known_attr(k, 5, &attr, known_changes(k));
	known_changed(k, 5);
	assert_false(known_get(k, 5, &got));
	/* A folder that moves changes those above it. */
	known_attr(k, 5, &attr, known_changes(k));
	known_moved(k);
	assert_false(known_get(k, 5, &got));
	/* What was asked before a change, and is answered after it. */
	before = known_changes(k);
	known_changing(k, 5);
	known_attr(k, 5, &attr, before);
	assert_false(known_get(k, 5, &got));
	before = known_changes(k);
	known_drop(k);
	known_attr(k, 5, &attr, before);
	assert_false(known_get(k, 5, &got));
	/* Of another's change it knows nothing. */
	before = known_changes(k);
	known_changing(k, 6);
	known_attr(k, 5, &attr, before);
	assert_true(known_get(k, 5, &got));
	/* Others take its place, in the end; none is taken for another. */
	while (known_get(k, 5, &got)) {
		node++;
		attr.ino = (uint32_t)node;
		known_attr(k, node, &attr, known_changes(k));
		assert_true(known_get(k, node, &got));
		assert_int_equal(got.ino, node);
	}
	assert_true(node > 5);
}

static void what_is_under_a_name(void **state)
{
	struct known *k = *state;
	struct agent_attr attr = {.mode = S_IFREG | 0644, .nlink = 1, .size = 7}, got;
	uint64_t node, usec, before;

	assert_false(known_named(k, 1, &node, &got, &usec));
	known_found(k, 1, 5, &attr, known_changes(k));
	assert_true(known_named(k, 1, &node, &got, &usec));
	assert_int_equal(node, 5);
	assert_int_equal(got.size, 7);
	assert_true(usec > 0 && usec <= KNOWN_USEC);
	assert_false(known_named(k, 2, &node, &got, &usec));
	/* The name; the file; anything. */
	known_name_changing(k, 1);
	assert_false(known_named(k, 1, &node, &got, &usec));
	known_found(k, 1, 5, &attr, known_changes(k));
	known_changing(k, 5);
	assert_false(known_named(k, 1, &node, &got, &usec));
	known_found(k, 1, 5, &attr, known_changes(k));
	known_changed(k, 6);
	assert_true(known_named(k, 1, &node, &got, &usec));
	known_drop(k);
	assert_false(known_named(k, 1, &node, &got, &usec));
	/* What was asked before a change, and is answered after it. */
	before = known_changes(k);
	known_name_changing(k, 1);
	known_found(k, 1, 5, &attr, before);
	assert_false(known_named(k, 1, &node, &got, &usec));
	before = known_changes(k);
	known_changing(k, 5);
	known_found(k, 1, 5, &attr, before);
	assert_false(known_named(k, 1, &node, &got, &usec));
	/* That there is nothing. */
	known_found(k, 3, 0, NULL, known_changes(k));
	assert_true(known_named(k, 3, &node, &got, &usec));
	assert_int_equal(node, 0);
	known_name_changing(k, 3);
	assert_false(known_named(k, 3, &node, &got, &usec));
	/* A file of several names is changed under the others. */
	attr.nlink = 2;
	known_found(k, 4, 8, &attr, known_changes(k));
	assert_false(known_named(k, 4, &node, &got, &usec));
	/* A folder that is another, but is known itself. */
	attr.mode = S_IFDIR | 0755;
	known_found(k, 4, 8, &attr, known_changes(k));
	assert_true(known_named(k, 4, &node, &got, &usec));
	known_changing(k, 8);
	assert_false(known_named(k, 4, &node, &got, &usec));
	attr.nlink = 3;
	known_attr(k, 8, &attr, known_changes(k));
	assert_true(known_named(k, 4, &node, &got, &usec));
	assert_int_equal(got.nlink, 3);
	/* Moved, it is under that name no more; and others' names hold. */
	known_found(k, 9, 12, &attr, known_changes(k));
	known_name_changing(k, 4);
	known_moved(k);
	assert_false(known_named(k, 4, &node, &got, &usec));
	assert_true(known_named(k, 9, &node, &got, &usec));
}

static void names_give_way(void **state)
{
	struct known *k = *state;
	struct agent_attr attr = {.mode = S_IFREG | 0644, .nlink = 1}, got;
	uint64_t node, usec, kept = 0;

	for (uint64_t i = 1; i <= 20000; i++) {
		attr.ino = (uint32_t)i;
		known_found(k, i, i, &attr, known_changes(k));
		assert_true(known_named(k, i, &node, &got, &usec));
		assert_int_equal(got.ino, i);
	}
	for (uint64_t i = 1; i <= 20000; i++)
		if (known_named(k, i, &node, &got, &usec)) {
			assert_int_equal(node, i);
			kept++;
		}
	assert_true(kept > 19000);
}

static void names_of_a_folder_made_here(void **state)
{
	struct known *k = *state;

	assert_false(known_absent(k, 5, "a"));
	known_fresh(k, 5);
	assert_true(known_absent(k, 5, "a"));
	known_name(k, 5, "a");
	assert_false(known_absent(k, 5, "a"));
	assert_true(known_absent(k, 5, "b"));
	/* Not told of other folders. */
	known_name(k, 6, "b");
	assert_false(known_absent(k, 6, "c"));
	/* Others may have made any name in it. */
	known_changed(k, 5);
	assert_false(known_absent(k, 5, "b"));
	known_fresh(k, 5);
	known_drop(k);
	assert_false(known_absent(k, 5, "b"));
	/* The number of one that has gone, given to another. */
	known_fresh(k, 5);
	known_name(k, 5, "a");
	known_fresh(k, 5);
	assert_true(known_absent(k, 5, "a"));
}

static void no_name_is_missed(void **state)
{
	struct known *k = *state;
	char name[16];
	bool known = true;

	known_fresh(k, 5);
	for (int i = 0; i < 150000 && known; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		known_name(k, 5, name);
		known = known_absent(k, 5, "none");
		/* Each of them, while it is small. */
		for (int at = 0; i < 2000 && i % 97 == 0 && at <= i; at++) {
			snprintf(name, sizeof(name), "n%d", at);
			assert_false(known_absent(k, 5, name));
		}
	}
	/* Too many are not kept. */
	assert_false(known);
	assert_false(known_absent(k, 5, "n7"));
}

static void the_oldest_gives_way(void **state)
{
	struct known *k = *state;

	for (uint64_t node = 1; node <= 65; node++)
		known_fresh(k, node);
	assert_false(known_absent(k, 1, "a"));
	for (uint64_t node = 2; node <= 65; node++)
		assert_true(known_absent(k, node, "a"));
}

static void nothing_is_known_to_nobody(void **state)
{
	struct agent_attr attr = {.size = 1};

	(void)state;
	known_attr(NULL, 5, &attr, 0);
	known_fresh(NULL, 5);
	known_name(NULL, 5, "a");
	known_changed(NULL, 5);
	known_moved(NULL);
	assert_false(known_get(NULL, 5, &attr));
	assert_false(known_absent(NULL, 5, "a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_folder_is_like, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_of_one_place, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_under_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(names_give_way, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_a_folder_made_here, setup, teardown),
		cmocka_unit_test_setup_teardown(no_name_is_missed, setup, teardown),
		cmocka_unit_test_setup_teardown(the_oldest_gives_way, setup, teardown),
		cmocka_unit_test(nothing_is_known_to_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
