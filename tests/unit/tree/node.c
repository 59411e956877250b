#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "banger/cleanup.h"
#include "tree/node.h"

static void root_is_one(void **state)
{
	struct node n;

	(void)state;
	assert_int_equal(node_number(KIND_ROOT, 0, 0), 1);
	assert_true(node_parse(1, &n));
	assert_int_equal(n.kind, KIND_ROOT);
	assert_int_equal(n.row, 0);
	assert_int_equal(n.attr, 0);
	/* Its attributes are like all others. */
	assert_true(node_parse(node_number(KIND_ROOT, 0, 7), &n));
	assert_int_equal(n.attr, 7);
}

static void there_and_back(void **state)
{
	static const uint64_t rows[] = {0, 1, 999999, UINT32_MAX, NODE_ROW_MAX};
	static const uint16_t attrs[] = {0, 1, 256, NODE_ATTR_MAX};
	struct node n;

	(void)state;
	for (int kind = KIND_STREAM; kind < KIND_COUNT; kind++)
		for (size_t i = 0; i < ELEMENTSOF(rows); i++)
			for (size_t j = 0; j < ELEMENTSOF(attrs); j++) {
				uint64_t number = node_number((enum node_kind)kind, rows[i], attrs[j]);

				assert_true(number > 1);
				assert_true(node_parse(number, &n));
				assert_false(n.guest);
				assert_int_equal(n.kind, kind);
				assert_int_equal(n.row, rows[i]);
				assert_int_equal(n.attr, attrs[j]);
			}
}

static void guests(void **state)
{
	struct node n;

	(void)state;
	assert_true(node_parse(node_guest_number(999999, NODE_WORK, UINT32_MAX, 0xabcdef12), &n));
	assert_true(n.guest);
	assert_int_equal(n.vm, 999999);
	assert_int_equal(n.ino, UINT32_MAX);
	assert_int_equal(n.generation, 0x12);
	assert_int_equal(n.space, NODE_WORK);
	for (int space = NODE_WORK; space <= NODE_TREE; space++) {
		assert_true(node_parse(node_guest_number(7, (enum node_space)space, 8, 9), &n));
		assert_true(n.guest && n.space == (enum node_space)space);
		assert_true(n.vm == 7 && n.ino == 8 && n.generation == 9);
	}
	assert_true(node_guest_number(0, NODE_WORK, 0, 0) != node_number(KIND_ROOT, 0, 0));
}

static void no_such_nodes(void **state)
{
	static const uint64_t numbers[] = {
		0, 2, 5ull << 61, UINT64_MAX, (uint64_t)KIND_COUNT << 54, 1ull << 54};
	struct node n;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
		assert_false(node_parse(numbers[i], &n));
}

/* Numbers are kept by databases and by the kernel over restarts of the daemon: they must not move. */
static void numbers_stay(void **state)
{
	(void)state;
	assert_int_equal(node_number(KIND_VM, 1, 3), 144115188075859971ull);
	assert_int_equal(node_number(KIND_VMS, 0, 0), 126100789566373888ull);
	assert_int_equal(KIND_KERNEL_USER, 22);
	assert_int_equal(node_guest_number(1, NODE_WORK, 2, 3), 2305844108725322243ull);
	assert_int_equal(node_guest_number(1, NODE_WORK_IN_ROOT, 2, 3), 6917530127152710147ull);
	assert_int_equal(node_guest_number(1, NODE_TREE, 2, 3), 9223373136366404099ull);
}

static void rows_of_two(void **state)
{
	(void)state;
	assert_int_equal(node_major(node_row(999999, 5)), 999999);
	assert_int_equal(node_minor(node_row(999999, 5)), 5);
	assert_true(node_row(999999, NODE_MINOR_MAX) <= NODE_ROW_MAX);
}

static void aliases(void **state)
{
	uint64_t number = node_number(KIND_VM, 999999, 2), other = node_alias(number, 1);
	struct node n;

	(void)state;
	assert_true(other != number && other != node_alias(number, 2));
	for (uint64_t serial = 0; serial < 70000; serial += 997) {
		assert_true(node_parse(node_alias(number, serial), &n));
		assert_false(n.guest);
		assert_int_equal(n.kind, KIND_VM);
		assert_int_equal(n.row, 999999);
		assert_int_equal(n.attr, 2);
	}
	/* What hasn't room for a serial number, or is a guest's, is itself. */
	number = node_number(KIND_EXEC, 1ull << 30, 2);
	assert_true(node_alias(number, 5) == number);
	number = node_guest_number(3, NODE_WORK, 4, 5);
	assert_true(node_alias(number, 5) == number);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(aliases),
		cmocka_unit_test(root_is_one),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(guests),
		cmocka_unit_test(no_such_nodes),
		cmocka_unit_test(numbers_stay),
		cmocka_unit_test(rows_of_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
