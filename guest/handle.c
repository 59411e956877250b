#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "banger/cleanup.h"
#include "handle.h"

#define HANDLE_INO32_GEN 1 /* include/linux/exportfs.h: FILEID_INO32_GEN: u32 ino, u32 generation */
#define PIN_BUCKETS      256

struct handle {
	struct file_handle head;
	uint32_t ino, generation;
};

struct pin {
	LIST_ENTRY(pin) link;
	uint32_t ino;
	unsigned count;
	int fd;
	bool writable;
};

static LIST_HEAD(, pin) pins[PIN_BUCKETS];
static int root_fd = -EBADF;

int handle_init(const char *root)
{
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return -errno;
	if (mkdirat(root_fd, "workspace", 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int handle_root(void)
{
	return root_fd;
}

uint32_t handle_tag(uint32_t generation)
{
	return 1 + (generation & 0xff);
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

static struct pin *find_pin(uint32_t ino)
{
	struct pin *p;

	LIST_FOREACH (p, &pins[ino % PIN_BUCKETS], link)
		if (p->ino == ino)
			return p;
	return NULL;
}

int handle_open(uint32_t ino, uint32_t tag, int *ret_fd)
{
	_cleanup_close_ int fd = -EBADF;
	struct pin *pin = find_pin(ino);
	union {
		struct file_handle head;
		uint8_t room[sizeof(struct file_handle) + 8];
	} buf;
	struct handle found;
	int r;

	if (ino == 0) {
		fd = openat(root_fd, "workspace", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	if (pin) {
		/* Its name may be gone, and then there is no way to it but this. */
		r = handle_reopen(pin->fd, O_PATH, &fd);
	} else {
		memset(&buf, 0, sizeof(buf));
		buf.head.handle_bytes = 8;
		buf.head.handle_type = HANDLE_INO32_GEN;
		/* A generation of 0 is not compared (fs/ext4/super.c: ext4_nfs_get_inode): ours has 8 bits only. */
		memcpy(buf.room + sizeof(struct file_handle), &ino, 4);
		fd = open_by_handle_at(root_fd, &buf.head, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? -errno : 0;
	}
	if (r == -ENOENT)
		return -ESTALE;
	if (r < 0)
		return r;
	if (tag != 0) {
		r = handle_of(fd, "", &found);
		if (r < 0)
			return r;
		if (handle_tag(found.generation) != tag)
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

static void fill(const struct stat *st, const struct handle *h, struct agent_attr *ret)
{
	*ret = (struct agent_attr){
		.ino = h->ino,
		.generation = h->generation,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = (uint32_t)(major(st->st_rdev) << 8 | (minor(st->st_rdev) & 0xff) |
				   (minor(st->st_rdev) & 0xfff00) << 12),
		.blksize = (uint32_t)st->st_blksize,
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

int handle_attr(int fd, struct agent_attr *ret)
{
	return handle_attr_at(fd, "", ret);
}

int handle_attr_at(int dir, const char *name, struct agent_attr *ret)
{
	struct handle h;
	struct stat st;
	int r;

	r = handle_of(dir, name, &h);
	if (r < 0)
		return r;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) < 0)
		return -errno;
	/* Replaced between the two calls: what was there first is no more. Something mounted over it has other numbers too. */
	if ((uint32_t)st.st_ino != h.ino)
		return -ESTALE;
	fill(&st, &h, ret);
	return 0;
}

int handle_pin(uint32_t ino, int fd, bool writable)
{
	struct pin *p = find_pin(ino);

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
	*p = (struct pin){.ino = ino, .count = 1, .fd = fd, .writable = writable};
	LIST_INSERT_HEAD(&pins[ino % PIN_BUCKETS], p, link);
	return 0;
}

static void drop(struct pin *p)
{
	LIST_REMOVE(p, link);
	close_fd(p->fd);
	free(p);
}

void handle_unpin(uint32_t ino)
{
	struct pin *p = find_pin(ino);

	if (p && --p->count == 0)
		drop(p);
}

void handle_unpin_all(void)
{
	for (size_t i = 0; i < PIN_BUCKETS; i++)
		while (LIST_FIRST(&pins[i]))
			drop(LIST_FIRST(&pins[i]));
}

int handle_pinned(uint32_t ino, bool writable)
{
	struct pin *p = find_pin(ino);

	return p && (!writable || p->writable) ? p->fd : -1;
}
