#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "banger/workspace_proto.h"
#include "repo/bring.h"

#define PIECE (64u * 1024)

/* The bytes of FD, whatever its position, as the file PATH. */
static int tell_file(int sock, int fd, const char *path, struct err *e)
{
	_cleanup_free_ char *buf = malloc(PIECE);
	uint8_t head[16] = {0};
	uint32_t mode = 0755;
	off_t at = 0;
	ssize_t n = 0;
	int r;

	if (!buf)
		return err_sys(e, -ENOMEM, "git");
	memcpy(head, &mode, 4);
	r = workspace_write(sock, WORKSPACE_FILE, head, sizeof(head), path, strlen(path));
	while (r == 0 && (n = pread(fd, buf, PIECE, at)) > 0) {
		r = workspace_write(sock, WORKSPACE_DATA, buf, (size_t)n, NULL, 0);
		at += n;
	}
	if (r == 0 && n < 0)
		return err_sys(e, -errno, "%s", path);
	if (r == 0)
		r = workspace_write(sock, WORKSPACE_END_OF_FILE, NULL, 0, NULL, 0);
	return r < 0 ? err_set(e, -EPIPE, "the guest's side has ended") : 0;
}

static int tell_path(int sock, const char *from, const char *name, struct err *e)
{
	_cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *path = NULL;

	if (fd < 0)
		return err_sys(e, -errno, "%s", from);
	if (asprintf(&path, "lib/%s", name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	return tell_file(sock, fd, path, e);
}

/*
 * A line of ldd(1): "NAME => PATH (ADDRESS)" is a library, "PATH (ADDRESS)" the loader; what is "not found", or comes from the kernel, is neither.
 */
static int on_line(int sock, char *line, struct err *e)
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
	return tell_path(sock, path,
		path == name         ? "ld.so"
		: strrchr(name, '/') ? strrchr(name, '/') + 1
				     : name,
		e);
}

static int tell_libraries(int sock, const char *git, struct err *e)
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
		r = on_line(sock, line, e);
	return r;
}

static int hear_done(int sock, struct err *e)
{
	struct workspace_reader *in = calloc(1, sizeof(*in));
	struct workspace_record rec = {0};
	int r = -ENOMEM;

	if (in) {
		in->fd = sock;
		/* The states of a handful of files are one record. */
		while ((r = workspace_read(in, &rec)) > 0 && rec.type == WORKSPACE_STATES && rec.length > 0)
			continue;
	}
	r = r == 1 && rec.type == WORKSPACE_DONE
		    ? 0
		    : err_set(e, r < 0 && r != -ENODATA ? r : -EPIPE, "git was not taken");
	free(in);
	return r;
}

int git_bring(int sock, int guest_fd, struct err *e)
{
	static const char *const places[] = {"/usr/local/bin/git", "/usr/bin/git", "/bin/git"};
	const uint32_t begin[2] = {WORKSPACE_VERSION, WORKSPACE_FORCE};
	const char *git = NULL;
	int r;

	for (size_t i = 0; i < ELEMENTSOF(places) && !git; i++)
		git = access(places[i], X_OK) == 0 ? places[i] : NULL;
	if (!git)
		return err_set(e, -ENOENT, "neither guest nor host has git: apt install git, in either");
	r = workspace_write(sock, WORKSPACE_BEGIN, begin, sizeof(begin), NULL, 0);
	if (r < 0)
		return err_set(e, -EPIPE, "the guest's side has ended");
	r = tell_path(sock, git, "git", e);
	if (r == 0)
		r = tell_libraries(sock, git, e);
	/* Last: what is there then is all there. */
	if (r == 0)
		r = tell_file(sock, guest_fd, "bin/git", e);
	if (r == 0 && workspace_write(sock, WORKSPACE_END, NULL, 0, NULL, 0) < 0)
		r = err_set(e, -EPIPE, "the guest's side has ended");
	return r < 0 ? r : hear_done(sock, e);
}
