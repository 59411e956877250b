#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "banger/array.h"
#include "banger/cleanup.h"
#include "banger/fields.h"
#include "banger/io.h"
#include "repo/prepared.h"

#define MAGIC    "banger-prepared 1"
#define FILE_MAX (1u << 30)

int filelist_add(struct filelist *m, const char *path, uint32_t mode, const uint8_t host[WORKSPACE_ID])
{
	char *copy;

	if (!workspace_path_valid(path, strlen(path)))
		return -EINVAL;
	if (ARRAY_GROW(m->entries, m->count, m->room) < 0)
		return -ENOMEM;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	m->entries[m->count] = (struct filelist_entry){.path = copy, .mode = mode};
	memcpy(m->entries[m->count].seen, host, WORKSPACE_ID);
	memcpy(m->entries[m->count++].host, host, WORKSPACE_ID);
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct filelist_entry *)a)->path, ((const struct filelist_entry *)b)->path);
}

void filelist_sort(struct filelist *m)
{
	size_t n = 0;

	if (m->count > 1)
		qsort(m->entries, m->count, sizeof(*m->entries), by_path);
	for (size_t i = 0; i < m->count; i++)
		if (n > 0 && strcmp(m->entries[n - 1].path, m->entries[i].path) == 0)
			free(m->entries[i].path);
		else
			m->entries[n++] = m->entries[i];
	m->count = n;
}

struct filelist_entry *filelist_find(const struct filelist *m, const char *path)
{
	struct filelist_entry key = {.path = (char *)path};

	return m->count == 0 ? NULL : bsearch(&key, m->entries, m->count, sizeof(*m->entries), by_path);
}

void filelist_remove(struct filelist *m, struct filelist_entry *entry)
{
	size_t after = (size_t)(m->entries + m->count - entry) - 1;

	free(entry->path);
	memmove(entry, entry + 1, after * sizeof(*entry));
	m->count--;
}

void filelist_clear(struct filelist *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->entries[i].path);
	free(m->entries);
	*m = (struct filelist){0};
}

struct prepared *prepared_free(struct prepared *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->repo_count; i++) {
		free(p->repos[i].prefix);
		free(p->repos[i].head);
		free(p->repos[i].names);
		free(p->repos[i].index);
		free(p->repos[i].tree);
		free(p->repos[i].commit);
	}
	free(p->repos);
	filelist_clear(&p->files);
	free(p->source);
	free(p->ref);
	free(p);
	return NULL;
}

struct prepared *prepared_new(const char *source, const char *ref)
{
	struct prepared *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->source = strdup(source);
	p->ref = strdup(ref);
	return p->source && p->ref ? p : prepared_free(p);
}

static char *copy(const char *s)
{
	return strdup(s ? s : "");
}

int prepared_add_repo(struct prepared *p, const char *prefix, const char *head, const char *names,
	const char *index, const char *tree, const char *commit)
{
	struct prepared_repo *bigger = realloc(p->repos, (p->repo_count + 1) * sizeof(*bigger)), *r;

	if (!bigger)
		return -ENOMEM;
	p->repos = bigger;
	r = &p->repos[p->repo_count++];
	*r = (struct prepared_repo){
		copy(prefix), copy(head), copy(names), copy(index), copy(tree), copy(commit)};
	return r->prefix && r->head && r->names && r->index && r->tree && r->commit ? 0 : -ENOMEM;
}

const struct prepared_repo *prepared_repo_find(const struct prepared *p, const char *prefix)
{
	for (size_t i = 0; p && i < p->repo_count; i++)
		if (strcmp(p->repos[i].prefix, prefix) == 0)
			return &p->repos[i];
	return NULL;
}

static void put_hex(FILE *out, const uint8_t id[WORKSPACE_ID])
{
	static const char digits[] = "0123456789abcdef";
	char text[WORKSPACE_ID * 2 + 1];

	for (size_t i = 0; i < WORKSPACE_ID; i++) {
		text[2 * i] = digits[id[i] >> 4];
		text[2 * i + 1] = digits[id[i] & 15];
	}
	text[sizeof(text) - 1] = '\0';
	fputs(text, out);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int get_hex(const char *text, uint8_t ret[WORKSPACE_ID])
{
	for (size_t i = 0; i < WORKSPACE_ID; i++) {
		int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);

		if (low < 0)
			return -EUCLEAN;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Fields, each ended by a NUL: "KEY VALUE". What a path may hold they may hold. */
int prepared_save(const struct prepared *p, int dir, const char *name, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return err_sys(e, -ENOMEM, "%s", name);
	fprintf(out, MAGIC "%csource %s%cref %s%cgit %d%cdirty %d%cbytes %" PRIu64 "%cwhen %" PRIu64 "%c", 0,
		p->source, 0, p->ref, 0, p->is_git, 0, p->dirty, 0, p->bytes, 0, p->when, 0);
	for (size_t i = 0; i < p->repo_count; i++) {
		const struct prepared_repo *r = &p->repos[i];

		fprintf(out, "repo %s%chead %s%cnames %s%cindex %s%ctree %s%ccommit %s%c", r->prefix, 0,
			r->head, 0, r->names, 0, r->index, 0, r->tree, 0, r->commit, 0);
	}
	fprintf(out, "files %zu%c", p->files.count, 0);
	for (size_t i = 0; i < p->files.count; i++) {
		const struct filelist_entry *f = &p->files.entries[i];

		fprintf(out, "%06o ", f->mode);
		put_hex(out, f->host);
		putc(' ', out);
		put_hex(out, f->guest);
		fprintf(out, " %s%c", f->path, 0);
	}
	if (fclose(out) != 0)
		return err_sys(e, -ENOMEM, "%s", name);
	return io_replace_file(dir, name, text, n, 0600, e);
}

static int parse_repo(struct fields *f, struct prepared *p)
{
	const char *prefix = fields_value(f, "repo"), *head = fields_value(f, "head"),
		   *names = fields_value(f, "names"), *index = fields_value(f, "index"),
		   *tree = fields_value(f, "tree"), *commit = fields_value(f, "commit");

	if (!prefix || !head || !names || !index || !tree || !commit)
		return -EUCLEAN;
	return prepared_add_repo(p, prefix, head, names, index, tree, commit);
}

/* "MODE HOST GUEST PATH" */
static int parse_file(const char *field, struct filelist *m)
{
	const size_t hex = (size_t)WORKSPACE_ID * 2, front = 7 + 2 * (hex + 1);
	uint8_t host[WORKSPACE_ID], guest[WORKSPACE_ID];
	uint32_t mode = 0;
	int r;

	if (strlen(field) <= front || field[6] != ' ' || field[7 + hex] != ' ' || field[front - 1] != ' ')
		return -EUCLEAN;
	for (int i = 0; i < 6; i++) {
		if (field[i] < '0' || field[i] > '7')
			return -EUCLEAN;
		mode = mode << 3 | (uint32_t)(field[i] - '0');
	}
	if (get_hex(field + 7, host) < 0 || get_hex(field + 7 + hex + 1, guest) < 0)
		return -EUCLEAN;
	r = filelist_add(m, field + front, mode, host);
	if (r == 0)
		memcpy(m->entries[m->count - 1].guest, guest, WORKSPACE_ID);
	return r == -EINVAL ? -EUCLEAN : r;
}

static int parse(struct fields *f, bool files, struct prepared *p)
{
	uint64_t git, dirty, count;
	int r;

	if ((r = fields_number(f, "git", 1, &git)) < 0 || (r = fields_number(f, "dirty", 1, &dirty)) < 0 ||
		(r = fields_number(f, "bytes", UINT64_MAX, &p->bytes)) < 0 ||
		(r = fields_number(f, "when", UINT64_MAX, &p->when)) < 0)
		return r;
	p->is_git = git;
	p->dirty = dirty;
	while (f->end - f->at > 5 && memcmp(f->at, "repo ", 5) == 0)
		if ((r = parse_repo(f, p)) < 0)
			return r;
	if ((r = fields_number(f, "files", UINT32_MAX, &count)) < 0)
		return r;
	p->file_count = count;
	if (!files)
		return 0;
	for (uint64_t i = 0; i < count && r == 0; i++) {
		const char *field = fields_next(f);

		r = field ? parse_file(field, &p->files) : -EUCLEAN;
	}
	return r == 0 && f->at != f->end ? -EUCLEAN : r;
}

int prepared_parse(const char *text, size_t n, bool files, struct prepared **ret, struct err *e)
{
	struct fields f = {text, text + n};
	const char *magic = fields_next(&f), *source = fields_value(&f, "source"),
		   *ref = fields_value(&f, "ref");
	_cleanup_(prepared_freep) struct prepared *p = NULL;
	int r;

	if (!magic || strcmp(magic, MAGIC) != 0 || !source || !ref)
		return err_set(e, -EUCLEAN,
			"what is known of the workspace can't be read: prepare it again with force");
	p = prepared_new(source, ref);
	r = p ? parse(&f, files, p) : -ENOMEM;
	if (r == -EUCLEAN)
		return err_set(
			e, r, "what is known of the workspace can't be read: prepare it again with force");
	if (r < 0)
		return err_sys(e, r, "workspace");
	filelist_sort(&p->files);
	*ret = TAKE_PTR(p);
	return 0;
}

int prepared_load(int dir, const char *name, bool files, struct prepared **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = io_read_file(dir, name, FILE_MAX, &text, &n, e);

	return r < 0 ? r : prepared_parse(text, n, files, ret, e);
}
