#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "net/ssh_key.h"

#define NEW_NAME   "new"
#define NEW_PUBLIC "new.pub"
#define KEY_MAX    4096
#define MAKE_MSEC  20000

static int keygen(int dir, const char *const *argv, char **ret_output, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	spec.dir_fd = dir;
	spec.max_output = KEY_MAX;
	spec.timeout_msec = MAKE_MSEC;
	r = proc_run(&spec, ret_output, NULL, NULL, e);
	return r == -ENOENT ? err_set(e, r, "ssh-keygen: it is not on this host: apt install openssh-client")
			    : r;
}

/* The public half first: where the private one is, both are. */
static int make(int dir, struct err *e)
{
	static const char *const argv[] = {
		"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "banger", "-f", NEW_NAME, NULL};
	int r;

	unlinkat(dir, NEW_NAME, 0);
	unlinkat(dir, NEW_PUBLIC, 0);
	r = keygen(dir, argv, NULL, e);
	if (r < 0)
		return r;
	if (renameat(dir, NEW_PUBLIC, dir, SSH_KEY_PUBLIC) < 0 ||
		renameat2(dir, NEW_NAME, dir, SSH_KEY_PRIVATE, RENAME_NOREPLACE) < 0 || fsync(dir) < 0)
		return err_sys(e, -errno, SSH_KEY_DIR "/" SSH_KEY_PRIVATE);
	return 0;
}

/* Somebody deleted the public half; the private one has it. */
static int restore(int dir, struct err *e)
{
	static const char *const argv[] = {"ssh-keygen", "-y", "-f", SSH_KEY_PRIVATE, NULL};
	_cleanup_free_ char *text = NULL;
	int r = keygen(dir, argv, &text, e);

	return r < 0 ? r : io_replace_file(dir, SSH_KEY_PUBLIC, text, strlen(text), 0644, e);
}

/* One line of the kind that authorized_keys has; it is about to be written into every guest. */
static int read_public(int dir, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = io_read_file(dir, SSH_KEY_PUBLIC, KEY_MAX, &text, &n, e);

	if (r < 0)
		return r;
	if (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	if (strncmp(text, "ssh-", 4) != 0 || strlen(text) != n || strpbrk(text, "\r\n"))
		return err_set(e, -EBADMSG,
			SSH_KEY_DIR "/" SSH_KEY_PUBLIC
				    ": is no public key: delete it, it is made again of " SSH_KEY_PRIVATE);
	*ret = TAKE_PTR(text);
	return 0;
}

int ssh_key_ensure(int dir_fd, char **ret, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	struct stat st;
	int r = 0;

	if (mkdirat(dir_fd, SSH_KEY_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, SSH_KEY_DIR);
	dir = openat(dir_fd, SSH_KEY_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, -errno, SSH_KEY_DIR);
	if (fstatat(dir, SSH_KEY_PRIVATE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = errno == ENOENT ? make(dir, e) : err_sys(e, -errno, SSH_KEY_DIR "/" SSH_KEY_PRIVATE);
	else if (fstatat(dir, SSH_KEY_PUBLIC, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = restore(dir, e);
	return r < 0 ? r : read_public(dir, ret, e);
}

int ssh_key_of_vm(int vm_fd, char **ret_private, char **ret_public, struct err *e)
{
	_cleanup_free_ char *public = NULL, *private = NULL;
	int r = ssh_key_ensure(vm_fd, &public, e);

	if (r == 0)
		r = io_read_file(vm_fd, SSH_KEY_DIR "/" SSH_KEY_PRIVATE, KEY_MAX, &private, NULL, e);
	if (r < 0)
		return r;
	*ret_private = TAKE_PTR(private);
	*ret_public = TAKE_PTR(public);
	return 0;
}
