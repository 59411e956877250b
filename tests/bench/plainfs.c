/*
 * The peer of tests/bench/tree.sh: the plainest low-level libfuse file system, one file `hello` with direct I/O.
 *
 *   plainfs MOUNTPOINT single|multi
 *
 * Answers lookup, getattr, open, read; all other requests get what libfuse answers by itself.
 */
#include <errno.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include "banger/cleanup.h"

#define TEXT "running\n"

static int attributes(fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino};
	if (ino == FUSE_ROOT_ID) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (ino != 2)
		return -ENOENT;
	st->st_mode = S_IFREG | 0444;
	st->st_nlink = 1;
	return 0;
}

static void plain_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.ino = 2, .attr_timeout = 60, .entry_timeout = 60};

	if (parent != FUSE_ROOT_ID || strcmp(name, "hello") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(2, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void plain_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	if (attributes(ino, &st) < 0)
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_attr(req, &st, 60);
}

static void plain_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void plain_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	size_t n = sizeof(TEXT) - 1;

	(void)ino;
	(void)fi;
	if ((size_t)off >= n)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, &TEXT[off], n - (size_t)off < size ? n - (size_t)off : size);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = plain_lookup,
	.getattr = plain_getattr,
	.open = plain_open,
	.read = plain_read,
};

int main(int argc, char **argv)
{
	char *fuse_argv[] = {argv[0], NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, fuse_argv);
	struct fuse_session *session;
	int r = 1;

	if (argc != 3)
		return 2;
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (!session)
		return 1;
	if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, argv[1]) == 0) {
		if (strcmp(argv[2], "multi") == 0) {
			struct fuse_loop_config *config = fuse_loop_cfg_create();

			r = fuse_session_loop_mt(session, config);
			fuse_loop_cfg_destroy(config);
		} else {
			r = fuse_session_loop(session);
		}
		fuse_session_unmount(session);
		fuse_remove_signal_handlers(session);
	}
	fuse_session_destroy(session);
	return r != 0;
}
