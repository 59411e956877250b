/*
 * imagelist PATH: what is in a folder, or in the ext4 file PATH (not mounted), a line for each entry in the order of names, so that two
 * of them can be compared:
 *
 *   /etc/shadow type=f mode=0640 uid=0 gid=42 mtime=1700000000.000000005 nlink=1 same=/etc/shadow size=12 sha256=... [name=hex]...
 *
 * Bytes of names that aren't printable ASCII, blanks and backslashes: \xHH. same=: the first name of its inode. A folder's size and links are its file
 * system's business, and not shown; a symbolic link has target=, a device rdev=. [name=hex]: extended attributes, by name.
 */
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"

#define PIECE (1u << 20)

static _Noreturn void die(const char *what, const char *path)
{
	fprintf(stderr, "imagelist: %s: %s\n", path, what);
	exit(1);
}

struct item {
	char *path;
	uint64_t inode;
	char *rest; /* of its line, behind same= */
	char *head; /* before it */
};

static struct list {
	struct item *items;
	size_t n, room;
} list;

static void put_escaped(FILE *f, const char *s)
{
	for (; *s; s++)
		if (*s > ' ' && *s < 127 && *s != '\\')
			fputc(*s, f);
		else
			fprintf(f, "\\x%02x", (unsigned char)*s);
}

static void put_hex(FILE *f, const void *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%02x", ((const uint8_t *)data)[i]);
}

static char kind_of(uint32_t mode)
{
	return S_ISREG(mode)    ? 'f'
	       : S_ISDIR(mode)  ? 'd'
	       : S_ISLNK(mode)  ? 'l'
	       : S_ISCHR(mode)  ? 'c'
	       : S_ISBLK(mode)  ? 'b'
	       : S_ISFIFO(mode) ? 'p'
				: '?';
}

/* What both kinds of source know of an entry. */
struct facts {
	uint32_t mode, uid, gid, links, major, minor;
	uint64_t inode, size;
	int64_t sec;
	uint32_t nsec;
	char *target;
	unsigned char sum[EVP_MAX_MD_SIZE];
	char *xattrs[256]; /* "name=hex" */
	size_t xattr_count;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_xattr(struct facts *x, const char *name, const void *value, size_t n)
{
	size_t size;
	FILE *f;

	if (x->xattr_count == ELEMENTSOF(x->xattrs))
		die("too many extended attributes", name);
	f = open_memstream(&x->xattrs[x->xattr_count++], &size);
	put_escaped(f, name);
	fputc('=', f);
	put_hex(f, value, n);
	fclose(f);
}

static void add_item(const char *path, struct facts *x)
{
	struct item item = {.inode = x->inode};
	size_t size;
	FILE *f;

	f = open_memstream(&item.path, &size);
	put_escaped(f, path);
	fclose(f);
	f = open_memstream(&item.head, &size);
	fprintf(f, "type=%c mode=%04o uid=%u gid=%u mtime=%lld.%09u", kind_of(x->mode), x->mode & 07777,
		x->uid, x->gid, (long long)x->sec, x->nsec);
	fclose(f);
	f = open_memstream(&item.rest, &size);
	if (S_ISREG(x->mode)) {
		fprintf(f, " size=%llu sha256=", (unsigned long long)x->size);
		put_hex(f, x->sum, 32);
	}
	if (S_ISLNK(x->mode)) {
		fputs(" target=", f);
		put_escaped(f, x->target);
	}
	if (S_ISCHR(x->mode) || S_ISBLK(x->mode))
		fprintf(f, " rdev=%u:%u", x->major, x->minor);
	qsort(x->xattrs, x->xattr_count, sizeof(*x->xattrs), by_text);
	for (size_t i = 0; i < x->xattr_count; i++) {
		fprintf(f, " [%s]", x->xattrs[i]);
		free(x->xattrs[i]);
	}
	fclose(f);
	if (!S_ISDIR(x->mode)) {
		char *head = item.head;

		if (asprintf(&item.head, "%s nlink=%u", head, x->links) < 0)
			die("out of memory", path);
		free(head);
	}
	free(x->target);
	if (list.n == list.room) {
		list.room = list.room ? list.room * 2 : 1024;
		list.items = realloc(list.items, list.room * sizeof(*list.items));
		if (!list.items)
			die("out of memory", path);
	}
	list.items[list.n++] = item;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

static int by_inode(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;

	if ((*x)->inode != (*y)->inode)
		return (*x)->inode < (*y)->inode ? -1 : 1;
	return strcmp((*x)->path, (*y)->path);
}

static void print_list(void)
{
	struct item **order = calloc(list.n, sizeof(*order));
	const char **first = calloc(list.n, sizeof(*first));

	if (!order || !first)
		die("out of memory", "list");
	qsort(list.items, list.n, sizeof(*list.items), by_path);
	for (size_t i = 0; i < list.n; i++)
		order[i] = &list.items[i];
	qsort(order, list.n, sizeof(*order), by_inode);
	for (size_t i = 0; i < list.n; i++)
		first[order[i] - list.items] = i > 0 && order[i - 1]->inode == order[i]->inode
						       ? first[order[i - 1] - list.items]
						       : order[i]->path;
	for (size_t i = 0; i < list.n; i++) {
		printf("%s %s same=%s%s\n", list.items[i].path, list.items[i].head, first[i],
			list.items[i].rest);
		free(list.items[i].head);
		free(list.items[i].rest);
	}
	for (size_t i = 0; i < list.n; i++)
		free(list.items[i].path);
	free(order);
	free(first);
	free(list.items);
}

static EVP_MD_CTX *sum_begin(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (!c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1)
		die("no sha256", "openssl");
	return c;
}

static void sum_end(EVP_MD_CTX *c, struct facts *x)
{
	EVP_DigestFinal_ex(c, x->sum, NULL);
	EVP_MD_CTX_free(c);
}

/* ---- a folder ---- */

static void dir_contents(int dirfd, const char *name, const char *path, struct facts *x)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ char *buf = malloc(PIECE);
	EVP_MD_CTX *c = sum_begin();
	ssize_t n;

	if (fd < 0)
		die("can't be opened", path);
	while ((n = read(fd, buf, PIECE)) > 0)
		EVP_DigestUpdate(c, buf, (size_t)n);
	if (n < 0)
		die("can't be read", path);
	sum_end(c, x);
}

static void dir_xattrs(int fd, const char *path, struct facts *x)
{
	char self[64], names[65536], value[65536];
	ssize_t n, k;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = listxattr(self, names, sizeof(names));
	if (n < 0)
		die("its extended attributes can't be listed", path);
	for (const char *name = names; name < names + n; name += strlen(name) + 1) {
		k = getxattr(self, name, value, sizeof(value));
		if (k < 0)
			die("an extended attribute can't be read", path);
		add_xattr(x, name, value, (size_t)k);
	}
}

static void dir_walk(int dirfd, const char *path);

static void dir_entry(int dirfd, const char *name, const char *path)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct facts x = {0};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("can't be opened", path);
	x.mode = st.st_mode;
	x.uid = st.st_uid;
	x.gid = st.st_gid;
	x.links = (uint32_t)st.st_nlink;
	x.inode = st.st_ino;
	x.size = (uint64_t)st.st_size;
	x.sec = st.st_mtim.tv_sec;
	x.nsec = (uint32_t)st.st_mtim.tv_nsec;
	x.major = major(st.st_rdev);
	x.minor = minor(st.st_rdev);
	dir_xattrs(fd, path, &x);
	if (S_ISREG(x.mode))
		dir_contents(dirfd, name, path, &x);
	if (S_ISLNK(x.mode)) {
		ssize_t n;

		if (!(x.target = calloc(1, PIECE)) || (n = readlinkat(fd, "", x.target, PIECE - 1)) < 0)
			die("can't be read", path);
	}
	add_item(path, &x);
	if (S_ISDIR(x.mode))
		dir_walk(openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), path);
}

/* Takes DIRFD. */
static void dir_walk(int fd, const char *path)
{
	_cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *d;

	if (!dir)
		die("can't be opened", path);
	while ((d = readdir(dir))) {
		_cleanup_free_ char *below = NULL;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (asprintf(&below, "%s/%s", strcmp(path, "/") == 0 ? "" : path, d->d_name) < 0)
			die("out of memory", path);
		dir_entry(dirfd(dir), d->d_name, below);
	}
}

/* ---- an ext4 ---- */

static void ext4_read(
	ext2_filsys fs, ext2_ino_t ino, const char *path, void *buf, uint64_t size, EVP_MD_CTX *c)
{
	ext2_file_t f;
	unsigned n = 0;

	if (ext2fs_file_open(fs, ino, 0, &f) != 0)
		die("can't be opened", path);
	for (uint64_t at = 0; at < size; at += n) {
		if (ext2fs_file_read(f, buf, PIECE, &n) != 0 || n == 0)
			die("can't be read", path);
		if (c)
			EVP_DigestUpdate(c, buf, n);
	}
	ext2fs_file_close(f);
}

static int ext4_xattr(char *name, char *value, size_t n, void *user)
{
	add_xattr(user, name, value, n);
	return 0;
}

static void ext4_xattrs(ext2_filsys fs, ext2_ino_t ino, const char *path, struct facts *x)
{
	struct ext2_xattr_handle *h;

	if (ext2fs_xattrs_open(fs, ino, &h) != 0 || ext2fs_xattrs_read(h) != 0 ||
		ext2fs_xattrs_iterate(h, ext4_xattr, x) != 0)
		die("its extended attributes can't be read", path);
	ext2fs_xattrs_close(&h);
}

static void ext4_device(const struct ext2_inode *inode, struct facts *x)
{
	uint32_t d = inode->i_block[1];

	if (inode->i_block[0]) {
		x->major = inode->i_block[0] >> 8 & 0xff;
		x->minor = inode->i_block[0] & 0xff;
	} else {
		x->major = d >> 8 & 0xfff;
		x->minor = (d & 0xff) | (d >> 12 & 0xfff00);
	}
}

static void ext4_facts(ext2_filsys fs, ext2_ino_t ino, const char *path, struct facts *x)
{
	struct ext2_inode_large large;
	struct ext2_inode *inode = (struct ext2_inode *)&large;
	_cleanup_free_ char *buf = malloc(PIECE);

	if (!buf || ext2fs_read_inode_full(fs, ino, inode, sizeof(large)) != 0)
		die("its inode can't be read", path);
	x->inode = ino;
	x->mode = inode->i_mode;
	x->uid = inode_uid(*inode);
	x->gid = inode_gid(*inode);
	x->links = inode->i_links_count;
	x->size = EXT2_I_SIZE(inode);
	/* Two bits of the seconds are beside the nanoseconds; in the first 32 the sign is one. */
	x->sec = (int64_t)(int32_t)inode->i_mtime + ((int64_t)(large.i_mtime_extra & 3) << 32);
	x->nsec = large.i_mtime_extra >> 2;
	if (S_ISCHR(x->mode) || S_ISBLK(x->mode))
		ext4_device(inode, x);
	ext4_xattrs(fs, ino, path, x);
	if (S_ISREG(x->mode)) {
		EVP_MD_CTX *c = sum_begin();

		ext4_read(fs, ino, path, buf, x->size, c);
		sum_end(c, x);
	}
	if (S_ISLNK(x->mode)) {
		if (x->size >= PIECE || !(x->target = calloc(1, PIECE)))
			die("a target too long", path);
		if (ext2fs_is_fast_symlink(inode))
			memcpy(x->target, inode->i_block, x->size);
		else
			ext4_read(fs, ino, path, x->target, x->size, NULL);
		x->target[x->size] = '\0';
	}
}

struct walk {
	ext2_filsys fs;
	const char *path;
};

static void ext4_walk(ext2_filsys fs, ext2_ino_t dir, const char *path);

static int ext4_entry(
	ext2_ino_t dir, int at, struct ext2_dir_entry *d, int offset, int size, char *buf, void *user)
{
	struct walk *w = user;
	_cleanup_free_ char *path = NULL;
	struct facts x = {0};

	(void)dir;
	(void)offset;
	(void)size;
	(void)buf;
	if (at != DIRENT_OTHER_FILE)
		return 0;
	if (asprintf(&path, "%s/%.*s", strcmp(w->path, "/") == 0 ? "" : w->path, ext2fs_dirent_name_len(d),
		    d->name) < 0)
		die("out of memory", w->path);
	ext4_facts(w->fs, d->inode, path, &x);
	add_item(path, &x);
	if (S_ISDIR(x.mode))
		ext4_walk(w->fs, d->inode, path);
	return 0;
}

static void ext4_walk(ext2_filsys fs, ext2_ino_t dir, const char *path)
{
	struct walk w = {fs, path};
	errcode_t r = ext2fs_dir_iterate2(fs, dir, 0, NULL, ext4_entry, &w);

	if (r)
		die(error_message(r), path);
}

int main(int argc, char **argv)
{
	struct facts root = {0};
	struct stat st;

	if (argc != 2 || stat(argv[1], &st) < 0)
		die("imagelist FOLDER-OR-EXT4", argc > 1 ? argv[1] : "usage");
	if (S_ISDIR(st.st_mode)) {
		dir_entry(AT_FDCWD, argv[1], "/");
	} else {
		ext2_filsys fs;
		errcode_t r;

		initialize_ext2_error_table();
		r = ext2fs_open(argv[1], EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs);
		if (r)
			die(error_message(r), argv[1]);
		ext4_facts(fs, EXT2_ROOT_INO, "/", &root);
		add_item("/", &root);
		ext4_walk(fs, EXT2_ROOT_INO, "/");
		ext2fs_close_free(&fs);
	}
	print_list();
	return 0;
}
