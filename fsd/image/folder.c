/* The form of an index: Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories". */
#include <errno.h>
#include <string.h>

#include "image/folder.h"
#include "image/mkfs.h"

#define ENTRY_ROOM (WRITER_BLOCK - (uint32_t)sizeof(struct ext2_dir_entry_tail))
#define ROOT_BEGIN 32u /* "." and "..", and what kind of index it is */
#define NODE_BEGIN 8u  /* an entry that is none, over the whole block */
#define INDEX_LIMIT(begin)                                                                                   \
	((WRITER_BLOCK - (begin) - (uint32_t)sizeof(struct ext2_dx_tail)) /                                  \
		(uint32_t)sizeof(struct ext2_dx_entry))
#define ROOT_LIMIT INDEX_LIMIT(ROOT_BEGIN)
#define NODE_LIMIT INDEX_LIMIT(NODE_BEGIN)

struct item {
	uint32_t hash, minor;
	const struct node *node;
};

/* A block of entries: the items from FIRST up to the next one's. */
struct leaf {
	uint32_t hash;
	size_t first;
};

struct folder {
	struct writer *w;
	struct node *dir;
	struct item *items;
	size_t item_count;
	struct leaf *leaves;
	size_t leaf_count;
	uint8_t *block;
	uint32_t at, last; /* where the next entry goes, where the one before stands */
	uint64_t physical; /* the rest of the run of blocks at work */
	uint32_t run, logical, total;
	struct err *e;
};

static uint32_t entry_size(const char *name)
{
	return (uint32_t)((8 + strlen(name) + 3) & ~3u);
}

static uint8_t entry_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFLNK:
		return EXT2_FT_SYMLINK;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	default:
		return EXT2_FT_SOCK;
	}
}

static void add_entry(struct folder *f, const struct inode *inode, const char *name)
{
	struct ext2_dir_entry *entry = (struct ext2_dir_entry *)(f->block + f->at);
	size_t n = strlen(name);

	entry->inode = inode->number;
	entry->rec_len = (uint16_t)entry_size(name);
	entry->name_len = (uint16_t)(n | entry_type(inode->mode) << 8);
	memcpy(entry->name, name, n);
	f->last = f->at;
	f->at += entry->rec_len;
}

static void add_dots(struct folder *f)
{
	add_entry(f, f->dir->inode, ".");
	add_entry(f, (f->dir->parent ? f->dir->parent : f->dir)->inode, "..");
}

/* The block as it stands is the folder's next; its checksum is the library's. */
static int put_block(struct folder *f)
{
	errcode_t code;
	int r;

	if (f->run == 0) {
		r = writer_alloc(f->w, f->total - f->logical, &f->physical, &f->run, f->e);
		if (r == 0)
			r = writer_extent(f->dir->inode, f->logical, f->physical, f->run, f->e);
		if (r < 0)
			return r;
	}
	code = ext2fs_write_dir_block4(f->w->fs, f->physical, f->block, 0, f->dir->inode->number);
	if (code)
		return mkfs_error(f->e, code, "writing a folder");
	memset(f->block, 0, WRITER_BLOCK);
	f->at = f->last = 0;
	f->physical++;
	f->run--;
	f->logical++;
	return 0;
}

/* The last entry goes as far as the checksum. */
static int put_leaf(struct folder *f)
{
	struct ext2_dir_entry *last = (struct ext2_dir_entry *)(f->block + f->last);

	last->rec_len = (uint16_t)(ENTRY_ROOM - f->last);
	ext2fs_initialize_dirent_tail(f->w->fs, EXT2_DIRENT_TAIL(f->block, WRITER_BLOCK));
	return put_block(f);
}

/* COUNT entries of an index behind BEGIN: the leaf FIRST and each STEP-th after it, whose blocks begin at BLOCK. */
static int put_index(
	struct folder *f, uint32_t begin, size_t first, size_t count, size_t step, uint32_t block)
{
	struct ext2_dx_entry *entries = (struct ext2_dx_entry *)(f->block + begin);
	struct ext2_dx_countlimit *head = (struct ext2_dx_countlimit *)entries;

	for (size_t i = 0; i < count; i++) {
		entries[i].hash = f->leaves[first + i * step].hash;
		entries[i].block = block + (uint32_t)i;
	}
	/* In the place of the first one's hash, which is the lowest of all in here. */
	head->limit = (uint16_t)INDEX_LIMIT(begin);
	head->count = (uint16_t)count;
	return put_block(f);
}

static int put_root(struct folder *f, size_t nodes)
{
	struct ext2_dx_root_info *info = (struct ext2_dx_root_info *)(f->block + 24);

	add_dots(f);
	((struct ext2_dir_entry *)(f->block + f->last))->rec_len = (uint16_t)(WRITER_BLOCK - f->last);
	info->hash_version = f->w->fs->super->s_def_hash_version;
	info->info_length = sizeof(*info);
	info->indirect_levels = nodes > 0;
	return nodes > 0 ? put_index(f, ROOT_BEGIN, 0, nodes, NODE_LIMIT, 1)
			 : put_index(f, ROOT_BEGIN, 0, f->leaf_count, 1, 1);
}

static int put_indexed(struct folder *f)
{
	size_t nodes = f->leaf_count > ROOT_LIMIT ? (f->leaf_count + NODE_LIMIT - 1) / NODE_LIMIT : 0;
	int r;

	f->total = (uint32_t)(1 + nodes + f->leaf_count);
	f->dir->inode->indexed = true;
	r = put_root(f, nodes);
	for (size_t i = 0; r == 0 && i < nodes; i++) {
		size_t first = i * NODE_LIMIT, left = f->leaf_count - first;

		((struct ext2_dir_entry *)f->block)->rec_len = WRITER_BLOCK;
		r = put_index(f, NODE_BEGIN, first, left < NODE_LIMIT ? left : NODE_LIMIT, 1,
			(uint32_t)(1 + nodes + first));
	}
	for (size_t i = 0; r == 0 && i < f->leaf_count; i++) {
		size_t end = i + 1 < f->leaf_count ? f->leaves[i + 1].first : f->item_count;

		for (size_t k = f->leaves[i].first; k < end; k++)
			add_entry(f, f->items[k].node->inode, f->items[k].node->name);
		r = put_leaf(f);
	}
	return r;
}

/* All in one block, in the order of names. */
static int put_small(struct folder *f)
{
	f->total = 1;
	add_dots(f);
	for (size_t i = 0; i < f->item_count; i++)
		add_entry(f, f->items[i].node->inode, f->items[i].node->name);
	return put_leaf(f);
}

static int by_hash(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return strcmp(x->node->name, y->node->name);
}

static errcode_t hash_items(struct folder *f)
{
	const struct ext2_super_block *s = f->w->fs->super;
	errcode_t code = 0;

	for (size_t i = 0; i < f->item_count && !code; i++) {
		struct item *item = &f->items[i];

		code = ext2fs_dirhash2(s->s_def_hash_version, item->node->name, (int)strlen(item->node->name),
			NULL, 0, s->s_hash_seed, &item->hash, &item->minor);
	}
	return code;
}

/* What goes into which block; each is filled, for who reads an image adds nothing to it. */
static int divide(struct folder *f)
{
	uint32_t used = ENTRY_ROOM;

	for (size_t i = 0; i < f->item_count; i++) {
		uint32_t size = entry_size(f->items[i].node->name), hash = f->items[i].hash;

		if (used + size > ENTRY_ROOM) {
			/* The lowest bit, none of the hash's: names with this one begin in the block before. */
			bool split = i > 0 && f->items[i - 1].hash == hash;

			f->leaves[f->leaf_count++] = (struct leaf){.hash = hash | split, .first = i};
			used = 0;
		}
		used += size;
	}
	/* Three levels are for file systems of another kind (large_dir). */
	if (f->leaf_count > (size_t)ROOT_LIMIT * NODE_LIMIT)
		return err_set(
			f->e, -EFBIG, "a folder of %zu entries is larger than ext4 takes", f->item_count);
	return 0;
}

static int take_child(void *user, struct node *child)
{
	struct folder *f = user;

	f->items[f->item_count++].node = child;
	return 0;
}

static int write_all(struct folder *f)
{
	uint64_t bytes = entry_size(".") + entry_size("..");
	errcode_t code;
	int r;

	itree_each(f->dir, take_child, f);
	for (size_t i = 0; i < f->item_count; i++)
		bytes += entry_size(f->items[i].node->name);
	if (bytes <= ENTRY_ROOM)
		return put_small(f);
	/* A block is left when the next entry doesn't fit: at least half of each is used. */
	f->leaves = calloc((size_t)(bytes / (ENTRY_ROOM / 2)) + 1, sizeof(*f->leaves));
	if (!f->leaves)
		return err_sys(f->e, -ENOMEM, "image");
	code = hash_items(f);
	if (code)
		return mkfs_error(f->e, code, "writing a folder");
	qsort(f->items, f->item_count, sizeof(*f->items), by_hash);
	r = divide(f);
	return r == 0 ? put_indexed(f) : r;
}

int folder_write(struct writer *w, struct node *dir, struct err *e)
{
	struct folder f = {.w = w, .dir = dir, .e = e};
	int r;

	f.items = calloc(dir->child_count + 1, sizeof(*f.items));
	f.block = calloc(1, WRITER_BLOCK);
	r = f.items && f.block ? write_all(&f) : err_sys(e, -ENOMEM, "image");
	free(f.items);
	free(f.leaves);
	free(f.block);
	dir->inode->size = (uint64_t)f.logical * WRITER_BLOCK;
	return r;
}
