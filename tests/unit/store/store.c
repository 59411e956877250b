/* The database: what it keeps. */
#include "tests/unit/store/store.h"

static void vms_are_kept(void **state)
{
	struct bench *b = *state;
	struct store_vm row = vm("a");

	assert_int_equal(store_vm_insert(b->store, &row, 100, NULL), 0);
	assert_int_equal(row.id, 1);
	assert_int_equal(row.address_index, 2);
	row.name = (char *)"renamed";
	row.memory = UINT64_MAX;
	row.started = 77;
	assert_int_equal(store_vm_update(b->store, &row, NULL), 0);
	reopen(b);
	assert_int_equal(store_vm_each(b->store, same, &row, NULL), 0);
	assert_int_equal(store_vm_delete(b->store, row.id, NULL), 0);
	assert_int_equal(store_vm_update(b->store, &row, NULL), -ENOENT);
	look(b);
	assert_int_equal(b->rows, 0);
}

static void names_and_addresses(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	struct store_vm one = vm("one"), two = vm("two"), again = vm("one"), three = vm("three");

	assert_int_equal(store_vm_insert(b->store, &one, 3, NULL), 0);
	assert_int_equal(store_vm_insert(b->store, &two, 3, NULL), 0);
	assert_int_equal(two.address_index, 3);
	assert_int_equal(store_vm_insert(b->store, &three, 3, &e), -ENOSPC);
	assert_int_equal(three.address_index, 0);
	assert_int_equal(store_vm_insert(b->store, &again, 9, &e), -EEXIST);
	assert_non_null(strstr(err_text(&e), "one"));
	assert_int_equal(again.address_index, 0);
	two.name = (char *)"one";
	assert_int_equal(store_vm_update(b->store, &two, &e), -EEXIST);
	/* Neither address nor number of a deleted one: the address is free again, the number never. */
	assert_int_equal(store_vm_delete(b->store, two.id, NULL), 0);
	assert_int_equal(store_vm_insert(b->store, &three, 3, NULL), 0);
	assert_int_equal(three.address_index, 3);
	assert_int_equal(three.id, 3);
	reopen(b);
	assert_int_equal(store_vm_delete(b->store, three.id, NULL), 0);
	reopen(b);
	two.name = (char *)"two";
	assert_int_equal(store_vm_insert(b->store, &two, 3, NULL), 0);
	assert_int_equal(two.id, 4);
	two.name = NULL;
	assert_int_equal(store_vm_update(b->store, &two, NULL), -EINVAL);
	look(b);
	assert_int_equal(b->rows, 2);
	assert_int_equal(b->ids[1], 4);
	b->rows = 0;
	b->stop = -ECHILD;
	assert_int_equal(store_vm_each(b->store, see, b, NULL), -ECHILD);
	assert_int_equal(b->rows, 1);
}

static int see_object(void *user, const struct store_object *row)
{
	assert_string_equal(row->name, "x");
	assert_string_equal(row->digest, "sha256:1");
	assert_int_equal(row->size, 5);
	++*(unsigned *)user;
	return 0;
}

static void objects_by_kind(void **state)
{
	struct bench *b = *state;
	struct store_object row = {.name = (char *)"x",
		.ref = (char *)"",
		.digest = (char *)"sha256:1",
		.arch = (char *)"",
		.kernel = (char *)"",
		.file = (char *)"x.ext4",
		.size = 5};
	unsigned n = 0;

	assert_int_equal(store_object_insert(b->store, "image", &row, NULL), 0);
	assert_int_equal(store_object_insert(b->store, "image", &row, NULL), -EEXIST);
	assert_int_equal(store_object_insert(b->store, "kernel", &row, NULL), 0);
	assert_int_equal(store_object_delete(b->store, "image", row.id, NULL), 0);
	assert_int_equal(store_object_each(b->store, "image", see_object, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_object_delete(b->store, "kernel", row.id, NULL), 0);
	assert_int_equal(store_object_each(b->store, "kernel", see_object, &n, NULL), 0);
	assert_int_equal(n, 1);
}

struct replaced {
	unsigned rows;
	uint32_t id;
	bool old, young;
};

static int see_replaced(void *user, const struct store_object *row)
{
	struct replaced *seen = user;

	seen->rows++;
	if (strcmp(row->name, "x-old") == 0 && strcmp(row->digest, "sha256:1") == 0)
		seen->old = true;
	if (strcmp(row->name, "x") == 0 && strcmp(row->digest, "sha256:2") == 0 &&
		strcmp(row->platform, "linux/amd64") == 0 && *row->config == '\0') {
		seen->young = true;
		seen->id = row->id;
	}
	return 0;
}

static int see_image_of_vm(void *user, const struct store_vm *row)
{
	(void)user;
	assert_string_equal(row->image, "x-old");
	return 0;
}

static void object_is_replaced(void **state)
{
	struct bench *b = *state;
	struct store_vm vm_row = vm("user");
	struct store_object row = {.name = (char *)"x",
		.ref = (char *)"",
		.digest = (char *)"sha256:1",
		.arch = (char *)"",
		.kernel = (char *)"",
		.file = (char *)"1.ext4"};
	struct replaced seen = {0};
	uint32_t old;

	assert_int_equal(store_object_insert(b->store, "image", &row, NULL), 0);
	assert_int_equal(store_vm_insert(b->store, &vm_row, 100, NULL), 0);
	old = row.id;
	row.digest = (char *)"sha256:2";
	row.file = (char *)"2.ext4";
	row.platform = (char *)"linux/amd64";
	assert_int_equal(
		store_object_replace(b->store, "image", &row, old, "x-old", "r", &vm_row.id, 1, NULL), 0);
	assert_int_equal(store_object_each(b->store, "image", see_replaced, &seen, NULL), 0);
	assert_true(seen.rows == 2 && seen.old && seen.young && seen.id == row.id && row.id != old);
	assert_int_equal(store_vm_each(b->store, see_image_of_vm, NULL, NULL), 0);
	/* The old name is taken: nothing of it is done. */
	old = row.id;
	row.digest = (char *)"sha256:3";
	assert_int_equal(
		store_object_replace(b->store, "image", &row, old, "x-old", "r", NULL, 0, NULL), -EEXIST);
	seen = (struct replaced){0};
	assert_int_equal(store_object_each(b->store, "image", see_replaced, &seen, NULL), 0);
	assert_true(seen.rows == 2 && seen.old && seen.young);
	/* Nobody uses it: it goes. */
	assert_int_equal(store_object_replace(b->store, "image", &row, old, NULL, NULL, NULL, 0, NULL), 0);
	seen = (struct replaced){0};
	assert_int_equal(store_object_each(b->store, "image", see_replaced, &seen, NULL), 0);
	assert_true(seen.rows == 2 && seen.old && !seen.young);
}

static int see_config(void *user, const char *key, const char *value)
{
	fprintf(user, "%s=%s;", key, value);
	return 0;
}

static void config(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_int_equal(store_config_set(b->store, "b", "1", NULL), 0);
	assert_int_equal(store_config_set(b->store, "a", "x'; DROP TABLE vm; --", NULL), 0);
	assert_int_equal(store_config_set(b->store, "b", "2", NULL), 0);
	assert_int_equal(store_config_set(b->store, "c", "3", NULL), 0);
	assert_int_equal(store_config_set(b->store, "c", NULL, NULL), 0);
	assert_int_equal(store_config_set(b->store, "never", NULL, NULL), 0);
	reopen(b);
	assert_int_equal(store_config_each(b->store, see_config, out, NULL), 0);
	fclose(out);
	assert_string_equal(text, "a=x'; DROP TABLE vm; --;b=2;");
}

static int see_mode(void *user, const struct store_mode *row)
{
	fprintf(user, "%" PRIx64 ":%o:%u:%u;", row->node, row->mode, row->uid, row->gid);
	return 0;
}

static void modes(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);
	const struct store_mode rows[] = {
		{5, 0600, 1, 2}, {5, 0640, 1, UINT32_MAX}, {6, 0444, 0, 0}, {UINT64_MAX - 1, 0400, 0, 0}};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		assert_int_equal(store_mode_set(b->store, &rows[i], NULL), 0);
	assert_int_equal(store_mode_forget(b->store, 6, 10, NULL), 0);
	assert_int_equal(store_mode_each(b->store, see_mode, out, NULL), 0);
	fclose(out);
	assert_string_equal(text, "fffffffffffffffe:400:0:0;5:640:1:4294967295;");
	assert_int_equal(store_mode_forget(b->store, UINT64_MAX - 9, UINT64_MAX, NULL), 0);
}

static void operation_numbers(void **state)
{
	struct bench *b = *state;
	uint64_t first = 0, second = 0;

	assert_int_equal(store_reserve_ops(b->store, 1000000, &first, NULL), 0);
	reopen(b);
	assert_int_equal(store_reserve_ops(b->store, 1, &second, NULL), 0);
	assert_int_equal(first, 1);
	assert_int_equal(second, 1000001);
}

/* Files are the owner's alone, whatever the umask. */
static void only_the_owners(void **state)
{
	struct bench *b = *state;
	static const char *const names[] = {"banger.db", "banger.db-wal", "banger.db-shm"};
	struct stat st;

	b->store = store_close(b->store);
	assert_int_equal(fchmodat(b->fd, "banger.db", 0666, 0), 0);
	umask(0);
	assert_int_equal(store_open(b->fd, &b->store, NULL), 0);
	assert_int_equal(store_config_set(b->store, "a", "b", NULL), 0);
	umask(022);
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		assert_int_equal(fstatat(b->fd, names[i], &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(vms_are_kept),
		TEST(names_and_addresses),
		TEST(objects_by_kind),
		TEST(object_is_replaced),
		TEST(config),
		TEST(modes),
		TEST(operation_numbers),
		TEST(only_the_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
