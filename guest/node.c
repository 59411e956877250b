#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"

#define NODES_MAX    65536 /* about 150 bytes each */
#define NODE_BUCKETS 16384
#define PROBES       8 /* keys tried for a file whose own is another's */

struct node {
	uint64_t key;
	dev_t dev;
	ino_t ino;
	bool closed;
	struct file_id dir;
	struct node *parent; /* of DIR; NULL: the root, or a folder of the work disk */
	unsigned children;
	char *name;
	LIST_ENTRY(node) bucket;
	TAILQ_ENTRY(node) age;
};

static LIST_HEAD(node_list, node) nodes[NODE_BUCKETS];
static TAILQ_HEAD(, node) by_age = TAILQ_HEAD_INITIALIZER(by_age);
static size_t node_count;
static uint64_t salt;
static int root_fd = -EBADF, nothing_fd = -EBADF;

/* File systems on disks and in memory (statfs(2); the two last are xfs and zfs). */
static const long shown[] = {EXT4_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
	TMPFS_MAGIC, RAMFS_MAGIC, SQUASHFS_MAGIC, EROFS_SUPER_MAGIC_V1, ISOFS_SUPER_MAGIC, MSDOS_SUPER_MAGIC,
	EXFAT_SUPER_MAGIC, UDF_SUPER_MAGIC, XFS_SUPER_MAGIC, 0x2fc12fc1};

bool node_shown(int path_fd)
{
	struct statfs st;

	if (fstatfs(path_fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ELEMENTSOF(shown); i++)
		if ((long)st.f_type == shown[i])
			return true;
	return false;
}

/* An empty folder in which nothing can be made. */
static int make_nothing(void)
{
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
		syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
}

int node_init(const char *tree)
{
	if (getrandom(&salt, sizeof(salt), GRND_NONBLOCK) < 0)
		salt = (uintptr_t)&salt ^ (uint64_t)getpid() << 32;
	root_fd = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return -errno;
	nothing_fd = make_nothing();
	return 0;
}

static struct node *find(uint64_t key)
{
	struct node *n;

	LIST_FOREACH (n, &nodes[key % NODE_BUCKETS], bucket)
		if (n->key == key)
			return n;
	return NULL;
}

/* It was needed: the others go first. */
static void touch(struct node *n)
{
	TAILQ_REMOVE(&by_age, n, age);
	TAILQ_INSERT_TAIL(&by_age, n, age);
}

static void forget(struct node *n)
{
	if (n->parent)
		n->parent->children--;
	LIST_REMOVE(n, bucket);
	TAILQ_REMOVE(&by_age, n, age);
	node_count--;
	free(n->name);
	free(n);
}

static void forget_oldest(void)
{
	struct node *n;

	/* Folders of others stay; there is always one without, since no folder is below itself. */
	TAILQ_FOREACH (n, &by_age, age)
		if (n->children == 0) {
			forget(n);
			return;
		}
}

static int open_below(int fd, const char *path, int *ret_fd)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};

	*ret_fd = (int)syscall(SYS_openat2, fd, path, &how, sizeof(how));
	return *ret_fd < 0 ? -errno : 0;
}

/* Goes down the names from the root or the nearest folder of the work disk; a long way in pieces. */
static int walk(struct node *n, int *ret_fd)
{
	_cleanup_close_ int from = -EBADF;
	char path[PATH_MAX];
	size_t at = sizeof(path);
	int r;

	path[--at] = '\0';
	for (;;) {
		size_t size = strlen(n->name);

		if (size + 1 > at) {
			r = walk(n, &from);
			break;
		}
		if (path[at] != '\0')
			path[--at] = '/';
		at -= size;
		memcpy(path + at, n->name, size);
		touch(n);
		if (!n->parent) {
			r = handle_open(n->dir, &from);
			break;
		}
		n = n->parent;
	}
	return r < 0 ? r : open_below(from, path + at, ret_fd);
}

int node_open(uint64_t key, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	struct node *n;
	struct stat st;
	int r;

	if (key == 0) {
		fd = root_fd < 0 ? root_fd : fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return root_fd < 0 ? -ESTALE : -errno;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	n = find(key);
	if (!n)
		return -ESTALE;
	r = walk(n, &fd);
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	/* Something else is there now, or nothing. */
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ESTALE ||
		(r == 0 && (st.st_dev != n->dev || st.st_ino != n->ino))) {
		if (n->children == 0)
			forget(n);
		return -ESTALE;
	}
	if (r < 0)
		return r;
	if (n->closed) {
		close_fd(fd);
		fd = nothing_fd < 0 ? nothing_fd : fcntl(nothing_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -EACCES;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* DIR is not N, nor below it. */
static bool can_be_below(const struct node *n, const struct node *dir)
{
	for (; dir; dir = dir->parent)
		if (dir == n)
			return false;
	return true;
}

static int put(struct node *n, struct file_id dir, const char *name)
{
	uint64_t key = file_key(dir);
	struct node *parent = file_in_tree(dir) && key != 0 ? find(key) : NULL;
	char *copy;

	if (n->name && n->parent == parent && n->dir.ino == dir.ino && n->dir.tag == dir.tag &&
		strcmp(n->name, name) == 0)
		return 0;
	if ((file_in_tree(dir) && key != 0 && !parent) || !can_be_below(n, parent))
		return -ESTALE;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(n->name);
	n->name = copy;
	if (parent)
		parent->children++;
	if (n->parent)
		n->parent->children--;
	n->parent = parent;
	n->dir = dir;
	return 0;
}

/* splitmix64's finalizer (Steele, Lea and Flood: Fast splittable pseudorandom number generators). */
static uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9;
	v = (v ^ v >> 27) * 0x94d049bb133111eb;
	return v ^ v >> 31;
}

int node_seen(struct file_id dir, const char *name, const struct stat *st, bool closed, uint64_t *ret)
{
	uint64_t first = mix(mix(salt ^ (uint64_t)st->st_dev) ^ (uint64_t)st->st_ino), key = 0;
	struct node *n = NULL;
	int r;

	for (unsigned i = 0; i < PROBES; i++) {
		key = (first + i) & NODE_KEY_MAX;
		/* A number whose low half is 0 names no file. */
		if ((uint32_t)key == 0)
			continue;
		n = find(key);
		if (!n || (n->dev == st->st_dev && n->ino == st->st_ino))
			break;
		/* The last one gives way. */
		if (i == PROBES - 1 && n->children == 0) {
			forget(n);
			n = NULL;
		}
	}
	if (n && (n->dev != st->st_dev || n->ino != st->st_ino))
		return -ENOMEM;
	if (!n) {
		while (node_count >= NODES_MAX)
			forget_oldest();
		n = calloc(1, sizeof(*n));
		if (!n)
			return -ENOMEM;
		*n = (struct node){.key = key, .dev = st->st_dev, .ino = st->st_ino};
		LIST_INSERT_HEAD(&nodes[key % NODE_BUCKETS], n, bucket);
		TAILQ_INSERT_TAIL(&by_age, n, age);
		node_count++;
	}
	n->closed = closed;
	r = put(n, dir, name);
	if (r < 0) {
		if (!n->name)
			forget(n);
		return r;
	}
	touch(n);
	*ret = key;
	return 0;
}

void node_moved(uint64_t key, struct file_id dir, const char *name)
{
	struct node *n = find(key);

	if (n)
		put(n, dir, name);
}
