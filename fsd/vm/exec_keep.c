/* What is kept of a job beside its output, in N.job: fields (banger/fields.h), the last of them its arguments and variables. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>

#include "banger/cleanup.h"
#include "banger/fields.h"
#include "banger/io.h"
#include "vm/exec_job.h"

#define MAGIC    "banger-job 1"
#define FILE_MAX (1u << 20)
#define LIST_MAX 1024
#define TEMP     ".job.tmp"

static void name_of(const struct exec *x, char ret[24])
{
	snprintf(ret, 24, "%u.job", x->number);
}

static size_t count_of(char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static void put(const struct exec *x, FILE *out)
{
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {{"state", x->state}, {"wire", x->wire}, {"tty", x->tty}, {"input", x->want_stdin},
		{"keep", x->keep_stdin}, {"closed", x->stdin_closed}, {"rows", x->rows}, {"cols", x->cols},
		{"kind", x->exit_kind}, {"code", x->exit_code}, {"errno", (uint64_t)-x->start_code},
		{"created", x->created}, {"started", x->started}, {"ended", x->ended},
		{"stop", x->stop_signal}, {"fleeting", x->fleeting}, {"handle", x->handle},
		{"argc", count_of(x->argv)}, {"envc", count_of(x->env)}};

	fprintf(out, MAGIC "%c", 0);
	for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
		fprintf(out, "%s %" PRIu64 "%c", numbers[i].key, numbers[i].value, 0);
	fprintf(out, "cwd %s%cuser %s%c", x->cwd, 0, x->user, 0);
	for (size_t i = 0; x->argv && x->argv[i]; i++)
		fprintf(out, "%s%c", x->argv[i], 0);
	for (size_t i = 0; x->env && x->env[i]; i++)
		fprintf(out, "%s%c", x->env[i], 0);
}

/* Whole or as before, also for who is killed in the middle. No fsync: it outlives the daemon, not the machine's boot, with which the job ends. */
static int replace(int dir_fd, const char *name, const char *text, size_t n)
{
	_cleanup_close_ int fd =
		openat(dir_fd, TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : io_write_full(fd, text, n);

	if (r == 0 && renameat(dir_fd, TEMP, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, TEMP, 0);
	return r;
}

void exec_keep(const struct exec *x)
{
	_cleanup_free_ char *text = NULL;
	char name[24];
	size_t n = 0;
	FILE *out = x->deleted ? NULL : open_memstream(&text, &n);
	int r = -ENOMEM;

	if (x->deleted)
		return;
	name_of(x, name);
	if (out) {
		put(x, out);
		r = fclose(out) == 0 ? replace(x->vm->dir_fd, name, text, n) : -ENOMEM;
	}
	if (r < 0)
		fprintf(stderr, "banger-fsd: vms/%u/exec/%s: %s\n", x->vm->id, name, strerror(-r));
}

/* COUNT strings as a list in one block. */
static int get_list(struct fields *f, uint64_t count, char ***ret)
{
	struct fields from = *f;
	char **list, *at;

	for (uint64_t i = 0; i < count; i++)
		if (!fields_next(f))
			return -EUCLEAN;
	list = malloc((count + 1) * sizeof(*list) + (size_t)(f->at - from.at));
	if (!list)
		return -ENOMEM;
	at = (char *)(list + count + 1);
	if (f->at > from.at)
		memcpy(at, from.at, (size_t)(f->at - from.at));
	for (uint64_t i = 0; i < count; i++) {
		list[i] = at;
		at += strlen(at) + 1;
	}
	list[count] = NULL;
	*ret = list;
	return 0;
}

static int get_text(struct fields *f, const char *key, char **ret)
{
	const char *value = fields_value(f, key);
	char *copy = value ? strdup(value) : NULL;

	if (!copy)
		return value ? -ENOMEM : -EUCLEAN;
	free(*ret);
	*ret = copy;
	return 0;
}

static int get(struct exec *x, struct fields *f)
{
	enum {
		STATE,
		WIRE,
		TTY,
		INPUT,
		KEEP,
		CLOSED,
		ROWS,
		COLS,
		KIND,
		CODE,
		ERRNO,
		CREATED,
		STARTED,
		ENDED,
		STOP,
		FLEETING,
		HANDLE,
		ARGC,
		ENVC,
		COUNT
	};
	static const struct {
		const char *key;
		uint64_t max;
	} rows[COUNT] = {{"state", EXEC_FAILED}, {"wire", UINT32_MAX}, {"tty", 1}, {"input", 1}, {"keep", 1},
		{"closed", 1}, {"rows", UINT16_MAX}, {"cols", UINT16_MAX}, {"kind", 2}, {"code", 255},
		{"errno", 4095}, {"created", UINT64_MAX}, {"started", UINT64_MAX}, {"ended", UINT64_MAX},
		{"stop", 64}, {"fleeting", 1}, {"handle", UINT64_MAX}, {"argc", LIST_MAX},
		{"envc", LIST_MAX}};
	const char *magic = fields_next(f);
	uint64_t v[COUNT];
	int r = magic && strcmp(magic, MAGIC) == 0 ? 0 : -EUCLEAN;

	for (size_t i = 0; i < COUNT && r == 0; i++)
		r = fields_number(f, rows[i].key, rows[i].max, &v[i]);
	if (r < 0)
		return r;
	x->state = (enum exec_state)v[STATE];
	x->wire = (uint32_t)v[WIRE];
	x->tty = v[TTY];
	x->want_stdin = v[INPUT];
	x->keep_stdin = v[KEEP];
	x->stdin_closed = v[CLOSED];
	x->rows = (uint16_t)v[ROWS];
	x->cols = (uint16_t)v[COLS];
	x->exit_kind = (uint32_t)v[KIND];
	x->exit_code = (uint32_t)v[CODE];
	x->start_code = -(int)v[ERRNO];
	x->created = v[CREATED];
	x->started = v[STARTED];
	x->ended = v[ENDED];
	x->stop_signal = (uint32_t)v[STOP];
	x->fleeting = v[FLEETING];
	x->handle = v[HANDLE];
	if ((r = get_text(f, "cwd", &x->cwd)) < 0 || (r = get_text(f, "user", &x->user)) < 0 ||
		(r = get_list(f, v[ARGC], &x->argv)) < 0 || (r = get_list(f, v[ENVC], &x->env)) < 0)
		return r;
	return v[ARGC] > 0 && f->at == f->end ? 0 : -EUCLEAN;
}

int exec_keep_load(struct exec *x)
{
	_cleanup_free_ char *text = NULL;
	struct fields f;
	char name[24];
	size_t n;
	int r;

	name_of(x, name);
	r = io_read_file(x->vm->dir_fd, name, FILE_MAX, &text, &n, NULL);
	if (r < 0)
		return r;
	f = (struct fields){text, text + n};
	return get(x, &f);
}

void exec_keep_remove(const struct exec *x)
{
	char name[24];

	name_of(x, name);
	unlinkat(x->vm->dir_fd, name, 0);
}
