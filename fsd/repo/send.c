#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/send.h"

#define NAMED        3 /* of the files that are in the way */
#define TEXT_MAX     1024
#define FOLDERS_DEEP 64
#define FILE_HEAD    16
#define PIECE        (WORKSPACE_PAYLOAD_MAX - 64)

struct change {
	size_t at; /* in the list: of now, or (REMOVE) of before */
	bool remove;
	bool in_way; /* the guest has changed it */
};

struct send {
	struct checkout *c;
	const struct prepared *before;
	bool force;
	int sock;
	struct op *op;
	struct send_result *result;
	struct change *changes;
	size_t count, room;
	/* Whose states the guest tells, in their order: indices into the list, SIZE_MAX: nobody's. */
	size_t *sent;
	size_t sent_count, sent_room;
	bool *heads;                        /* of each repository: the guest's is another one */
	const struct prepared_repo **repos; /* that were asked for, in their order */
	bool **asked;                       /* where the answers to what was asked go: set when it is no */
	uint64_t done, total;
	struct workspace_reader in;
	uint8_t buffer[PIECE];
};

/* The other side has gone, or has said why. */
static int lost(struct send *s, int code, struct err *e)
{
	struct workspace_record rec;
	uint32_t number;

	for (unsigned i = 0; i < 4096 && workspace_read(&s->in, &rec) > 0; i++)
		if (rec.type == WORKSPACE_FAILED && rec.length > 4 && rec.length < TEXT_MAX) {
			_cleanup_free_ char *text = strndup((const char *)rec.payload + 4, rec.length - 4);

			memcpy(&number, rec.payload, 4);
			for (char *p = text; p && *p; p++)
				if ((unsigned char)*p < ' ' || *p == 127)
					*p = '?';
			return err_set(e, number > 0 && number < 4096 ? -(int)number : -EIO,
				"in the guest: %s", text ? text : "?");
		}
	return code == -EPROTO ? err_set(e, code, "the guest broke the protocol")
			       : err_set(e, code == -ENODATA || code == 0 ? -EPIPE : code,
					 "the guest's side has ended");
}

static int tell(struct send *s, uint32_t type, const void *head, size_t head_n, const void *body,
	size_t body_n, struct err *e)
{
	int r = workspace_write(s->sock, type, head, head_n, body, body_n);

	return r < 0 ? lost(s, r, e) : 0;
}

static int hear(struct send *s, struct workspace_record *rec, struct err *e)
{
	int r = workspace_read(&s->in, rec);

	if (r == 1 && rec->type == WORKSPACE_FAILED) {
		/* It is read once more, by who tells. */
		s->in.at -= 8 + rec->length;
		return lost(s, -EIO, e);
	}
	return r == 1 ? 0 : lost(s, r, e);
}

static int grow(void **list, size_t count, size_t *room, size_t size)
{
	void *bigger;

	if (count < *room)
		return 0;
	bigger = realloc(*list, (*room * 2 + 256) * size);
	if (!bigger)
		return -ENOMEM;
	*list = bigger;
	*room = *room * 2 + 256;
	return 0;
}

static int add_change(struct send *s, size_t at, bool remove, struct err *e)
{
	if (grow((void **)&s->changes, s->count, &s->room, sizeof(*s->changes)) < 0)
		return err_sys(e, -ENOMEM, "prepare");
	s->changes[s->count++] = (struct change){.at = at, .remove = remove};
	return 0;
}

static const struct filelist_entry *entry_of(const struct send *s, const struct change *c)
{
	return c->remove ? &s->before->files.entries[c->at] : &s->c->now->files.entries[c->at];
}

static bool is_same(const struct filelist_entry *now, const struct filelist_entry *before)
{
	static const uint8_t unknown[WORKSPACE_ID];

	if (S_ISDIR(now->mode))
		return S_ISDIR(before->mode);
	return now->mode == before->mode && memcmp(now->host, before->host, WORKSPACE_ID) == 0 &&
	       memcmp(now->host, unknown, WORKSPACE_ID) != 0;
}

/* Both are in order of their paths. */
static int compare(struct send *s, struct err *e)
{
	struct filelist *now = &s->c->now->files;
	static const struct filelist none;
	const struct filelist *before = s->before ? &s->before->files : &none;
	size_t i = 0, k = 0;
	int r = 0;

	while (r == 0 && (i < now->count || k < before->count)) {
		int order = i == now->count      ? 1
			    : k == before->count ? -1
						 : strcmp(now->entries[i].path, before->entries[k].path);

		if (order > 0) {
			r = add_change(s, k++, true, e);
			continue;
		}
		if (order == 0 && is_same(&now->entries[i], &before->entries[k]))
			memcpy(now->entries[i].guest, before->entries[k].guest, WORKSPACE_ID);
		else
			r = add_change(s, i, false, e);
		i++;
		k += order == 0;
	}
	return r;
}

/* Whether the guest's HEAD is where it may be moved on from: where it was brought to, or in what is brought. */
static bool is_ours(
	const struct send *s, const struct prepared_repo *repo, const char *head, const char *names)
{
	const struct prepared_repo *before = prepared_repo_find(s->before, repo->prefix);

	/* Of an earlier prepare that was cut off: nothing was done there since. */
	if (!before)
		return strcmp(head, repo->head) == 0 && (!*names || strcmp(names, repo->names) == 0);
	if (strcmp(head, before->head) != 0 && strcmp(head, repo->head) != 0)
		return false;
	return strcmp(names, before->names) == 0 || !*names || checkout_contains(s->c, repo, names);
}

/* u32 number of the question, content of HEAD, NUL, the commit that is. */
static int on_head(struct send *s, const struct workspace_record *rec, size_t first, size_t asked)
{
	_cleanup_free_ char *text = NULL, *names = NULL;
	uint32_t number;
	size_t n;

	if (rec->length < 5)
		return -EPROTO;
	memcpy(&number, rec->payload, 4);
	text = strndup((const char *)rec->payload + 4, rec->length - 4);
	n = text ? strlen(text) + 1 : 0;
	if (number < first || number >= asked || n + 4 > rec->length)
		return -EPROTO;
	if (!text)
		return -ENOMEM;
	names = strndup((const char *)rec->payload + 4 + n, rec->length - 4 - n);
	if (!names)
		return -ENOMEM;
	*s->asked[number] = !is_ours(s, s->repos[number - first], text, names);
	return 0;
}

/* Of ASKED questions: those that are answered no are told; those from HEADS on are of repositories. */
static int answers(struct send *s, size_t heads, size_t asked, struct err *e)
{
	struct workspace_record rec;
	size_t heard = 0;
	int r = tell(s, WORKSPACE_ANSWERS, NULL, 0, NULL, 0, e);

	while (r == 0 && (r = hear(s, &rec, e)) == 0) {
		if (rec.type == WORKSPACE_HEAD && ++heard <= asked) {
			int k = on_head(s, &rec, heads, asked);

			if (k < 0)
				return lost(s, k, e);
			continue;
		}
		if (rec.type != WORKSPACE_ANSWERS || rec.length % 4 != 0)
			return lost(s, -EPROTO, e);
		if (rec.length == 0)
			break;
		for (size_t i = 0; i < rec.length; i += 4) {
			uint32_t number;

			memcpy(&number, rec.payload + i, 4);
			if (number >= asked || ++heard > asked)
				return lost(s, -EPROTO, e);
			*s->asked[number] = true;
		}
	}
	return r;
}

/* What is asked for stays untouched where the repository hasn't moved on here. */
static bool moves(const struct send *s, const struct prepared_repo *repo)
{
	const struct prepared_repo *before = prepared_repo_find(s->before, repo->prefix);

	return !before || strcmp(before->head, repo->head) != 0 || strcmp(before->names, repo->names) != 0 ||
	       strcmp(before->index, repo->index) != 0;
}

static int ask_head(struct send *s, const struct prepared_repo *repo, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s.git", repo->prefix) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "prepare");
	}
	return tell(s, WORKSPACE_HEAD, path, strlen(path), NULL, 0, e);
}

static int ask(struct send *s, struct err *e)
{
	static const uint8_t absent[WORKSPACE_ID];
	size_t n = 0, files;
	int r = 0;

	op_stage(s->op, "comparing");
	for (size_t i = 0; i < s->count && r == 0; i++) {
		struct change *c = &s->changes[i];
		const struct filelist_entry *f = entry_of(s, c),
					    *old = s->before ? filelist_find(&s->before->files, f->path)
							     : NULL;
		uint32_t flags = c->remove || S_ISDIR(f->mode) ? WORKSPACE_MAY_LACK : 0;
		uint8_t head[4 + WORKSPACE_ID];

		memcpy(head, &flags, 4);
		memcpy(head + 4, old && !S_ISDIR(old->mode) ? old->guest : absent, WORKSPACE_ID);
		r = tell(s, WORKSPACE_CHECK, head, sizeof(head), f->path, strlen(f->path), e);
		s->asked[n++] = &c->in_way;
	}
	files = n;
	for (size_t i = 0; i < s->c->now->repo_count && r == 0; i++) {
		const struct prepared_repo *repo = &s->c->now->repos[i];

		if (!moves(s, repo))
			continue;
		r = ask_head(s, repo, e);
		s->repos[n - files] = repo;
		s->asked[n++] = &s->heads[i];
	}
	return r < 0 ? r : answers(s, files, n, e);
}

/* The contents of F as DATA. -ENOENT: it has gone meanwhile; *RET_CHANGED: it was written to while it was read. */
static int tell_data(struct send *s, int fd, const struct stat *st, bool *ret_changed, struct err *e)
{
	uint8_t before[WORKSPACE_ID], after[WORKSPACE_ID];
	struct stat now;
	ssize_t n;
	int r;

	while ((n = read(fd, s->buffer, sizeof(s->buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, -errno, "reading");
		r = tell(s, WORKSPACE_DATA, s->buffer, (size_t)n, NULL, 0, e);
		if (r == 0)
			r = op_check(s->op, e);
		if (r < 0)
			return r;
		s->done += (uint64_t)n;
		op_progress(s->op, s->done, s->total);
	}
	workspace_id(st, before);
	if (fstat(fd, &now) < 0)
		return err_sys(e, -errno, "reading");
	workspace_id(&now, after);
	*ret_changed = memcmp(before, after, WORKSPACE_ID) != 0;
	return 0;
}

/* DIR, PATH: a plain file still, of which *ST is true; else -ENOENT. */
static int open_file(int dir, const char *path, struct stat *st)
{
	int fd = io_open_beneath(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

	if (fd >= 0 && (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)))
		fd = close_fd(fd);
	return fd < 0 ? -ENOENT : fd;
}

static int read_link(int dir, const char *path, char ret[WORKSPACE_PATH_MAX + 1], struct stat *st)
{
	_cleanup_close_ int fd = io_open_beneath(dir, path, O_PATH | O_NOFOLLOW);
	ssize_t n = fd < 0 || fstat(fd, st) < 0 ? -1 : readlinkat(fd, "", ret, WORKSPACE_PATH_MAX);

	if (n <= 0)
		return -ENOENT;
	ret[n] = '\0';
	return (int)n;
}

/* Whether what is in the way is what was to come: then the work of both is the same, and it isn't. */
static int tell_compare(struct send *s, const struct filelist_entry *f, struct err *e)
{
	char target[WORKSPACE_PATH_MAX + 1];
	_cleanup_close_ int fd = -EBADF;
	bool changed;
	struct stat st;
	int n, r;

	r = tell(s, WORKSPACE_COMPARE, &f->mode, 4, f->path, strlen(f->path), e);
	if (r == 0 && S_ISLNK(f->mode)) {
		n = read_link(s->c->source_fd, f->path, target, &st);
		r = n > 0 ? tell(s, WORKSPACE_DATA, target, (size_t)n, NULL, 0, e) : 0;
	} else if (r == 0 && S_ISREG(f->mode)) {
		fd = open_file(s->c->source_fd, f->path, &st);
		r = fd >= 0 ? tell_data(s, fd, &st, &changed, e) : 0;
	}
	return r < 0 ? r : tell(s, WORKSPACE_END_OF_FILE, NULL, 0, NULL, 0, e);
}

static struct change *find_change(struct send *s, const char *path)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(path, entry_of(s, &s->changes[middle])->path);

		if (order == 0)
			return &s->changes[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* A file that goes, as it was brought, is not in the way of what comes below a folder of its name. */
static int clear_way(struct send *s, struct err *e)
{
	for (size_t i = 0; i < s->count; i++) {
		struct change *c = &s->changes[i], *above;
		_cleanup_free_ char *path = NULL;

		if (!c->in_way || c->remove)
			continue;
		path = strdup(entry_of(s, c)->path);
		if (!path)
			return err_sys(e, -ENOMEM, "prepare");
		for (char *slash; (slash = strrchr(path, '/'));) {
			*slash = '\0';
			above = find_change(s, path);
			if (above && above->remove && !above->in_way)
				c->in_way = false;
		}
	}
	return 0;
}

/* Links and files that are in the way, once more: by what is in them. */
static int ask_again(struct send *s, struct err *e)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < s->count && r == 0; i++) {
		struct change *c = &s->changes[i];

		if (!c->in_way || c->remove || S_ISDIR(entry_of(s, c)->mode))
			continue;
		c->in_way = false;
		s->asked[n++] = &c->in_way;
		r = tell_compare(s, entry_of(s, c), e);
	}
	return r < 0 || n == 0 ? r : answers(s, n, n, e);
}

/* Refuses to overwrite what the guest has changed, by name. */
static int refuse(struct send *s, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0, size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return err_sys(e, -ENOMEM, "prepare");
	for (size_t i = 0; i < s->count; i++)
		if (s->changes[i].in_way && n++ < NAMED)
			fprintf(out, "%s%s", n > 1 ? ", " : "", entry_of(s, &s->changes[i])->path);
	for (size_t i = 0; i < s->c->now->repo_count; i++)
		if (s->heads[i] && n++ < NAMED)
			fprintf(out, "%s%s.git (it has commits or a branch of its own)", n > 1 ? ", " : "",
				s->c->now->repos[i].prefix);
	if (n > NAMED)
		fprintf(out, " and %zu more", n - NAMED);
	if (fclose(out) != 0)
		return err_sys(e, -ENOMEM, "prepare");
	return n == 0 ? 0
		      : err_set(e, -EEXIST,
				"what the guest has changed would be lost: %s: read workspace.patch first, "
				"or prepare force PATH",
				text);
}

/* It has gone since it was looked at. What is there stays as it is: the next time it counts as removed, or is brought. */
static int note_gone(struct send *s, size_t at)
{
	struct filelist_entry *f = &s->c->now->files.entries[at];
	const struct filelist_entry *old = s->before ? filelist_find(&s->before->files, f->path) : NULL;

	memset(f->host, 0, sizeof(f->host));
	if (old)
		memcpy(f->guest, old->guest, sizeof(f->guest));
	return checkout_note(s->c, "left out: %s: it went away meanwhile", f->path);
}

/* AT: of the list, as *ST says that it is now. */
static int note_sent(struct send *s, size_t at, const struct stat *st, struct err *e)
{
	uint8_t now[WORKSPACE_ID];

	workspace_id(st, now);
	/* Others than those that were looked at: the next time they are brought again. */
	if (at != SIZE_MAX && memcmp(now, s->c->now->files.entries[at].seen, WORKSPACE_ID) != 0)
		memset(s->c->now->files.entries[at].host, 0, WORKSPACE_ID);
	if (grow((void **)&s->sent, s->sent_count, &s->sent_room, sizeof(*s->sent)) < 0)
		return err_sys(e, -ENOMEM, "prepare");
	s->sent[s->sent_count++] = at;
	return 0;
}

/* One plain file below DIR, as PATH in the guest; AT: its place in the list. */
static int put_file(struct send *s, int dir, const char *path, uint32_t mode, size_t at, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	uint8_t head[FILE_HEAD];
	bool changed = false;
	struct stat st;
	int64_t sec;
	uint32_t nsec;
	int r;

	fd = open_file(dir, path, &st);
	if (fd < 0)
		return at == SIZE_MAX ? err_sys(e, fd, "%s", path) : note_gone(s, at);
	sec = st.st_mtim.tv_sec;
	nsec = (uint32_t)st.st_mtim.tv_nsec;
	memcpy(head, &mode, 4);
	memcpy(head + 4, &sec, 8);
	memcpy(head + 12, &nsec, 4);
	r = tell(s, WORKSPACE_FILE, head, sizeof(head), path, strlen(path), e);
	if (r == 0)
		r = tell_data(s, fd, &st, &changed, e);
	if (r < 0) {
		err_wrap(e, "%s", path);
		return r;
	}
	r = tell(s, WORKSPACE_END_OF_FILE, NULL, 0, NULL, 0, e);
	if (changed && at != SIZE_MAX) {
		memset(s->c->now->files.entries[at].host, 0, WORKSPACE_ID);
		checkout_note(
			s->c, "%s was written to while it was read: prepare again brings it again", path);
	}
	return r < 0 ? r : note_sent(s, at, &st, e);
}

static int put_link(struct send *s, const char *path, size_t at, struct err *e)
{
	uint8_t head[4 + WORKSPACE_PATH_MAX + 1];
	struct stat st;
	int n = read_link(s->c->source_fd, path, (char *)head + 4, &st), r;
	uint32_t size = (uint32_t)n;

	if (n < 0)
		return note_gone(s, at);
	memcpy(head, &size, 4);
	r = tell(s, WORKSPACE_LINK, head, 4 + size, path, strlen(path), e);
	return r < 0 ? r : note_sent(s, at, &st, e);
}

static int put_change(struct send *s, const struct change *c, struct err *e)
{
	const struct filelist_entry *f = entry_of(s, c);
	uint32_t mode = f->mode & 07777;

	if (S_ISDIR(f->mode))
		return tell(s, WORKSPACE_FOLDER, &mode, 4, f->path, strlen(f->path), e);
	if (S_ISLNK(f->mode))
		return put_link(s, f->path, c->at, e);
	return put_file(s, s->c->source_fd, f->path, mode, c->at, e);
}

/* What the guest's user may have made his own is brought once. */
static bool is_his(const char *path)
{
	static const char *const names[] = {"config", "packed-refs", "exclude"};
	const char *name = strrchr(path, '/') + 1;

	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* The repositories, from scratch: whatever is there is to be at that place in the guest. */
static int put_folder(struct send *s, const char *folder, unsigned depth, struct err *e)
{
	int fd = io_open_beneath(s->c->git_fd, *folder ? folder : ".", O_RDONLY | O_DIRECTORY), r = 0;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir || depth > FOLDERS_DEEP) {
		r = err_sys(e, fd < 0 ? fd : dir ? -ELOOP : -errno, "%s", folder);
		if (!dir)
			close_fd(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (asprintf(&path, "%s%s%s", folder, *folder ? "/" : "", entry->d_name) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "prepare");
		}
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, -errno, "%s", path);
		if (S_ISDIR(st.st_mode))
			r = put_folder(s, path, depth + 1, e);
		else
			r = put_file(s, s->c->git_fd, path,
				0644 | (is_his(path) ? WORKSPACE_UNLESS_THERE : 0), SIZE_MAX, e);
	}
	return r;
}

/* A branch that the guest has gone on with keeps its commits under another name. */
static int set_aside(struct send *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < s->c->now->repo_count && r == 0; i++) {
		const struct prepared_repo *repo = &s->c->now->repos[i];
		_cleanup_free_ char *path = NULL;

		if (!s->heads[i] || strncmp(repo->head, "ref: ", 5) != 0)
			continue;
		if (asprintf(&path, "%s.git/%s", repo->prefix, repo->head + 5) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "prepare");
		}
		r = tell(s, WORKSPACE_SET_ASIDE, path, strlen(path), NULL, 0, e);
	}
	for (size_t i = 0; i < s->c->aside_count && r == 0; i++)
		r = tell(s, WORKSPACE_SET_ASIDE, s->c->aside[i], strlen(s->c->aside[i]), NULL, 0, e);
	return r;
}

static int hear_states(struct send *s, struct err *e)
{
	struct workspace_record rec;
	size_t at = 0;
	int r = tell(s, WORKSPACE_END, NULL, 0, NULL, 0, e);

	while (r == 0 && (r = hear(s, &rec, e)) == 0) {
		if (rec.type == WORKSPACE_DONE)
			return at == s->sent_count ? 0 : lost(s, -EPROTO, e);
		if (rec.type != WORKSPACE_STATES || rec.length == 0 || rec.length % WORKSPACE_ID != 0 ||
			rec.length / WORKSPACE_ID > s->sent_count - at)
			return lost(s, -EPROTO, e);
		for (size_t i = 0; i < rec.length; i += WORKSPACE_ID, at++)
			if (s->sent[at] != SIZE_MAX)
				memcpy(s->c->now->files.entries[s->sent[at]].guest, rec.payload + i,
					WORKSPACE_ID);
	}
	return r;
}

static int bring(struct send *s, struct err *e)
{
	int r = 0;

	op_stage(s->op, "bringing");
	/* Deepest first, and all before what may take their places. */
	for (size_t i = s->count; i-- > 0 && r == 0;)
		if (s->changes[i].remove) {
			const char *path = entry_of(s, &s->changes[i])->path;

			r = tell(s, WORKSPACE_REMOVE, path, strlen(path), NULL, 0, e);
			s->result->removed++;
		}
	for (size_t i = 0; i < s->count && r == 0; i++)
		if (!s->changes[i].remove) {
			r = put_change(s, &s->changes[i], e);
			s->result->files++;
		}
	if (r == 0)
		r = set_aside(s, e);
	if (r == 0 && s->c->git_fd >= 0)
		r = put_folder(s, "", 0, e);
	return r < 0 ? r : hear_states(s, e);
}

static int send_all(struct send *s, struct err *e)
{
	uint32_t begin[2] = {WORKSPACE_VERSION, s->force ? WORKSPACE_FORCE : 0};
	int r = compare(s, e);

	if (r < 0)
		return r;
	s->asked = calloc(s->count + s->c->now->repo_count + 1, sizeof(*s->asked));
	s->heads = calloc(s->c->now->repo_count + 1, sizeof(*s->heads));
	s->repos = calloc(s->c->now->repo_count + 1, sizeof(*s->repos));
	if (!s->asked || !s->heads || !s->repos)
		return err_sys(e, -ENOMEM, "prepare");
	s->total = s->c->now->bytes;
	r = tell(s, WORKSPACE_BEGIN, begin, sizeof(begin), NULL, 0, e);
	if (r == 0)
		r = ask(s, e);
	if (r == 0 && !s->force) {
		r = clear_way(s, e);
		if (r == 0)
			r = ask_again(s, e);
		if (r == 0)
			r = refuse(s, e);
	}
	s->done = 0;
	return r < 0 ? r : bring(s, e);
}

int checkout_send(struct checkout *c, const struct prepared *before, bool force, int sock, struct op *op,
	struct send_result *ret, struct err *e)
{
	struct send *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "prepare");
	*ret = (struct send_result){0};
	s->c = c;
	s->before = before;
	s->force = force;
	s->sock = s->in.fd = sock;
	s->op = op;
	s->result = ret;
	r = send_all(s, e);
	ret->bytes = s->done;
	free(s->changes);
	free(s->sent);
	free(s->heads);
	free(s->asked);
	free(s->repos);
	free(s);
	return r;
}
