#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"
#include "handle.h"
#include "node.h"

#define HANDLE_INO32_GEN 1 /* include/linux/exportfs.h: FILEID_INO32_GEN: u32 ino, u32 generation */
#define PIN_BUCKETS      256

struct handle {
	struct file_handle head;
	uint32_t ino, generation;
};

struct pin {
	LIST_ENTRY(pin) link;
	uint64_t number;
	unsigned count;
	int fd;
	bool writable;
};

static LIST_HEAD(, pin) pins[PIN_BUCKETS];
/* Of the work disk, without a name: as long as an inode is open its handle leads to it. */
static int removed[AGENT_REMOVED_MAX] = {[0 ... AGENT_REMOVED_MAX - 1] = -EBADF};
static size_t removed_next;
static int root_fd = -EBADF;
static dev_t root_dev;

int handle_init(const char *root, const char *tree)
{
	struct stat st;

	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return -errno;
	if (mkdirat(root_fd, "workspace", 0755) < 0 && errno != EEXIST)
		return -errno;
	if (fstat(root_fd, &st) < 0)
		return -errno;
	root_dev = st.st_dev;
	return node_init(tree);
}

int handle_root(void)
{
	return root_fd;
}

/* As much of a generation as the host can tell. */
static uint32_t tag_of(uint32_t generation)
{
	return 1 + (generation & 0xff);
}

struct file_id file_of(const struct agent_attr *attr)
{
	return (struct file_id){attr->ino, attr->space == AGENT_SPACE_TREE ? AGENT_TAG_TREE | attr->generation
									   : tag_of(attr->generation)};
}

int handle_id(const void *handle, struct file_id *ret)
{
	struct file_handle head;
	uint32_t v[2];

	memcpy(&head, handle, sizeof(head));
	if (head.handle_type != HANDLE_INO32_GEN || head.handle_bytes != sizeof(v))
		return -EOPNOTSUPP;
	memcpy(v, (const uint8_t *)handle + sizeof(head), sizeof(v));
	*ret = (struct file_id){v[0], tag_of(v[1])};
	return 0;
}

static int handle_of(int dir, const char *name, struct handle *ret)
{
	union {
		struct file_handle head;
		uint8_t room[sizeof(struct file_handle) + 128];
	} buf;
	int mount;

	memset(&buf, 0, sizeof(buf));
	buf.head.handle_bytes = 128;
	if (name_to_handle_at(dir, name, &buf.head, &mount, *name ? 0 : AT_EMPTY_PATH) < 0)
		return -errno;
	if (buf.head.handle_type != HANDLE_INO32_GEN || buf.head.handle_bytes != 8)
		return -EOPNOTSUPP;
	memcpy(&ret->ino, buf.room + sizeof(struct file_handle), 4);
	memcpy(&ret->generation, buf.room + sizeof(struct file_handle) + 4, 4);
	return 0;
}

/* What a pin is known by: inode numbers of the work disk, and keys beside them. */
static uint64_t number_of(struct file_id id)
{
	return file_in_tree(id) ? 1ull << 63 | file_key(id) : id.ino;
}

static struct pin *find_pin(struct file_id id)
{
	uint64_t number = number_of(id);
	struct pin *p;

	LIST_FOREACH (p, &pins[number % PIN_BUCKETS], link)
		if (p->number == number)
			return p;
	return NULL;
}

static int open_by_number(uint32_t ino, int *ret_fd)
{
	union {
		struct file_handle head;
		uint8_t room[sizeof(struct file_handle) + 8];
	} buf;

	memset(&buf, 0, sizeof(buf));
	buf.head.handle_bytes = 8;
	buf.head.handle_type = HANDLE_INO32_GEN;
	/* A generation of 0 is not compared (fs/ext4/super.c: ext4_nfs_get_inode): ours has 8 bits only. */
	memcpy(buf.room + sizeof(struct file_handle), &ino, 4);
	*ret_fd = open_by_handle_at(root_fd, &buf.head, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

int handle_open(struct file_id id, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	struct pin *pin = find_pin(id);
	struct handle found;
	int r;

	if (id.ino == 0 && !file_in_tree(id)) {
		fd = openat(root_fd, "workspace", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	/* The name of what is pinned may be gone, and then there is no way to it but this. */
	if (pin)
		r = handle_reopen(pin->fd, O_PATH, &fd);
	else if (file_in_tree(id))
		r = node_open(file_key(id), &fd);
	else
		r = open_by_number(id.ino, &fd);
	if (r == -ENOENT)
		return -ESTALE;
	if (r < 0)
		return r;
	if (id.tag != 0 && !file_in_tree(id)) {
		r = handle_of(fd, "", &found);
		if (r < 0)
			return r;
		if (tag_of(found.generation) != id.tag)
			return -ESTALE;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int handle_reopen(int path_fd, int flags, int *ret_fd)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static void fill(const struct stat *st, struct agent_attr *ret)
{
	*ret = (struct agent_attr){
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)(major(st->st_rdev) << 8 | (minor(st->st_rdev) & 0xff) |
				   (minor(st->st_rdev) & 0xfff00) << 12),
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = st->st_atim.tv_sec,
		.mtime = st->st_mtim.tv_sec,
		.ctime = st->st_ctim.tv_sec,
		.atime_nsec = (uint32_t)st->st_atim.tv_nsec,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
	};
}

static bool is_plain(int dir_fd, const char *name)
{
	char path[32 + NAME_MAX + 1];

	snprintf(path, sizeof(path), "/proc/self/fd/%d%s%s", dir_fd, *name ? "/" : "", name);
	/* Without a name the link of /proc is followed to the file itself. */
	return (*name ? llistxattr(path, NULL, 0) : listxattr(path, NULL, 0)) == 0;
}

static int fill_work(int dir_fd, const char *name, const struct stat *st, struct agent_attr *ret)
{
	struct handle h;
	int r = handle_of(dir_fd, name, &h);

	if (r < 0)
		return r;
	/* Replaced between the two calls: what was there first is no more. */
	if ((uint32_t)st->st_ino != h.ino)
		return -ESTALE;
	fill(st, ret);
	ret->ino = h.ino;
	ret->generation = h.generation;
	if (is_plain(dir_fd, name))
		ret->flags |= AGENT_ATTR_PLAIN;
	return 0;
}

static void fill_key(uint64_t key, const struct stat *st, struct agent_attr *ret)
{
	fill(st, ret);
	ret->ino = (uint32_t)key;
	ret->generation = (uint32_t)(key >> 32);
	ret->space = AGENT_SPACE_TREE;
}

int handle_attr(struct file_id id, int fd, struct agent_attr *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!file_in_tree(id))
		return fill_work(fd, "", &st, ret);
	fill_key(file_key(id), &st, ret);
	return 0;
}

/* NAME is on another file system than its folder is: is it one whose files are not shown? */
static int closed_at(int dir_fd, const char *name, struct stat *st, bool *ret)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	*ret = !node_shown(fd);
	return 0;
}

int handle_attr_at(struct file_id dir, int dir_fd, const char *name, struct agent_attr *ret)
{
	bool closed = false;
	struct stat st, above;
	uint64_t key;
	int r;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 ||
		fstat(dir_fd, &above) < 0)
		return -errno;
	if (st.st_dev == root_dev)
		return fill_work(dir_fd, name, &st, ret);
	if (st.st_dev != above.st_dev) {
		r = closed_at(dir_fd, name, &st, &closed);
		if (r < 0)
			return r;
	}
	/* What is mounted over a file, and not shown, is not there. */
	if (closed && !S_ISDIR(st.st_mode))
		return -ENOENT;
	r = node_seen(dir, name, &st, closed, &key);
	if (r < 0)
		return r;
	fill_key(key, &st, ret);
	return 0;
}

int handle_pin(struct file_id id, int fd, bool writable)
{
	struct pin *p = find_pin(id);

	if (p) {
		p->count++;
		if (writable && !p->writable) {
			close_fd(p->fd);
			p->fd = fd;
			p->writable = true;
		} else {
			close_fd(fd);
		}
		return 0;
	}
	p = malloc(sizeof(*p));
	if (!p) {
		close_fd(fd);
		return -ENOMEM;
	}
	*p = (struct pin){.number = number_of(id), .count = 1, .fd = fd, .writable = writable};
	LIST_INSERT_HEAD(&pins[p->number % PIN_BUCKETS], p, link);
	return 0;
}

static void drop(struct pin *p)
{
	LIST_REMOVE(p, link);
	close_fd(p->fd);
	free(p);
}

void handle_unpin(struct file_id id)
{
	struct pin *p = find_pin(id);

	if (p && --p->count == 0)
		drop(p);
}

void handle_keep_removed(int fd)
{
	close_fd(removed[removed_next]);
	removed[removed_next] = fd;
	removed_next = (removed_next + 1) % AGENT_REMOVED_MAX;
}

void handle_unpin_all(void)
{
	for (size_t i = 0; i < AGENT_REMOVED_MAX; i++)
		handle_keep_removed(-EBADF);
	for (size_t i = 0; i < PIN_BUCKETS; i++)
		while (LIST_FIRST(&pins[i]))
			drop(LIST_FIRST(&pins[i]));
}

int handle_pinned(struct file_id id, bool writable)
{
	struct pin *p = find_pin(id);

	return p && (!writable || p->writable) ? p->fd : -1;
}
