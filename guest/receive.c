#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/array.h"
#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/workspace_proto.h"
#include "beneath.h"
#include "receive.h"

#define ANSWERS_MAX (WORKSPACE_PAYLOAD_MAX / 4)
#define ASIDE       ".before-prepare"
#define HEAD_MAX    4096
#define PACKED_MAX  (64u << 20)

struct head {
	uint32_t number; /* of the question */
	size_t n;
	char *text;
};

struct receive {
	int root;
	bool begun, force;
	struct workspace_reader in;
	uint32_t asked; /* number of the next question */
	uint32_t *no;   /* those whose answer is no */
	size_t no_count, no_room;
	struct head *heads;
	size_t head_count, head_room;
	uint8_t (*states)[WORKSPACE_ID];
	size_t state_count, state_room;
	/* The file that is being written (COMPARING: compared with). */
	int fd, dir;
	bool open, comparing, same, skipping;
	uint64_t at;
	uint32_t number; /* of the question */
	char *name, *temp;
	uint32_t mode;
	struct timespec mtime;
	char path[WORKSPACE_PATH_MAX + 1];
	char text[WORKSPACE_PATH_MAX + 128]; /* why it failed */
};

static int fail(struct receive *r, int code, const char *what)
{
	snprintf(r->text, sizeof(r->text), "%s: %s", *r->path ? r->path : "workspace",
		what ? what : strerror(-code));
	return code;
}

static int answer(struct receive *r, uint32_t number, bool yes)
{
	int k = yes ? 0 : ARRAY_GROW(r->no, r->no_count, r->no_room);

	if (!yes && k == 0)
		r->no[r->no_count++] = number;
	return k;
}

static int on_begin(struct receive *r, const struct workspace_record *rec)
{
	uint32_t v[2];

	if (rec->length != sizeof(v))
		return -EPROTO;
	memcpy(v, rec->payload, sizeof(v));
	if (v[0] != WORKSPACE_VERSION)
		return fail(r, -EPROTO, "another version of banger runs in the guest: restart the VM");
	r->begun = true;
	r->force = v[1] & WORKSPACE_FORCE;
	return 0;
}

static int on_check(struct receive *r, const struct workspace_record *rec)
{
	static const uint8_t absent[WORKSPACE_ID];
	uint8_t id[WORKSPACE_ID] = {0};
	_cleanup_close_ int dir = -EBADF;
	const uint8_t *wanted = rec->payload + 4;
	const char *name;
	uint32_t flags;
	struct stat st;
	bool yes;
	int k = workspace_path(rec->payload, rec->length, 4 + WORKSPACE_ID, r->path);

	if (k < 0)
		return k;
	memcpy(&flags, rec->payload, 4);
	dir = beneath_parent(r->root, r->path, false, false, &name);
	if (dir >= 0)
		beneath_id(dir, name, id);
	yes = memcmp(id, wanted, WORKSPACE_ID) == 0 ||
	      ((flags & WORKSPACE_MAY_LACK) && memcmp(id, absent, WORKSPACE_ID) == 0);
	/* A folder where a file is to be may be one that goes by then. */
	if (!yes && dir >= 0 && memcmp(wanted, absent, WORKSPACE_ID) == 0 &&
		fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		yes = true;
	/* Something that is no folder is where one is wanted: that is the guest's. */
	if (dir == -ENOTDIR || dir == -ELOOP)
		yes = false;
	return answer(r, r->asked++, yes);
}

/* What a repository's REF names: "" nothing yet. */
static int resolve(struct receive *r, const char *folder, const char *ref, char **ret)
{
	_cleanup_free_ char *path = NULL, *packed = NULL, *text = NULL;
	_cleanup_close_ int fd = -EBADF;
	size_t size = strlen(ref);

	if (asprintf(&path, "%s/%s", folder, ref) < 0 || asprintf(&packed, "%s/packed-refs", folder) < 0)
		return -ENOMEM;
	if (!workspace_path_valid(path, strlen(path)))
		return -EINVAL;
	fd = io_open_beneath(r->root, path, O_RDONLY | O_NONBLOCK);
	if (fd >= 0 && io_read_fd(fd, HEAD_MAX, ret, NULL) == 0) {
		(*ret)[strcspn(*ret, "\n")] = '\0';
		return 0;
	}
	close_fd(fd);
	fd = io_open_beneath(r->root, packed, O_RDONLY | O_NONBLOCK);
	if (fd >= 0 && io_read_fd(fd, PACKED_MAX, &text, NULL) == 0)
		for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
			char *name = strchr(line, ' ');

			if (*line != '#' && *line != '^' && name && strlen(name + 1) == size &&
				memcmp(name + 1, ref, size) == 0) {
				*ret = strndup(line, (size_t)(name - line));
				return *ret ? 0 : -ENOMEM;
			}
		}
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

static int on_head(struct receive *r, const struct workspace_record *rec)
{
	_cleanup_free_ char *path = NULL, *head = NULL, *names = NULL, *text = NULL;
	_cleanup_close_ int fd = -EBADF;
	uint32_t number = r->asked++;
	int k = workspace_path(rec->payload, rec->length, 0, r->path), n;

	if (k < 0)
		return k;
	if (asprintf(&path, "%s/HEAD", r->path) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = io_open_beneath(r->root, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || io_read_fd(fd, HEAD_MAX, &head, NULL) < 0)
		return 0;
	head[strcspn(head, "\n")] = '\0';
	if (strncmp(head, "ref: ", 5) == 0)
		k = resolve(r, r->path, head + 5, &names);
	if (k == -ENOMEM)
		return k;
	n = asprintf(&text, "%s%c%s", head, 0, strncmp(head, "ref: ", 5) != 0 ? head : k == 0 ? names : "");
	if (n < 0) {
		text = NULL;
		return -ENOMEM;
	}
	if (ARRAY_GROW(r->heads, r->head_count, r->head_room) < 0)
		return -ENOMEM;
	r->heads[r->head_count++] = (struct head){number, (size_t)n, TAKE_PTR(text)};
	return 0;
}

static int tell_heads(struct receive *r)
{
	int k = 0;

	for (size_t i = 0; i < r->head_count; i++) {
		struct head *h = &r->heads[i];

		if (k == 0)
			k = workspace_write(
				STDOUT_FILENO, WORKSPACE_HEAD, &h->number, sizeof(h->number), h->text, h->n);
		free(h->text);
	}
	r->head_count = 0;
	return k;
}

static int on_answers(struct receive *r)
{
	int failed = tell_heads(r);

	if (failed < 0)
		return failed;
	for (size_t at = 0; at < r->no_count; at += ANSWERS_MAX) {
		size_t n = r->no_count - at < ANSWERS_MAX ? r->no_count - at : ANSWERS_MAX;
		int k = workspace_write(STDOUT_FILENO, WORKSPACE_ANSWERS, r->no + at, n * 4, NULL, 0);

		if (k < 0)
			return k;
	}
	r->no_count = 0;
	r->asked = 0;
	return workspace_write(STDOUT_FILENO, WORKSPACE_ANSWERS, NULL, 0, NULL, 0);
}

static void close_file(struct receive *r)
{
	if (r->temp && r->dir >= 0)
		unlinkat(r->dir, r->temp, 0);
	r->fd = close_fd(r->fd);
	r->dir = close_fd(r->dir);
	free(r->name);
	free(r->temp);
	r->name = r->temp = NULL;
	r->open = r->comparing = false;
}

static int on_compare(struct receive *r, const struct workspace_record *rec)
{
	_cleanup_close_ int dir = -EBADF;
	const char *name;
	struct stat st;
	int k = workspace_path(rec->payload, rec->length, 4, r->path);

	if (k < 0 || r->open)
		return k < 0 ? k : -EPROTO;
	memcpy(&r->mode, rec->payload, 4);
	r->open = r->comparing = true;
	r->number = r->asked++;
	r->at = 0;
	dir = beneath_parent(r->root, r->path, false, false, &name);
	r->same = dir >= 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mode == r->mode;
	if (r->same && S_ISREG(st.st_mode)) {
		r->fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		r->same = r->fd >= 0;
	}
	return 0;
}

static int compare_data(struct receive *r, const uint8_t *data, size_t n)
{
	uint8_t buf[4096];

	while (r->same && n > 0) {
		ssize_t k = pread(r->fd, buf, n < sizeof(buf) ? n : sizeof(buf), (off_t)r->at);

		r->same = k > 0 && memcmp(buf, data, (size_t)k) == 0;
		if (!r->same)
			break;
		data += k;
		n -= (size_t)k;
		r->at += (size_t)k;
	}
	return 0;
}

static int compare_link(struct receive *r, const uint8_t *data, size_t n)
{
	char target[WORKSPACE_PATH_MAX + 1];
	_cleanup_close_ int dir = -EBADF;
	const char *name;
	ssize_t k;

	dir = beneath_parent(r->root, r->path, false, false, &name);
	k = dir < 0 ? -1 : readlinkat(dir, name, target, sizeof(target));
	r->same = k == (ssize_t)n && memcmp(target, data, n) == 0;
	return 0;
}

static int on_file(struct receive *r, const struct workspace_record *rec)
{
	const size_t head = 4 + 8 + 4;
	const char *name;
	int64_t sec;
	uint32_t nsec;
	int k = workspace_path(rec->payload, rec->length, head, r->path);

	if (k < 0 || r->open)
		return k < 0 ? k : -EPROTO;
	memcpy(&r->mode, rec->payload, 4);
	memcpy(&sec, rec->payload + 4, 8);
	memcpy(&nsec, rec->payload + 12, 4);
	if (nsec > 999999999)
		return -EPROTO;
	r->mtime = (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = (long)nsec};
	r->dir = beneath_parent(r->root, r->path, true, r->force, &name);
	if (r->dir < 0)
		return fail(
			r, r->dir, r->dir == -ENOTDIR ? "something that is no folder is in its way" : NULL);
	r->open = true;
	r->name = strdup(name);
	r->skipping =
		(r->mode & WORKSPACE_UNLESS_THERE) && faccessat(r->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (r->name && r->skipping)
		return 0;
	/* Names may be as long as they can be. */
	if (!r->name || asprintf(&r->temp, ".banger-%d", getpid()) < 0) {
		r->temp = NULL;
		return -ENOMEM;
	}
	r->fd = openat(r->dir, r->temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return r->fd < 0 ? fail(r, -errno, NULL) : 0;
}

static int on_data(struct receive *r, const struct workspace_record *rec)
{
	int k;

	if (!r->open)
		return -EPROTO;
	if (r->comparing)
		return S_ISLNK(r->mode) ? compare_link(r, rec->payload, rec->length)
					: compare_data(r, rec->payload, rec->length);
	k = r->skipping ? 0 : io_write_full(r->fd, rec->payload, rec->length);
	return k < 0 ? fail(r, k, NULL) : 0;
}

static int keep_state(struct receive *r, int dir, const char *name)
{
	int k = ARRAY_GROW(r->states, r->state_count, r->state_room);

	if (k == 0)
		k = beneath_id(dir, name, r->states[r->state_count]);
	if (k == 0)
		r->state_count++;
	return k;
}

/* TEMP takes the place of NAME, and of an empty folder of that name. */
static int put_in_place(struct receive *r, int dir, const char *temp, const char *name)
{
	int k;

	if (renameat(dir, temp, dir, name) == 0)
		return 0;
	if (errno != EISDIR && errno != ENOTEMPTY && errno != EEXIST)
		return fail(r, -errno, NULL);
	k = r->force ? beneath_remove(dir, name) : unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	if (k < 0)
		return fail(r, -EEXIST, "a folder with files of the guest's own is in its place");
	return renameat(dir, temp, dir, name) < 0 ? fail(r, -errno, NULL) : 0;
}

static int on_end_of_file(struct receive *r)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, r->mtime};
	struct stat st;
	int k;

	if (!r->open)
		return -EPROTO;
	if (r->comparing) {
		if (S_ISREG(r->mode) && r->same)
			r->same = fstat(r->fd, &st) == 0 && (uint64_t)st.st_size == r->at;
		k = answer(r, r->number, r->same);
		close_file(r);
		return k;
	}
	if (!r->skipping) {
		if (fchmod(r->fd, r->mode & 07777) < 0 || futimens(r->fd, times) < 0)
			return fail(r, -errno, NULL);
		k = put_in_place(r, r->dir, r->temp, r->name);
		if (k < 0)
			return k;
	}
	free(r->temp);
	r->temp = NULL;
	k = keep_state(r, r->dir, r->name);
	close_file(r);
	return k;
}

static int on_link(struct receive *r, const struct workspace_record *rec)
{
	_cleanup_free_ char *target = NULL, *temp = NULL;
	_cleanup_close_ int dir = -EBADF;
	const char *name;
	uint32_t size;
	int k;

	if (rec->length < 4 || r->open)
		return -EPROTO;
	memcpy(&size, rec->payload, 4);
	if (size == 0 || size > WORKSPACE_PATH_MAX ||
		memchr(rec->payload + 4, '\0', size < rec->length - 4 ? size : rec->length - 4))
		return -EPROTO;
	k = workspace_path(rec->payload, rec->length, 4 + size, r->path);
	if (k < 0)
		return k;
	target = strndup((const char *)rec->payload + 4, size);
	if (!target || asprintf(&temp, ".banger-%d", getpid()) < 0) {
		temp = NULL;
		return -ENOMEM;
	}
	dir = beneath_parent(r->root, r->path, true, r->force, &name);
	if (dir < 0)
		return fail(r, dir, dir == -ENOTDIR ? "something that is no folder is in its way" : NULL);
	unlinkat(dir, temp, 0);
	if (symlinkat(target, dir, temp) < 0)
		return fail(r, -errno, NULL);
	k = put_in_place(r, dir, temp, name);
	if (k < 0) {
		unlinkat(dir, temp, 0);
		return k;
	}
	return keep_state(r, dir, name);
}

static int on_folder(struct receive *r, const struct workspace_record *rec)
{
	_cleanup_close_ int dir = -EBADF;
	const char *name;
	struct stat st;
	uint32_t mode;
	int k = workspace_path(rec->payload, rec->length, 4, r->path);

	if (k < 0)
		return k;
	memcpy(&mode, rec->payload, 4);
	dir = beneath_parent(r->root, r->path, true, r->force, &name);
	if (dir < 0)
		return fail(r, dir, NULL);
	if (mkdirat(dir, name, mode & 07777) == 0)
		return 0;
	if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(r, -errno, NULL);
	if (S_ISDIR(st.st_mode))
		return 0;
	if (!r->force)
		return fail(r, -EEXIST, "something that is no folder is in its place");
	k = beneath_remove(dir, name);
	return k == 0 && mkdirat(dir, name, mode & 07777) < 0 ? fail(r, -errno, NULL) : k;
}

static int on_remove(struct receive *r, const struct workspace_record *rec)
{
	const char *name;
	int k = workspace_path(rec->payload, rec->length, 0, r->path);

	if (k < 0)
		return k;
	for (bool first = true;; first = false) {
		_cleanup_close_ int dir = beneath_parent(r->root, r->path, false, false, &name);

		if (dir < 0)
			return 0;
		if (first)
			k = r->force ? beneath_remove(dir, name) : unlinkat(dir, name, 0) < 0 ? -errno : 0;
		/* A folder that was brought goes when it is empty; what the guest has put there keeps it. */
		if (!first || k == -EISDIR)
			k = unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
		if (k == -ENOTEMPTY || k == -EEXIST || (k == -ENOENT && !first))
			return 0;
		if (k < 0 && k != -ENOENT)
			return fail(r, k, NULL);
		if (name == r->path)
			return 0;
		((char *)name)[-1] = '\0';
	}
}

static int on_set_aside(struct receive *r, const struct workspace_record *rec)
{
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *aside = NULL;
	const char *name;
	int k = workspace_path(rec->payload, rec->length, 0, r->path);

	if (k < 0)
		return k;
	dir = beneath_parent(r->root, r->path, false, false, &name);
	if (dir < 0)
		return 0;
	if (asprintf(&aside, "%s" ASIDE, name) < 0) {
		aside = NULL;
		return -ENOMEM;
	}
	return renameat(dir, name, dir, aside) < 0 && errno != ENOENT ? fail(r, -errno, NULL) : 0;
}

static int on_end(struct receive *r)
{
	const size_t most = WORKSPACE_PAYLOAD_MAX / WORKSPACE_ID;

	for (size_t at = 0; at < r->state_count; at += most) {
		size_t n = r->state_count - at < most ? r->state_count - at : most;
		int k = workspace_write(
			STDOUT_FILENO, WORKSPACE_STATES, r->states[at], n * WORKSPACE_ID, NULL, 0);

		if (k < 0)
			return k;
	}
	return workspace_write(STDOUT_FILENO, WORKSPACE_DONE, NULL, 0, NULL, 0);
}

static int on_record(struct receive *r, const struct workspace_record *rec)
{
	if (!r->begun && rec->type != WORKSPACE_BEGIN)
		return -EPROTO;
	switch (rec->type) {
	case WORKSPACE_BEGIN:
		return on_begin(r, rec);
	case WORKSPACE_CHECK:
		return on_check(r, rec);
	case WORKSPACE_COMPARE:
		return on_compare(r, rec);
	case WORKSPACE_HEAD:
		return on_head(r, rec);
	case WORKSPACE_ANSWERS:
		return on_answers(r);
	case WORKSPACE_FOLDER:
		return on_folder(r, rec);
	case WORKSPACE_FILE:
		return on_file(r, rec);
	case WORKSPACE_LINK:
		return on_link(r, rec);
	case WORKSPACE_DATA:
		return on_data(r, rec);
	case WORKSPACE_END_OF_FILE:
		return on_end_of_file(r);
	case WORKSPACE_REMOVE:
		return on_remove(r, rec);
	case WORKSPACE_SET_ASIDE:
		return on_set_aside(r, rec);
	case WORKSPACE_END:
		return on_end(r);
	default:
		return -EPROTO;
	}
}

/* The folders above FOLDER. */
static int make_above(const char *folder)
{
	_cleanup_free_ char *path = strdup(folder);

	for (char *p = path ? path + 1 : NULL; p && (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -1;
	}
	return path ? 0 : -1;
}

static void clear(struct receive *r)
{
	close_file(r);
	close_fd(r->root);
	for (size_t i = 0; i < r->head_count; i++)
		free(r->heads[i].text);
	free(r->no);
	free(r->heads);
	free(r->states);
}

static int open_root(struct receive *r, const char *folder)
{
	if (make_above(folder) < 0 || (mkdir(folder, 0755) < 0 && errno != EEXIST))
		return fail(r, -errno, NULL);
	r->root = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return r->root < 0 ? fail(r, -errno, NULL) : 0;
}

int receive_run(const char *folder)
{
	static struct receive r;
	struct workspace_record rec;
	int k;

	r = (struct receive){.root = -EBADF, .fd = -EBADF, .dir = -EBADF, .in.fd = STDIN_FILENO};
	umask(022);
	k = open_root(&r, folder);
	while (k == 0 && (k = workspace_read(&r.in, &rec)) > 0)
		k = on_record(&r, &rec);
	if (k < 0) {
		uint32_t code = (uint32_t)-k;

		if (!*r.text)
			fail(&r, k, NULL);
		/* Whoever still writes shall get to read this. */
		workspace_write(STDOUT_FILENO, WORKSPACE_FAILED, &code, sizeof(code), r.text, strlen(r.text));
	}
	clear(&r);
	return k < 0;
}
