/* What every row of every table must hold, whoever adds one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "tree/attr.h"
#include "tree/doc.h"

static void kinds_are_whole(void **state)
{
	(void)state;
	for (int kind = KIND_ROOT; kind < KIND_COUNT; kind++) {
		const struct dir_type *d = dir_types[kind];

		assert_non_null(d);
		assert_int_equal(d->kind, kind);
		assert_non_null(d->path);
		assert_true(d->doc && d->doc[0]);
		assert_non_null(d->exists);
		assert_non_null(d->changed);
		assert_non_null(d->parent);
		assert_int_equal(d->child != KIND_NONE, d->next && d->find);
		assert_int_equal(d->is_link, d->readlink != NULL);
	}
}

static void rows_are_whole(void **state)
{
	(void)state;
	for (int kind = KIND_ROOT; kind < KIND_COUNT; kind++) {
		size_t count;
		const struct attr *attrs = dir_attrs(dir_types[kind], &count);

		for (size_t i = 0; i < count; i++) {
			const struct attr *a = &attrs[i];
			bool dir = S_ISDIR(a->mode), table = a->child != KIND_NONE;

			assert_in_range(a->id, 2, NODE_ATTR_MAX);
			assert_true(a->name && a->name[0] && !strchr(a->name, '/'));
			for (size_t j = 0; j < i; j++) {
				assert_int_not_equal(a->id, attrs[j].id);
				assert_string_not_equal(a->name, attrs[j].name);
			}
			assert_true(table || (a->doc && a->doc[0]));
			assert_true(!table || dir);
			/* A writable mode and something that takes the writing belong together; likewise for reading. */
			if (!dir) {
				assert_int_equal(
					(a->mode & 0222) != 0, a->store || (a->ops && a->ops->write));
				assert_int_equal(
					(a->mode & 0444) != 0, a->show || a->ask || (a->ops && a->ops->read));
				assert_int_equal(a->mode & 0022, 0);
			}
			if (a->flags & ATTR_STORED)
				assert_non_null(a->show);
			if (a->flags & ATTR_LOG)
				assert_true(a->ops && a->ops->size && a->ops->read);
			/* What blocks must say when it does not. */
			if (a->flags & ATTR_STREAM)
				assert_true(a->ops && a->ops->poll);
		}
	}
}

/* Ids are in numbers that are kept: these may be added to and never changed. */
static void ids_stay(void **state)
{
	static const struct {
		enum node_kind kind;
		uint16_t id;
		const char *name;
	} rows[] = {
		{KIND_ROOT, 2, "README"},
		{KIND_ROOT, 4, "ctl"},
		{KIND_ROOT, 5, "log"},
		{KIND_VM, 2, "ctl"},
		{KIND_VM, 3, "state"},
		{KIND_VM, 4, "error"},
		{KIND_VM, 13, "stats"},
		{KIND_VM, 15, "log"},
		{KIND_VM, 16, "console"},
		{KIND_VM, 17, "workspace"},
		{KIND_EXEC, 8, "status"},
		{KIND_EXECS, 2, "clone"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		size_t count, found = 0;
		const struct attr *attrs = dir_attrs(dir_types[rows[i].kind], &count);

		for (size_t j = 0; j < count; j++)
			if (attrs[j].id == rows[i].id) {
				assert_string_equal(attrs[j].name, rows[i].name);
				found++;
			}
		assert_int_equal(found, 1);
	}
}

static void page_names_all(void **state)
{
	char *page = NULL;
	size_t size;
	FILE *out = open_memstream(&page, &size);

	(void)state;
	assert_int_equal(tree_print_doc(out), 0);
	fclose(out);
	for (int kind = KIND_ROOT; kind < KIND_COUNT; kind++) {
		size_t count;
		const struct attr *attrs = dir_attrs(dir_types[kind], &count);

		for (size_t i = 0; i < count; i++) {
			_cleanup_free_ char *row = NULL;

			if (!attrs[i].doc)
				continue;
			assert_true(asprintf(&row, "| %s%s |", attrs[i].name,
					    S_ISDIR(attrs[i].mode) ? "/" : "") > 0);
			assert_non_null(strstr(page, row));
		}
	}
	free(page);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_whole),
		cmocka_unit_test(rows_are_whole),
		cmocka_unit_test(ids_stay),
		cmocka_unit_test(page_names_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
