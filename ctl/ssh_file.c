#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "ssh_file.h"

#define DIR_NAME    ".ssh"
#define CONFIG_NAME "config"
#define FILE_MAX    (4u << 20)
#define MARK                                                                                                 \
	"# banger's own: `banger ssh-config install` renews it, `banger ssh-config uninstall` takes it "     \
	"away.\n"
#define NOTE "# Before it there was "

/* What there was; the note in banger.conf says it. */
enum before {
	BEFORE_CONFIG,
	BEFORE_NO_CONFIG,
	BEFORE_NO_DIR,
};
static const char *const notes[] = {
	[BEFORE_CONFIG] = NOTE "a config.\n",
	[BEFORE_NO_CONFIG] = NOTE "no config.\n",
	[BEFORE_NO_DIR] = NOTE "no folder.\n",
};

/* The user's config, behind whatever links. */
struct config {
	int dir; /* of the file itself */
	char *path, *name;
	char *data; /* NULL: there is no file */
	size_t n;
	struct stat st;
};

static void config_clear(struct config *c)
{
	close_fd(c->dir);
	free(c->path);
	free(c->data);
	*c = (struct config){.dir = -EBADF};
}

/* DIR: ~/.ssh, by the path DIR_PATH. */
static int config_read(int dir, const char *dir_path, struct config *ret, struct err *e)
{
	_cleanup_(config_clear) struct config c = {.dir = -EBADF};
	_cleanup_free_ char *path = NULL;
	char *slash;
	int r;

	if (asprintf(&path, "%s/" CONFIG_NAME, dir_path) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, CONFIG_NAME);
	}
	if (fstatat(dir, CONFIG_NAME, &c.st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_sys(e, -errno, "%s", path);
		c.path = TAKE_PTR(path);
	} else {
		c.path = realpath(path, NULL);
		if (!c.path)
			return err_sys(e, -errno, "%s", path);
	}
	slash = strrchr(c.path, '/');
	*slash = '\0';
	c.dir = open(c.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*slash = '/';
	c.name = slash + 1;
	if (c.dir < 0)
		return err_sys(e, -errno, "%s", c.path);
	if (fstatat(c.dir, c.name, &c.st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_sys(e, -errno, "%s", c.path);
	} else if (!S_ISREG(c.st.st_mode)) {
		return err_set(e, -EPERM, "%s is no plain file", c.path);
	} else if (c.st.st_uid != geteuid()) {
		return err_set(e, -EPERM, "%s belongs to user %u: only that user can have it changed", c.path,
			c.st.st_uid);
	} else if ((r = io_read_file(c.dir, c.name, FILE_MAX, &c.data, &c.n, e)) < 0) {
		return r;
	}
	*ret = c;
	c = (struct config){.dir = -EBADF};
	return 0;
}

static int config_write(const struct config *c, const char *data, size_t n, struct err *e)
{
	int r = io_replace_file(c->dir, c->name, data, n, c->data ? c->st.st_mode & 07777 : 0600, e);

	if (r < 0) {
		err_wrap(e, "%s", c->path);
		return r;
	}
	/* Its group, where that isn't the one of new files. */
	if (c->data)
		(void)!fchownat(c->dir, c->name, (uid_t)-1, c->st.st_gid, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* Our line in N bytes of DATA, its newline counted, of whatever home; NULL: it isn't there. */
static const char *find_line(const char *data, size_t n, size_t *ret_n)
{
	size_t head = strlen(SSH_FILE_LINE_HEAD), tail = strlen(SSH_FILE_LINE_TAIL);
	const char *end = data + n;

	for (const char *line = data; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t whole = newline ? (size_t)(newline + 1 - line) : (size_t)(end - line), bare = whole;

		/* An editor may have given all lines its own ends. */
		while (bare > 0 && (line[bare - 1] == '\n' || line[bare - 1] == '\r'))
			bare--;
		if (bare >= head + tail && memcmp(line, SSH_FILE_LINE_HEAD, head) == 0 &&
			memcmp(line + bare - tail, SSH_FILE_LINE_TAIL, tail) == 0) {
			*ret_n = whole;
			return line;
		}
		line += whole;
	}
	return NULL;
}

/* ~/.ssh, made where it is missing if MAKE. -ENOENT */
static int open_dir(const char *home, bool make, char **ret_path, int *ret_fd, bool *ret_made, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -EBADF;
	bool made = false;
	struct stat st;

	if (asprintf(&path, "%s/" DIR_NAME, home) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, DIR_NAME);
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make) {
		if (mkdir(path, 0700) < 0)
			return err_sys(e, -errno, "%s", path);
		made = true;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (st.st_uid != geteuid())
		return err_set(e, -EPERM, "%s belongs to user %u: only that user can have it changed", path,
			st.st_uid);
	*ret_path = TAKE_PTR(path);
	*ret_fd = TAKE_FD(fd);
	if (ret_made)
		*ret_made = made;
	return 0;
}

/* What our file says of what was before. -ENOENT: there is none; -EEXIST: it isn't ours. */
static int read_ours(int dir, enum before *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = io_read_file(dir, SSH_FILE_OURS, FILE_MAX, &text, NULL, NULL);

	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_sys(e, r, "~/" DIR_NAME "/" SSH_FILE_OURS);
	if (strncmp(text, MARK, strlen(MARK)) != 0)
		return err_set(e, -EEXIST,
			"~/" DIR_NAME "/" SSH_FILE_OURS " is none that banger has made: move it away");
	*ret = BEFORE_CONFIG;
	for (size_t i = 0; i < ELEMENTSOF(notes); i++)
		if (strncmp(text + strlen(MARK), notes[i], strlen(notes[i])) == 0)
			*ret = (enum before)i;
	return 0;
}

static int write_ours(int dir, enum before before, const char *text, struct err *e)
{
	_cleanup_free_ char *whole = NULL;

	if (asprintf(&whole, MARK "%s%s", notes[before], text) < 0) {
		whole = NULL;
		return err_sys(e, -ENOMEM, SSH_FILE_OURS);
	}
	return io_replace_file(dir, SSH_FILE_OURS, whole, strlen(whole), 0600, e);
}

static int include_ours(const struct config *c, const char *home, struct err *e)
{
	_cleanup_free_ char *line = NULL, *data = NULL;
	int n, r;

	n = asprintf(&line, SSH_FILE_LINE_HEAD "%s" SSH_FILE_LINE_TAIL "\n", home);
	if (n < 0 || !(data = malloc((size_t)n + c->n))) {
		line = n < 0 ? NULL : line;
		return err_sys(e, -ENOMEM, "%s", c->path);
	}
	memcpy(data, line, (size_t)n);
	if (c->data)
		memcpy(data + n, c->data, c->n);
	r = config_write(c, data, (size_t)n + c->n, e);
	line[n - 1] = '\0';
	if (r < 0)
		err_join(e, "put this line at its top yourself: %s", line);
	return r;
}

int ssh_file_install(
	const char *home, const char *text, int (*check)(const char *path, struct err *e), struct err *e)
{
	_cleanup_(config_clear) struct config c = {.dir = -EBADF};
	_cleanup_free_ char *dir_path = NULL, *ours = NULL;
	_cleanup_close_ int dir = -EBADF;
	enum before before = BEFORE_CONFIG;
	bool made, had, included;
	size_t n;
	int r;

	if (home[0] != '/' || strpbrk(home, "\"\\%$*?[\n\r"))
		return err_set(e, -EINVAL, "'%s': ssh can't be told of files in such a place", home);
	if ((r = open_dir(home, true, &dir_path, &dir, &made, e)) < 0)
		return r;
	r = read_ours(dir, &before, e);
	if (r < 0 && r != -ENOENT)
		return r;
	had = r == 0;
	r = config_read(dir, dir_path, &c, e);
	if (r < 0)
		return r;
	included = c.data && find_line(c.data, c.n, &n);
	/* The first one knows what was before; it still holds while its line is there. */
	if (!had || !included)
		before = c.data ? BEFORE_CONFIG : made ? BEFORE_NO_DIR : BEFORE_NO_CONFIG;
	r = write_ours(dir, before, text, e);
	if (r < 0)
		return r;
	if (asprintf(&ours, "%s/" SSH_FILE_OURS, dir_path) < 0) {
		ours = NULL;
		return err_sys(e, -ENOMEM, SSH_FILE_OURS);
	}
	r = check ? check(ours, e) : 0;
	if (r < 0 && !included) {
		unlinkat(dir, SSH_FILE_OURS, 0);
		if (made)
			rmdir(dir_path);
	}
	return r < 0 || included ? r : include_ours(&c, home, e);
}

int ssh_file_uninstall(const char *home, int *ret, struct err *e)
{
	_cleanup_(config_clear) struct config c = {.dir = -EBADF};
	_cleanup_free_ char *dir_path = NULL;
	enum before before = BEFORE_CONFIG;
	_cleanup_err_ struct err mine = {0};
	_cleanup_close_ int dir = -EBADF;
	bool changed = false, ours;
	const char *line;
	size_t n;
	int r;

	r = open_dir(home, false, &dir_path, &dir, NULL, &mine);
	if (r == -ENOENT) {
		*ret = 0;
		return 0;
	}
	if (r < 0)
		return err_move(e, &mine);
	r = read_ours(dir, &before, e);
	if (r < 0 && r != -ENOENT)
		return r;
	ours = r == 0;
	r = config_read(dir, dir_path, &c, e);
	if (r < 0)
		return r;
	while (c.data && (line = find_line(c.data, c.n, &n))) {
		memmove(c.data + (line - c.data), line + n, (size_t)(c.data + c.n - line) - n);
		c.n -= n;
		changed = true;
	}
	if (changed && c.n == 0 && before != BEFORE_CONFIG) {
		if (unlinkat(c.dir, c.name, 0) < 0)
			return err_sys(e, -errno, "%s", c.path);
	} else if (changed && (r = config_write(&c, c.data, c.n, e)) < 0) {
		return r;
	}
	if (ours && unlinkat(dir, SSH_FILE_OURS, 0) < 0)
		return err_sys(e, -errno, "%s/" SSH_FILE_OURS, dir_path);
	/* Only when nothing else has come into it. */
	if (before == BEFORE_NO_DIR)
		rmdir(dir_path);
	*ret = changed || ours;
	return 0;
}
