/* The rows of VMs, images and kernels. */
#include <errno.h>

#include "banger/cleanup.h"
#include "store/database.h"

#define VM_COLUMNS                                                                                           \
	"name, image, kernel, engine, storage, vcpus, memory, disk, nat, address_index, created, changed,"   \
	" state, error, boot_id, started, accel, autostop, disk_rate, disk_ops, net_rate, publish"
#define VM_FORMAT "sssssiiiiiiisssisiiiis"

#define VM_VALUES(row)                                                                                       \
	(row)->name, (row)->image, (row)->kernel, (row)->engine, (row)->storage, (int64_t)(row)->vcpus,      \
		(int64_t)(row)->memory, (int64_t)(row)->disk, (int64_t)(row)->nat,                           \
		(int64_t)(row)->address_index, (int64_t)(row)->created, (int64_t)(row)->changed,             \
		(row)->state, (row)->error, (row)->boot_id, (int64_t)(row)->started, (row)->accel,           \
		(int64_t)(row)->autostop, (int64_t)(row)->disk_rate, (int64_t)(row)->disk_ops,               \
		(int64_t)(row)->net_rate, (row)->publish ? (row)->publish : ""

void store_vm_clear(struct store_vm *row)
{
	free(row->name);
	free(row->image);
	free(row->kernel);
	free(row->engine);
	free(row->storage);
	free(row->state);
	free(row->error);
	free(row->boot_id);
	free(row->accel);
	free(row->publish);
	*row = (struct store_vm){0};
}

/* The lowest address from 2 on that no VM has (1 is the bridge's). */
static int free_address(struct store *s, uint32_t address_max, uint32_t *ret, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	uint32_t wanted = 2;
	int r = database_prepare(s, &stmt, e, "SELECT address_index FROM vm ORDER BY address_index", "");
	int step = SQLITE_DONE;

	if (r < 0)
		return r;
	while ((step = sqlite3_step(stmt)) == SQLITE_ROW && sqlite3_column_int64(stmt, 0) == (int64_t)wanted)
		wanted++;
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		r = database_error(s, e, "addresses");
	sqlite3_finalize(stmt);
	if (r < 0)
		return r;
	if (wanted > address_max)
		return err_set(e, -ENOSPC, "all %u addresses are taken: delete a VM first", address_max - 1);
	*ret = wanted;
	return 0;
}

/* -EEXIST says which name it is. */
static int name_taken(struct err *e, struct err *from, const char *kind, const char *name)
{
	if (from->code == -EEXIST && name)
		return err_set(e, -EEXIST, "there is %s %s already", kind, name);
	return err_move(e, from);
}

static int insert_vm(struct store *s, struct store_vm *row, uint32_t address_max, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	uint32_t before = row->address_index;
	int r;

	r = free_address(s, address_max, &row->address_index, e);
	if (r < 0)
		return r;
	r = database_run(s, NULL, &mine,
		"INSERT INTO vm (" VM_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		VM_FORMAT, VM_VALUES(row));
	if (r < 0) {
		row->address_index = before;
		return name_taken(e, &mine, "a VM", row->name);
	}
	return 0;
}

/* Commits when R is 0. */
static int end_transaction(struct store *s, int r, struct err *e)
{
	if (r == 0)
		r = database_run(s, NULL, e, "COMMIT", "");
	/* Some failures have rolled back already. */
	if (r < 0 && !sqlite3_get_autocommit(s->db))
		database_run(s, NULL, NULL, "ROLLBACK", "");
	return r;
}

int store_vm_insert(struct store *s, struct store_vm *row, uint32_t address_max, struct err *e)
{
	uint32_t before = row->address_index;
	int r;

	r = database_run(s, NULL, e, "BEGIN IMMEDIATE", "");
	if (r < 0)
		return r;
	r = end_transaction(s, insert_vm(s, row, address_max, e), e);
	if (r < 0) {
		row->address_index = before;
		return r;
	}
	row->id = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

int store_vm_update(struct store *s, const struct store_vm *row, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int changes = 0, r;

	r = database_run(s, &changes, &mine,
		"UPDATE vm SET (" VM_COLUMNS ") = (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) WHERE id = ?",
		VM_FORMAT "i", VM_VALUES(row), (int64_t)row->id);
	if (r < 0)
		return name_taken(e, &mine, "a VM", row->name);
	return changes ? 0 : err_set(e, -ENOENT, "VM %s has no row", row->name);
}

/* A deletion frees space, and must not fail for the want of it. */
static int delete_row(struct store *s, const char *sql, const char *kind, uint32_t id, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = database_run(s, NULL, &mine, sql, "is", (int64_t)id, kind);

	if (r == -ENOSPC && database_use_reserve(s))
		r = database_run(s, NULL, &mine, sql, "is", (int64_t)id, kind);
	if (r < 0)
		return err_move(e, &mine);
	database_reserve(s);
	return 0;
}

int store_vm_delete(struct store *s, uint32_t id, struct err *e)
{
	return delete_row(s, "DELETE FROM vm WHERE id = ? AND ? = 'vm'", "vm", id, e);
}

int store_vm_each(
	struct store *s, int (*fn)(void *user, const struct store_vm *row), void *user, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = database_prepare(s, &stmt, e, "SELECT " VM_COLUMNS ", id FROM vm ORDER BY id", "");
	int step = SQLITE_DONE;

	while (r == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct store_vm row = {
			.name = database_text(stmt, 0),
			.image = database_text(stmt, 1),
			.kernel = database_text(stmt, 2),
			.engine = database_text(stmt, 3),
			.storage = database_text(stmt, 4),
			.vcpus = (uint32_t)sqlite3_column_int64(stmt, 5),
			.memory = (uint64_t)sqlite3_column_int64(stmt, 6),
			.disk = (uint64_t)sqlite3_column_int64(stmt, 7),
			.nat = sqlite3_column_int64(stmt, 8) != 0,
			.address_index = (uint32_t)sqlite3_column_int64(stmt, 9),
			.created = (uint64_t)sqlite3_column_int64(stmt, 10),
			.changed = (uint64_t)sqlite3_column_int64(stmt, 11),
			.state = database_text(stmt, 12),
			.error = database_text(stmt, 13),
			.boot_id = database_text(stmt, 14),
			.started = (uint64_t)sqlite3_column_int64(stmt, 15),
			.accel = database_text(stmt, 16),
			.autostop = (uint32_t)sqlite3_column_int64(stmt, 17),
			.disk_rate = (uint64_t)sqlite3_column_int64(stmt, 18),
			.disk_ops = (uint64_t)sqlite3_column_int64(stmt, 19),
			.net_rate = (uint64_t)sqlite3_column_int64(stmt, 20),
			.publish = database_text(stmt, 21),
			.id = (uint32_t)sqlite3_column_int64(stmt, 22),
		};

		if (!row.name || !row.image || !row.kernel || !row.engine || !row.storage || !row.state ||
			!row.error || !row.boot_id || !row.accel || !row.publish)
			r = err_sys(e, -ENOMEM, "VMs");
		else
			r = fn(user, &row);
		store_vm_clear(&row);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = database_error(s, e, "VMs");
	sqlite3_finalize(stmt);
	return r;
}

void store_object_clear(struct store_object *row)
{
	free(row->name);
	free(row->ref);
	free(row->digest);
	free(row->arch);
	free(row->kernel);
	free(row->file);
	free(row->ref_digest);
	free(row->platform);
	free(row->layers);
	free(row->config);
	*row = (struct store_object){0};
}

static const char *text_or_empty(const char *text)
{
	return text ? text : "";
}

int store_object_insert(struct store *s, const char *kind, struct store_object *row, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r;

	r = database_run(s, NULL, &mine,
		"INSERT INTO object (kind, name, ref, digest, arch, kernel, file, size, created, ref_digest, "
		"platform, layers, config) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
		"sssssssiissss", kind, row->name, row->ref, row->digest, row->arch, row->kernel, row->file,
		(int64_t)row->size, (int64_t)row->created, text_or_empty(row->ref_digest),
		text_or_empty(row->platform), text_or_empty(row->layers), text_or_empty(row->config));
	if (r < 0)
		return name_taken(e, &mine, kind, row->name);
	row->id = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return 0;
}

int store_object_delete(struct store *s, const char *kind, uint32_t id, struct err *e)
{
	return delete_row(s, "DELETE FROM object WHERE id = ? AND kind = ?", kind, id, e);
}

static int replace_object(struct store *s, const char *kind, struct store_object *row, uint32_t old,
	const char *old_name, const char *old_ref, const uint32_t *ids, size_t n, struct err *e)
{
	int r = old_name ? database_run(s, NULL, e,
				   "UPDATE object SET name = ?, ref = ? WHERE id = ? AND kind = ?", "ssis",
				   old_name, old_ref, (int64_t)old, kind)
			 : database_run(s, NULL, e, "DELETE FROM object WHERE id = ? AND kind = ?", "is",
				   (int64_t)old, kind);

	for (size_t i = 0; r == 0 && old_name && i < n; i++)
		r = database_run(
			s, NULL, e, "UPDATE vm SET image = ? WHERE id = ?", "si", old_name, (int64_t)ids[i]);
	return r < 0 ? r : store_object_insert(s, kind, row, e);
}

int store_object_replace(struct store *s, const char *kind, struct store_object *row, uint32_t old,
	const char *old_name, const char *old_ref, const uint32_t *ids, size_t n, struct err *e)
{
	int r = database_run(s, NULL, e, "BEGIN IMMEDIATE", "");

	if (r < 0)
		return r;
	return end_transaction(s, replace_object(s, kind, row, old, old_name, old_ref, ids, n, e), e);
}

int store_object_each(struct store *s, const char *kind,
	int (*fn)(void *user, const struct store_object *row), void *user, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = database_prepare(s, &stmt, e,
		"SELECT id, name, ref, digest, arch, kernel, file, size, created, ref_digest, platform, "
		"layers, config FROM object WHERE kind = ? ORDER BY id",
		"s", kind);
	int step = SQLITE_DONE;

	while (r == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct store_object row = {
			.id = (uint32_t)sqlite3_column_int64(stmt, 0),
			.name = database_text(stmt, 1),
			.ref = database_text(stmt, 2),
			.digest = database_text(stmt, 3),
			.arch = database_text(stmt, 4),
			.kernel = database_text(stmt, 5),
			.file = database_text(stmt, 6),
			.size = (uint64_t)sqlite3_column_int64(stmt, 7),
			.created = (uint64_t)sqlite3_column_int64(stmt, 8),
			.ref_digest = database_text(stmt, 9),
			.platform = database_text(stmt, 10),
			.layers = database_text(stmt, 11),
			.config = database_text(stmt, 12),
		};

		if (!row.name || !row.ref || !row.digest || !row.arch || !row.kernel || !row.file ||
			!row.ref_digest || !row.platform || !row.layers || !row.config)
			r = err_sys(e, -ENOMEM, "%ss", kind);
		else
			r = fn(user, &row);
		store_object_clear(&row);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = database_error(s, e, kind);
	sqlite3_finalize(stmt);
	return r;
}
