#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/proc.h"
#include "guest/bring.h"
#include "repo/git_program.h"

/* Of a program, or a library: far more than any has. */
#define FILE_BYTES (1ull << 30)

struct files {
	struct bring bring;
	size_t count;
};

static int put_fd(struct files *f, int fd, const char *path, struct err *e)
{
	f->count++;
	return bring_file(&f->bring, path, 0755, (struct timespec){0}, fd, FILE_BYTES, NULL, e);
}

static int put_path(struct files *f, const char *from, const char *name, struct err *e)
{
	_cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *path = NULL;

	if (fd < 0)
		return err_sys(e, -errno, "%s", from);
	if (asprintf(&path, "lib/%s", name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	return put_fd(f, fd, path, e);
}

/*
 * A line of ldd(1): "NAME => PATH (ADDRESS)" is a library, "PATH (ADDRESS)" the loader; what is "not found", or comes from the kernel, is neither.
 */
static int on_line(struct files *f, char *line, struct err *e)
{
	char *name = line + strspn(line, "\t "), *path = strstr(name, " => "), *end;

	if (path) {
		*path = '\0';
		path += 4;
	} else {
		path = name;
	}
	end = strchr(path, ' ');
	if (*path != '/' || !end)
		return 0;
	*end = '\0';
	return put_path(f, path,
		path == name         ? "ld.so"
		: strrchr(name, '/') ? strrchr(name, '/') + 1
				     : name,
		e);
}

static int put_libraries(struct files *f, const char *git, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *out = NULL;
	int exit_code, r;
	char *line;

	spec.argv = (const char *const[]){"ldd", git, NULL};
	spec.env = (const char *const[]){"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
	r = proc_run(&spec, &out, NULL, &exit_code, e);
	/* 1: it is static. */
	if (r == -EIO && exit_code == 1) {
		err_clear(e);
		return 0;
	}
	for (char *rest = out; r == 0 && (line = strsep(&rest, "\n"));)
		r = on_line(f, line, e);
	return r;
}

/* GUEST_FD's position may be anywhere: it is another's too. */
static int put_guest(struct files *f, int guest_fd, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", guest_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "banger-guest") : put_fd(f, fd, "bin/git", e);
}

int git_program_bring(int sock, int guest_fd, struct err *e)
{
	static const char *const places[] = {"/usr/local/bin/git", "/usr/bin/git", "/bin/git"};
	const char *git = NULL;
	struct files *f;
	int r;

	for (size_t i = 0; i < ELEMENTSOF(places) && !git; i++)
		git = access(places[i], X_OK) == 0 ? places[i] : NULL;
	if (!git)
		return err_set(e, -ENOENT, "neither guest nor host has git: apt install git, in either");
	f = calloc(1, sizeof(*f));
	r = f ? bring_begin(&f->bring, sock, WORKSPACE_FORCE, e) : err_sys(e, -ENOMEM, "git");
	if (r == 0)
		r = put_path(f, git, "git", e);
	if (r == 0)
		r = put_libraries(f, git, e);
	/* Last: what is there then is all there. */
	if (r == 0)
		r = put_guest(f, guest_fd, e);
	if (r == 0)
		r = bring_end(&f->bring, NULL, f->count, e);
	free(f);
	return r;
}
