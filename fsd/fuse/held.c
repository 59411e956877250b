/*
 * Open files that hold something by being open. Each is an empty file of the folder PLACE_FSD_DIR/held, named NODE.HANDLE.FLAGS (decimal), from its
 * opening to its release; the folder is as short-lived as the mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "fuse/state.h"

#define FOLDER    "held"
#define NAME_ROOM 48 /* two numbers of 20 digits */

static int open_folder(struct server *s)
{
	if (mkdirat(s->config.run_fd, FOLDER, 0700) < 0 && errno != EEXIST)
		return -errno;
	return openat(s->config.run_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool is_held(const struct open_file *f)
{
	return f->h.at.attr && (f->h.at.attr->flags & ATTR_HELD);
}

static int access_of(const struct open_file *f)
{
	return !f->h.writing ? O_RDONLY : f->h.reading ? O_RDWR : O_WRONLY;
}

static void name_of(const struct open_file *f, char ret[NAME_ROOM])
{
	snprintf(ret, NAME_ROOM, "%" PRIu64 ".%" PRIu64 ".%d", f->h.at.node, f->fh, access_of(f));
}

void held_note(struct server *s, const struct open_file *f)
{
	_cleanup_close_ int dir = -EBADF, fd = -EBADF;
	char name[NAME_ROOM];

	if (!is_held(f))
		return;
	name_of(f, name);
	dir = open_folder(s);
	fd = dir < 0 ? -1 : openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		tree_log(s->tree, "%s: %s: it is held as long as this daemon lives", f->h.at.attr->name,
			strerror(errno));
}

void held_forget(struct server *s, const struct open_file *f)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_ROOM];

	if (!is_held(f))
		return;
	name_of(f, name);
	dir = open_folder(s);
	if (dir >= 0)
		unlinkat(dir, name, 0);
}

static bool restore(struct server *s, const char *name)
{
	_cleanup_free_ char *copy = strdup(name);
	uint64_t numbers[3];
	struct target at;
	char *rest = copy;

	for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
		const char *part = rest ? strsep(&rest, ".") : "";

		if (parse_u64(part, 0, UINT64_MAX, &numbers[i]) < 0)
			return false;
	}
	return !rest && numbers[2] <= O_RDWR && tree_target(s->tree, numbers[0], &at) == 0 && at.attr &&
	       (at.attr->flags & ATTR_HELD) && file_again(s, &at, numbers[1], (int)numbers[2]);
}

void held_restore(struct server *s, bool adopted)
{
	int fd = openat(s->config.run_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && (!adopted || !restore(s, entry->d_name)))
			unlinkat(dirfd(dir), entry->d_name, 0);
}
