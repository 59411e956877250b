#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/walk.h"

struct walk {
	int root;
	unsigned deepest;
	const struct walk_events *events;
	void *user;
};

static int walk_below(const struct walk *w, const char *folder, unsigned depth, struct err *e);

static int walk_entry(
	const struct walk *w, DIR *dir, const char *folder, const char *name, unsigned depth, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	int r;

	if (asprintf(&path, "%s%s%s", folder, *folder ? "/" : "", name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "%s", folder);
	}
	if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return w->events->missed(w->user, path, -errno, e);
	r = w->events->found(w->user, path, &st, e);
	return r > 0 && S_ISDIR(st.st_mode) ? walk_below(w, path, depth + 1, e) : r < 0 ? r : 0;
}

static int walk_below(const struct walk *w, const char *folder, unsigned depth, struct err *e)
{
	int fd = depth > w->deepest
			 ? -ENAMETOOLONG
			 : io_open_beneath(w->root, *folder ? folder : ".", O_RDONLY | O_DIRECTORY),
	    r = 0;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		r = fd < 0 ? fd : -errno;
		close_fd(fd);
		return w->events->missed(w->user, folder, r, e);
	}
	while (r == 0 && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = walk_entry(w, dir, folder, entry->d_name, depth, e);
	return r;
}

int walk_folder(int root, unsigned deepest, const struct walk_events *events, void *user, struct err *e)
{
	const struct walk w = {root, deepest, events, user};

	return walk_below(&w, "", 0, e);
}
