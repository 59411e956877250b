#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/guest_ssh.h"
#include "banger/proc.h"
#include "net/ssh_key.h"
#include "net/ssh_server.h"

#define FILES_MAX 32
#define MSEC      20000
#define LIBRARY   ".so"

static const struct {
	const char *path, *name;
} programs[] = {
	{"/usr/sbin/dropbear", GUEST_SSH_DROPBEAR},
	/* Debian's, Fedora's, Arch's place; one of them. */
	{"/usr/lib/openssh/sftp-server", GUEST_SSH_SFTP},
	{"/usr/libexec/openssh/sftp-server", GUEST_SSH_SFTP},
	{"/usr/lib/ssh/sftp-server", GUEST_SSH_SFTP},
};

void ssh_server_free(struct ssh_file *files)
{
	for (struct ssh_file *f = files; f && f->name; f++) {
		free(f->name);
		free(f->path);
	}
	free(files);
}
DEFINE_CLEANUP(struct ssh_file *, ssh_server_free)

/* NAME of a library lies in their folder. The same one is wanted once. */
static int add(struct ssh_file *files, const char *path, const char *name, bool library)
{
	size_t n = 0;
	char *whole;

	if (library ? asprintf(&whole, GUEST_SSH_LIBRARIES "/%s", name) < 0 : !(whole = strdup(name)))
		return -ENOMEM;
	for (; files[n].name; n++)
		if (strcmp(files[n].name, whole) == 0) {
			free(whole);
			return 0;
		}
	if (n == FILES_MAX) {
		free(whole);
		return -E2BIG;
	}
	files[n] = (struct ssh_file){.name = whole, .path = strdup(path), .mode = library ? 0644 : 0755};
	return files[n].path ? 0 : -ENOMEM;
}

/* Lines of ldd(1): "NAME => PATH (ADDRESS)"; the linker itself, and what the kernel has in memory, have no "=>". */
static int add_line(struct ssh_file *files, char *line)
{
	char *name = strsep(&line, " "), *next = strsep(&line, " ");
	const char *path = line ? strsep(&line, " ") : NULL;

	name += strspn(name, "\t");
	if (next && strcmp(next, "=>") == 0 && path && *path == '/')
		return add(files, path, name, true);
	return *name == '/' && strstr(name, LIBRARY) ? add(files, name, GUEST_SSH_LINKER, false) : 0;
}

static int add_libraries(struct ssh_file *files, const char *program, struct err *e)
{
	const char *const argv[] = {"ldd", program, NULL};
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r;

	spec.argv = argv;
	spec.env = env;
	spec.timeout_msec = MSEC;
	r = proc_run(&spec, &text, NULL, NULL, e);
	if (r < 0)
		return r;
	for (rest = text; r == 0 && (line = strsep(&rest, "\n"));)
		r = add_line(files, line);
	return r < 0 ? err_sys(e, r, "libraries of %s", program) : 0;
}

int ssh_server_files(struct ssh_file **ret, struct err *e)
{
	_cleanup_(ssh_server_freep) struct ssh_file *files = calloc(FILES_MAX + 1, sizeof(*files));
	int r = files ? 0 : err_sys(e, -ENOMEM, "ssh server");

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(programs); i++) {
		if (access(programs[i].path, X_OK) < 0)
			continue;
		r = add(files, programs[i].path, programs[i].name, false);
		r = r < 0 ? err_sys(e, r, "%s", programs[i].path) : add_libraries(files, programs[i].path, e);
	}
	if (r == 0 && (!files[0].name || strcmp(files[0].name, GUEST_SSH_DROPBEAR) != 0))
		r = err_set(e, -ENOENT,
			"its image has no sshd, and this host none to bring: apt install dropbear-bin");
	if (r == 0)
		*ret = TAKE_PTR(files);
	return r;
}

int ssh_server_key(int dir_fd, const char *name, struct err *e)
{
	const char *const argv[] = {"dropbearconvert", "openssh", "dropbear", SSH_KEY_PRIVATE, name, NULL};
	_cleanup_close_ int dir =
		openat(dir_fd, SSH_KEY_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct proc_spec spec = PROC_SPEC_INIT;

	if (dir < 0)
		return err_sys(e, -errno, SSH_KEY_DIR);
	spec.argv = argv;
	spec.dir_fd = dir;
	spec.timeout_msec = MSEC;
	unlinkat(dir, name, 0);
	return proc_run(&spec, NULL, NULL, NULL, e);
}
