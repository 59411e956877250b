#include <errno.h>
#include <poll.h>
#include <syslog.h>

#include "banger/cleanup.h"
#include "banger/journald.h"
#include "tree/state.h"

#define TIMEOUT_LONG 3600.0
#define TIMEOUT_LATE 1.0 /* what tail -f waits between two looks */
#define ATTRS_MAX    96

const struct attr *dir_attrs(const struct dir_type *dir, size_t *ret_count)
{
	static struct {
		struct attr rows[ATTRS_MAX];
		size_t count;
	} built[KIND_COUNT];
	__typeof__(built[0]) *b = &built[dir->kind];

	if (!dir->more) {
		*ret_count = dir->attr_count;
		return dir->attrs;
	}
	if (b->count == 0) {
		for (size_t i = 0; i < dir->attr_count; i++)
			b->rows[i] = dir->attrs[i];
		b->count =
			dir->attr_count + dir->more(b->rows + dir->attr_count, ATTRS_MAX - dir->attr_count);
	}
	*ret_count = b->count;
	return b->rows;
}

bool row_always(struct tree *t, uint64_t row)
{
	(void)t;
	return row == 0;
}

uint64_t changed_never(struct tree *t, uint64_t row)
{
	(void)row;
	return t->began;
}

uint64_t parent_root(struct tree *t, uint64_t row)
{
	(void)t;
	(void)row;
	return NODE_ROOT;
}

void tree_target_of(const struct dir_type *dir, const struct attr *attr, uint64_t row, struct target *ret)
{
	if (attr && S_ISDIR(attr->mode) && attr->child != KIND_NONE) {
		dir = dir_types[attr->child];
		attr = NULL;
	}
	*ret = (struct target){dir, attr, row, node_number(dir->kind, row, attr ? attr->id : 0)};
}

static bool is_there(struct tree *t, const struct target *at)
{
	return at->dir->exists(t, at->row) && (!at->attr || !at->attr->present || at->attr->present(t, at));
}

int tree_target(struct tree *t, uint64_t number, struct target *ret)
{
	const struct attr *attrs, *attr = NULL;
	struct target at;
	struct node n;
	size_t count;

	if (!node_parse(number, &n) || n.guest)
		return -ESTALE;
	at.dir = dir_types[n.kind];
	attrs = dir_attrs(at.dir, &count);
	for (size_t i = 0; n.attr != 0 && i < count && !attr; i++)
		if (attrs[i].id == n.attr)
			attr = &attrs[i];
	if (n.attr != 0 && !attr)
		return -ESTALE;
	at.attr = attr;
	at.row = n.row;
	at.node = node_number(n.kind, n.row, n.attr);
	if (!is_there(t, &at))
		return -ESTALE;
	*ret = at;
	return 0;
}

uint64_t tree_parent(struct tree *t, const struct target *at)
{
	if (at->attr)
		return node_number(at->dir->kind, at->row, 0);
	return at->dir->parent(t, at->row);
}

int tree_render(struct tree *t, const struct target *at, const char **ret, size_t *ret_size)
{
	if (!at->attr || !at->attr->show)
		return -EOPNOTSUPP;
	rewind(t->out);
	at->attr->show(t, at, t->out);
	if (fflush(t->out) != 0)
		return -ENOMEM;
	*ret = t->out_text;
	*ret_size = t->out_size;
	return 0;
}

int tree_stat(struct tree *t, const struct target *at, struct stat *ret)
{
	const struct attr *attr = at->attr;
	struct stat st = {.st_ino = at->node, .st_blksize = 4096};
	uint64_t changed = at->dir->changed(t, at->row);
	const char *text;
	size_t size = 0;
	int r;

	if (!attr)
		st.st_mode =
			at->dir->is_link ? S_IFLNK | 0777 : S_IFDIR | (at->dir->mode ? at->dir->mode : 0755);
	else
		st.st_mode = attr->mode & S_IFMT ? attr->mode : S_IFREG | attr->mode;
	st.st_nlink = S_ISDIR(st.st_mode) ? 2 : 1;
	if (attr && (attr->flags & ATTR_STORED) && attr->show) {
		r = tree_render(t, at, &text, &size);
		if (r < 0)
			return r;
	} else if (attr && (attr->flags & ATTR_LOG)) {
		size = attr->ops->size(t, at);
	}
	st.st_size = (off_t)size;
	st.st_blocks = (blkcnt_t)((size + 511) / 512);
	st.st_uid = t->owner;
	st.st_gid = t->group;
	st.st_mtim.tv_sec = (time_t)(changed / 1000000);
	st.st_mtim.tv_nsec = (long)(changed % 1000000) * 1000;
	st.st_ctim = st.st_atim = st.st_mtim;
	tree_modes_apply(t, at->node, &st);
	*ret = st;
	return 0;
}

int tree_lookup(struct tree *t, const struct target *dir, const char *name, struct target *ret)
{
	const struct attr *attrs;
	struct target at;
	uint64_t row;
	size_t count;

	if (dir->attr || dir->dir->is_link)
		return -ENOTDIR;
	attrs = dir_attrs(dir->dir, &count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(attrs[i].name, name) == 0) {
			tree_target_of(dir->dir, &attrs[i], dir->row, &at);
			if (!is_there(t, &at))
				return -ENOENT;
			*ret = at;
			return 0;
		}
	if (!dir->dir->find || !dir->dir->find(t, dir->row, name, &row))
		return -ENOENT;
	tree_target_of(dir_types[dir->dir->child], NULL, row, ret);
	return 0;
}

bool tree_list(struct tree *t, const struct target *dir, uint64_t cookie, struct target *ret,
	const char **ret_name, uint64_t *ret_cookie)
{
	const uint64_t rows = NODE_ATTR_MAX + 1;
	const struct attr *attrs;
	struct target at;
	uint64_t row;
	size_t count;

	attrs = dir_attrs(dir->dir, &count);
	for (size_t i = cookie; i < count; i++) {
		if (attrs[i].flags & (ATTR_STREAM | ATTR_HIDDEN))
			continue;
		tree_target_of(dir->dir, &attrs[i], dir->row, &at);
		if (!is_there(t, &at))
			continue;
		*ret = at;
		*ret_name = attrs[i].name;
		*ret_cookie = i + 1;
		return true;
	}
	if (!dir->dir->next ||
		!dir->dir->next(t, dir->row, cookie > rows ? cookie - rows : 0, &row, ret_name))
		return false;
	tree_target_of(dir_types[dir->dir->child], NULL, row, ret);
	*ret_cookie = rows + row;
	return true;
}

int tree_readlink(struct tree *t, const struct target *at, char **ret)
{
	return !at->attr && at->dir->readlink ? at->dir->readlink(t, at->row, ret) : -EINVAL;
}

double tree_entry_timeout(const struct target *at)
{
	/* Rows of a fleeting directory end without anybody having asked the kernel to remove them. */
	return at->dir->fleeting || (at->dir->moves && !at->attr) ? 0 : TIMEOUT_LONG;
}

double tree_attr_timeout(const struct target *at)
{
	if (at->dir->fleeting)
		return 0;
	if (at->attr && (at->attr->flags & ATTR_LATE))
		return TIMEOUT_LATE;
	return at->attr && (at->attr->flags & (ATTR_LOG | ATTR_TOLD)) == ATTR_LOG ? 0 : TIMEOUT_LONG;
}

void tree_stale(struct tree *t, enum node_kind kind, uint64_t row, uint16_t attr)
{
	t->listener->stale(t->user, node_number(kind, row, attr));
}

void tree_stale_files(struct tree *t, enum node_kind kind, uint64_t row)
{
	size_t count;
	const struct attr *attrs = dir_attrs(dir_types[kind], &count);

	for (size_t i = 0; i < count; i++)
		if (!S_ISDIR(attrs[i].mode))
			tree_stale(t, kind, row, attrs[i].id);
}

void tree_stale_all(struct tree *t, enum node_kind kind, uint64_t row)
{
	tree_stale_files(t, kind, row);
	tree_stale(t, kind, row, 0);
}

static const struct file_ops *ops_of(const struct handle *h)
{
	static const struct file_ops none;

	return h->at.attr && h->at.attr->ops ? h->at.attr->ops : &none;
}

int tree_open(struct tree *t, struct handle *h)
{
	const struct attr *attr = h->at.attr;
	int r = 0;

	if (!attr || S_ISDIR(attr->mode))
		return -EISDIR;
	if (h->writing && !attr->store && !(attr->ops && attr->ops->write))
		return -EACCES;
	if (h->reading && !attr->show && !attr->ask && !(attr->ops && attr->ops->read))
		return -EACCES;
	if (ops_of(h)->open)
		r = ops_of(h)->open(t, h);
	h->opened = r == 0;
	return r;
}

void tree_release(struct tree *t, struct handle *h)
{
	if (h->opened && ops_of(h)->release)
		ops_of(h)->release(t, h);
	h->opened = false;
	free(h->text);
	h->text = NULL;
}

static void serve_text(struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	size_t left = offset < h->size ? h->size - (size_t)offset : 0;

	call_data(call, h->text + (h->size - left), left < size ? left : size);
}

void handle_answer(struct handle *h, char *text, size_t n, struct call *call)
{
	free(h->text);
	h->text = text;
	h->size = n;
	serve_text(h, call->size, 0, call);
}

void tree_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	const struct attr *attr = h->at.attr;
	const char *text;
	char *copy;
	size_t n;
	int r;

	call->size = size;
	if (attr->ops && attr->ops->read) {
		attr->ops->read(t, h, size, offset, call);
		return;
	}
	if (h->text && offset > 0) {
		serve_text(h, size, offset, call);
		return;
	}
	if (!is_there(t, &h->at)) {
		call_done(call, -ESTALE);
		return;
	}
	if (attr->ask) {
		if (offset > 0)
			call_data(call, NULL, 0);
		else
			attr->ask(t, h, call);
		return;
	}
	r = tree_render(t, &h->at, &text, &n);
	copy = r < 0 ? NULL : malloc(n + 1);
	if (!copy) {
		call_done(call, r < 0 ? r : -ENOMEM);
		return;
	}
	memcpy(copy, text, n);
	free(h->text);
	h->text = copy;
	h->size = n;
	serve_text(h, size, offset, call);
}

void tree_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	const struct attr *attr = h->at.attr;
	_cleanup_err_ struct err e = {0};
	struct input in = {0};
	int r;

	/* What is read next through this handle is what came of it. */
	free(h->text);
	h->text = NULL;
	if (!is_there(t, &h->at)) {
		call_done(call, -ESTALE);
		return;
	}
	if (attr->ops && attr->ops->write) {
		attr->ops->write(t, h, data, n, call);
		return;
	}
	r = input_parse(data, n, &in, &e);
	if (r < 0) {
		if (h->at.dir->kind == KIND_VM) {
			_cleanup_free_ char *line = NULL;

			if (asprintf(&line, "%s: %s", attr->name, err_text(&e)) < 0)
				line = NULL;
			vm_set_error(tree_vm(t, (uint32_t)h->at.row), r, 0, line ? line : err_text(&e));
		}
		log_deed(t, call, attr->name, r, err_text(&e));
		call_done(call, r);
		return;
	}
	attr->store(t, &h->at, &in, call);
	input_clear(&in);
}

unsigned tree_poll(struct tree *t, struct handle *h)
{
	if (!is_there(t, &h->at))
		return POLLERR | POLLHUP;
	return ops_of(h)->poll ? ops_of(h)->poll(t, h) : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

struct vm *tree_vm(struct tree *t, uint32_t id)
{
	return t->vms ? vms_get(t->vms, id) : NULL;
}

void tree_set_vms(struct tree *t, struct vms *vms)
{
	t->vms = vms;
	if (vms)
		execs_watch(execs_of(vms), &tree_exec_watch, t);
}

static void on_objects(void *user, struct objects *o, uint32_t id, const char *name, bool appeared)
{
	struct tree *t = user;
	bool images = o == t->config.images;

	tree_stale(t, images ? KIND_IMAGES : KIND_KERNELS, 0, 0);
	/* Also of one that appears: under another name, with another reference than before. */
	tree_stale_all(t, images ? KIND_IMAGE : KIND_KERNEL, id);
	if (!appeared) {
		uint64_t first = node_number(images ? KIND_IMAGE : KIND_KERNEL, id, 0);

		tree_modes_forget(t, first, first + NODE_ATTR_MAX);
	}
	stream_event(
		t, "event=%s %s=%s", appeared ? "created" : "deleted", images ? "image" : "kernel", name);
}

static char *journal_field(const char *name, const char *value)
{
	char *field = NULL;

	return asprintf(&field, "%s=%s", name, value) < 0 ? NULL : field;
}

/* How an operation ended, for journalctl OPERATION=ID. */
static void journal_op(const struct op_view *op)
{
	static const char vms[] = "vms/";
	const char *vm = strncmp(op->target, vms, sizeof(vms) - 1) == 0 ? op->target + sizeof(vms) - 1 : NULL;
	char id[40];
	_cleanup_free_ char *kind = NULL, *target = NULL, *name = NULL, *line = NULL;
	const char *how = *op->error ? op->error : op->cancelled ? "cancelled" : "done";

	snprintf(id, sizeof(id), "OPERATION=%" PRIu64, op->id);
	kind = journal_field("KIND", op->kind);
	target = journal_field("TARGET", op->target);
	name = vm ? journal_field("VM", vm) : NULL;
	if (asprintf(&line, "%s %s: %s", op->kind, op->target, how) < 0)
		line = NULL;
	if (kind && target && line && (name || !vm))
		journald_line(*op->error ? LOG_WARNING : LOG_INFO, line,
			(const char *const[]){id, kind, target, name, NULL});
}

static void on_ops(void *user, const struct op_view *op, bool appeared)
{
	struct tree *t = user;

	t->ops_changed = io_wall_usec();
	tree_stale(t, KIND_OPS, 0, 0);
	stream_event(t, "event=%s op=%" PRIu64 " kind=%s target=%s", appeared ? "began" : "ended", op->id,
		op->kind, op->target);
	if (!appeared)
		journal_op(op);
}

int tree_new(const struct tree_config *config, const struct tree_listener *listener, void *user,
	struct tree **ret, struct err *e)
{
	struct tree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_sys(e, -ENOMEM, "tree");
	t->config = *config;
	t->listener = listener;
	t->user = user;
	t->began = t->ops_changed = t->vms_changed = io_wall_usec();
	t->owner = geteuid();
	t->group = getegid();
	LIST_INIT(&t->readers);
	LIST_INIT(&t->waiting);
	LIST_INIT(&t->due);
	LIST_INIT(&t->jobs);
	t->out = open_memstream(&t->out_text, &t->out_size);
	r = t->out ? log_open(config->state_fd, &t->log, e) : err_sys(e, -ENOMEM, "tree");
	if (r < 0) {
		tree_free(t);
		return r;
	}
	tree_modes_load(t, e);
	objects_watch(config->images, on_objects, t);
	objects_watch(config->kernels, on_objects, t);
	ops_watch(config->ops, on_ops, t);
	*ret = t;
	return 0;
}

void tree_stop(struct tree *t)
{
	t->ending = true;
	t->waking = sd_event_source_disable_unref(t->waking);
	objects_watch(t->config.images, NULL, NULL);
	objects_watch(t->config.kernels, NULL, NULL);
	ops_watch(t->config.ops, NULL, NULL);
	if (t->vms)
		execs_watch(execs_of(t->vms), NULL, NULL);
}

struct tree *tree_free(struct tree *t)
{
	if (!t)
		return NULL;
	log_close(t->log);
	if (t->out)
		fclose(t->out);
	free(t->out_text);
	free(t->name);
	free(t->modes);
	free(t);
	return NULL;
}
