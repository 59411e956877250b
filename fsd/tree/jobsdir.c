/* exec/: the jobs in a guest. Rows are the VM's. */
#include <errno.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "tree/jobs.h"
#include "tree/tables.h"

static bool execs_exists(struct tree *t, uint64_t row)
{
	return row <= UINT32_MAX && tree_vm(t, (uint32_t)row);
}

static uint64_t execs_changed(struct tree *t, uint64_t row)
{
	return vm_dir_changed(t, row);
}

static uint64_t execs_parent(struct tree *t, uint64_t row)
{
	(void)t;
	return node_number(KIND_VM, row, 0);
}

static bool exec_next_row(struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	struct vm *vm = tree_vm(t, (uint32_t)row);
	struct exec *x = vm ? exec_next(vm, node_minor(after)) : NULL;
	struct exec_view v;

	if (!x)
		return false;
	exec_view(x, &v);
	free(t->name);
	if (asprintf(&t->name, "%u", v.number) < 0) {
		t->name = NULL;
		return false;
	}
	*ret = node_row(row, v.number);
	*ret_name = t->name;
	return true;
}

static bool exec_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	uint64_t number;

	if (name[0] == '0' || parse_u64(name, 1, NODE_MINOR_MAX, &number) < 0)
		return false;
	*ret = node_row(row, number);
	return job_of(t, *ret) != NULL;
}

static void exec_remove(struct tree *t, uint64_t row, uint64_t child, struct call *call)
{
	(void)row;
	call_done(call, exec_delete(job_of(t, child), NULL));
}

static const struct attr execs_attrs[] = {
	{.id = 2,
		.name = "clone",
		.mode = 0600,
		.ops = &job_clone_ops,
		.doc = "Opened for reading and writing, its first read makes a job and gives its number. "
		       "Opened for reading only, says nothing and makes nothing."},
	{.id = 3,
		.name = "run",
		.mode = 0600,
		.flags = ATTR_HELD,
		.ops = &job_run_ops,
		.doc = "Opened for reading and writing: write a command line for /bin/sh, read its output, "
		       "both streams, to the end."},
};

static int execs_removable(struct tree *t, uint64_t row)
{
	return dir_types[KIND_VM]->removable(t, row);
}

const struct dir_type execs_dir = {
	.kind = KIND_EXECS,
	.mode = 0700,
	.path = "vms/NAME/exec/",
	.doc = "Jobs in the guest, a directory each.",
	.attrs = execs_attrs,
	.attr_count = ELEMENTSOF(execs_attrs),
	.exists = execs_exists,
	.changed = execs_changed,
	.parent = execs_parent,
	.child = KIND_EXEC,
	.next = exec_next_row,
	.find = exec_find,
	.remove = exec_remove,
	.removable = execs_removable,
};
