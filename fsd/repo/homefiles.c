#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "banger/array.h"
#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/homefiles.h"
#include "repo/walk.h"

#define DEPTH_MAX  32
#define NOTES_MAX  64
#define GUEST_HOME "root/"

/* One line; HOST and GUEST point into it. */
static int split(char *line, char **ret_host, char **ret_guest, struct err *e)
{
	char *host = line + strspn(line, " \t"), *guest = host + strcspn(host, " \t"), *end;

	if (!*guest)
		return err_set(e, -EINVAL, "'%.100s': HOST GUEST is wanted, a path each", line);
	*guest++ = '\0';
	guest += strspn(guest, " \t");
	end = guest + strlen(guest);
	while (end > guest && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '/'))
		*--end = '\0';
	if (strncmp(host, "~/", 2) == 0)
		host += 2;
	for (end = host + strlen(host); end > host && end[-1] == '/';)
		*--end = '\0';
	if (!*host || *host == '/')
		return err_set(e, -EINVAL, "'%.100s' is no path relative to the home", host);
	if (strpbrk(guest, " \t") || (*guest != '/' && strncmp(guest, "~/", 2) != 0))
		return err_set(e, -EINVAL, "'%.100s' is no absolute path in the guest", guest);
	*ret_host = host;
	*ret_guest = guest;
	return 0;
}

/* As the wire has it. NULL: no memory; "" where it is no path. */
static char *guest_path(const char *guest)
{
	char *path;
	int r = *guest == '~' ? asprintf(&path, GUEST_HOME "%s", guest + 2)
			      : asprintf(&path, "%s", guest + 1);

	if (r < 0)
		return NULL;
	if (!workspace_path_valid(path, strlen(path)))
		*path = '\0';
	return path;
}

int homefiles_check(const char *text, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *line;
	size_t n = 0;

	if (!copy)
		return err_sys(e, -ENOMEM, "file_sync");
	while ((line = strsep(&rest, "\n"))) {
		_cleanup_free_ char *path = NULL;
		char *host, *guest;
		int r;

		if (!*line)
			continue;
		if (++n > HOMEFILES_ENTRIES_MAX)
			return err_set(e, -E2BIG, "more than %d lines", HOMEFILES_ENTRIES_MAX);
		r = split(line, &host, &guest, e);
		if (r < 0)
			return r;
		path = guest_path(guest);
		if (!path || !*path)
			return err_set(e, -EINVAL, "'%.100s' is no path in the guest", guest);
	}
	return 0;
}

static void note(struct homefiles *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct homefiles *h, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	if (h->note_count == NOTES_MAX || (!h->notes && !(h->notes = calloc(NOTES_MAX, sizeof(*h->notes)))))
		return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	h->notes[h->note_count++] = text;
}

static int open_entry(int home, const char *path)
{
	/* An entry may be a link: within the home. */
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, home, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static int add(struct homefiles *h, size_t entry, const char *path, const char *below, const struct stat *st,
	struct err *e)
{
	struct homefile *f;

	if (h->count == HOMEFILES_FILES_MAX)
		return err_set(e, -E2BIG, "file_sync: more than %d files", HOMEFILES_FILES_MAX);
	if (S_ISREG(st->st_mode))
		h->bytes += (uint64_t)st->st_size;
	if (h->bytes > HOMEFILES_BYTES_MAX)
		return err_set(e, -E2BIG, "file_sync: more than %llu bytes", HOMEFILES_BYTES_MAX);
	if (ARRAY_GROW(h->files, h->count, h->room) < 0)
		return err_sys(e, -ENOMEM, "file_sync");
	f = &h->files[h->count];
	*f = (struct homefile){.path = strdup(path),
		.entry = entry,
		.below = strdup(below),
		.mode = st->st_mode,
		.mtime = st->st_mtim,
		.size = (uint64_t)st->st_size};
	workspace_id(st, f->state);
	h->count++;
	return f->path && f->below ? 0 : err_sys(e, -ENOMEM, "file_sync");
}

/* 1: it is a folder that is looked into. */
static int look_at(struct homefiles *h, size_t entry, const char *path, const char *below,
	const struct stat *st, struct err *e)
{
	const char *why = S_ISLNK(st->st_mode)                             ? "is a link"
			  : !S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) ? "is neither file nor folder"
			  : !workspace_path_valid(path, strlen(path)) ? "is a name that can't be had there"
								      : NULL;
	int r;

	if (why) {
		note(h, "%s %s: left out", path, why);
		return 0;
	}
	r = add(h, entry, path, below, st, e);
	return r < 0 ? r : S_ISDIR(st->st_mode);
}

struct look {
	struct homefiles *h;
	size_t entry;
	const char *path; /* the entry's, in the guest */
};

static char *path_below(const struct look *l, const char *below)
{
	char *path;

	return asprintf(&path, "%s%s%s", l->path, *below ? "/" : "", below) < 0 ? NULL : path;
}

static int found(void *user, const char *below, const struct stat *st, struct err *e)
{
	const struct look *l = user;
	_cleanup_free_ char *path = path_below(l, below);

	return path ? look_at(l->h, l->entry, path, below, st, e) : err_sys(e, -ENOMEM, "file_sync");
}

static int missed(void *user, const char *below, int code, struct err *e)
{
	const struct look *l = user;
	_cleanup_free_ char *path = path_below(l, below);

	if (!path)
		return err_sys(e, -ENOMEM, "file_sync");
	if (code == -ENAMETOOLONG)
		note(l->h, "%s lies too deep: left out", path);
	else
		note(l->h, "%s: %s: left out", path, strerror(-code));
	return 0;
}

static int look_entry(struct homefiles *h, int home, char *line, struct err *e)
{
	static const struct walk_events events = {.found = found, .missed = missed};
	_cleanup_free_ char *path = NULL;
	size_t entry = h->root_count;
	char *host, *guest;
	struct look look;
	struct stat st;
	int fd, r = split(line, &host, &guest, e);

	if (r < 0)
		return r;
	path = guest_path(guest);
	if (!path || !*path || entry == HOMEFILES_ENTRIES_MAX)
		return err_sys(e, path ? -EINVAL : -ENOMEM, "file_sync");
	fd = open_entry(home, host);
	if (fd < 0) {
		note(h, "~/%s: %s", host,
			fd == -EXDEV ? "it leads out of the home: left out" : strerror(-fd));
		return 0;
	}
	h->roots[h->root_count++] = fd;
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "~/%s", host);
	look = (struct look){h, entry, path};
	r = look_at(h, entry, path, "", &st, e);
	return r > 0 ? walk_folder(fd, DEPTH_MAX, &events, &look, e) : r;
}

int homefiles_look(const char *home, const char *text, struct homefiles *ret, struct err *e)
{
	_cleanup_close_ int fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *line;
	int r = 0;

	*ret = (struct homefiles){0};
	if (fd < 0 || !copy)
		return err_sys(e, fd < 0 ? -errno : -ENOMEM, "%s", home);
	while (r == 0 && (line = strsep(&rest, "\n")))
		if (*line)
			r = look_entry(ret, fd, line, e);
	return r;
}

void homefiles_clear(struct homefiles *h)
{
	for (size_t i = 0; i < h->count; i++) {
		free(h->files[i].path);
		free(h->files[i].below);
	}
	for (size_t i = 0; i < h->note_count; i++)
		free(h->notes[i]);
	for (size_t i = 0; i < h->root_count; i++)
		close_fd(h->roots[i]);
	free(h->files);
	free(h->notes);
	*h = (struct homefiles){0};
}

int homefiles_open(const struct homefiles *h, const struct homefile *f)
{
	_cleanup_close_ int fd = -EBADF;
	char path[32];
	struct stat st;

	if (*f->below) {
		fd = io_open_beneath(h->roots[f->entry], f->below, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	} else {
		/* The entry itself, which was opened as what it is. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", h->roots[f->entry]);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -ESTALE;
	return TAKE_FD(fd);
}
