/*
 * A disk that lies: a layer, or an error that says why; never more than the disk holds. The input is what is written over a good disk: block (of those that
 * hold anything), offset in it (2 bytes), number of bytes, these. Without checksums, which would hide all else.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/lane.h"
#include "image/pack.h"
#include "image/writer.h"

#define DISK_SIZE  (16u << 20)
#define BLOCKS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *disk; /* mapped, shared with FD */
static int fd = -1;
static uint32_t blocks[BLOCKS_MAX];
static size_t count;

static void need(bool good)
{
	if (!good)
		abort();
}

static void put(struct lane *l, struct itree *tree, const char *path, uint32_t mode, const char *xattr)
{
	static const uint8_t text[9000] = "contents";
	struct inode *inode = NULL;

	need(inode_new(mode, &inode, NULL) == 0);
	if (xattr)
		need(inode_add_xattr(inode, xattr, "y", 1, NULL) == 0);
	if (S_ISREG(mode))
		need(lane_data(l, inode, 0, "contents", 8, NULL) == 0 &&
			lane_data(l, inode, 40960, text, sizeof(text), NULL) == 0 &&
			lane_end(l, inode, 50000, NULL) == 0);
	if (S_ISLNK(mode)) {
		inode->size = 100;
		inode->target = calloc(1, 101);
		need(inode->target);
		memset(inode->target, 'x', 100);
	}
	need(itree_put(tree, path, inode, NULL) == 0);
}

static void begin(void)
{
	struct writer_shape shape = {.size = DISK_SIZE, .seed = "seed", .inodes = 64, .lanes = 1};
	struct itree *tree = NULL;
	struct writer *w = NULL;
	struct lane *l = NULL;
	uint64_t content;
	uint32_t features;

	fd = memfd_create("disk", MFD_CLOEXEC);
	need(fd >= 0 && itree_new(&tree, NULL) == 0 && writer_new(fd, &shape, &w, NULL) == 0 &&
		lane_new(w, 0, &l, NULL) == 0);
	put(l, tree, "upper", S_IFDIR | 0755, "trusted.overlay.opaque");
	put(l, tree, "upper/file", S_IFREG | 0644, "user.some");
	put(l, tree, "upper/gone", S_IFCHR, NULL);
	put(l, tree, "upper/dir", S_IFDIR | 0755, "trusted.overlay.opaque");
	put(l, tree, "upper/dir/link", S_IFLNK | 0777, NULL);
	put(l, tree, "upper/dir/other", S_IFREG | 0644, NULL);
	need(itree_link(tree, "upper/hard", "upper/file", NULL) == 0);
	need(lane_finish(l, NULL) == 0);
	lane_free(l);
	need(writer_finish(w, tree, &content, NULL) == 0);
	writer_free(w);
	itree_free(tree);
	disk = mmap(NULL, DISK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(disk != MAP_FAILED);
	/* s_feature_ro_compat without METADATA_CSUM */
	memcpy(&features, disk + 1024 + 0x64, sizeof(features));
	features &= ~0x400u;
	memcpy(disk + 1024 + 0x64, &features, sizeof(features));
	for (uint32_t i = 0; i < DISK_SIZE / 4096 && count < BLOCKS_MAX; i++)
		for (size_t at = 0; at < 4096; at++)
			if (disk[i * 4096 + at]) {
				blocks[count++] = i;
				break;
			}
}

static void pack(enum pack_kind kind)
{
	_cleanup_close_ int out = memfd_create("layer", MFD_CLOEXEC);
	_cleanup_err_ struct err e = {0};
	struct image_result result;
	struct stat st;

	need(out >= 0);
	if (layer_from_ext4(fd, kind, out, NULL, &result, &e) < 0) {
		need(e.text);
		return;
	}
	need(fstat(out, &st) == 0 && (uint64_t)st.st_size == result.size && result.content <= DISK_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ uint8_t *before = NULL;

	if (fd < 0)
		begin();
	before = malloc(count * 4096);
	need(before);
	for (size_t i = 0; i < count; i++)
		memcpy(before + i * 4096, disk + blocks[i] * 4096ul, 4096);
	while (size >= 4) {
		uint32_t block = blocks[data[0] % count];
		size_t at = (size_t)(data[1] | data[2] << 8) % 4096, n = data[3];

		data += 4;
		size -= 4;
		n = n < size ? n : size;
		n = n < 4096 - at ? n : 4096 - at;
		memcpy(disk + block * 4096ul + at, data, n);
		data += n;
		size -= n;
	}
	pack(PACK_WHOLE);
	pack(PACK_UPPER);
	for (size_t i = 0; i < count; i++)
		memcpy(disk + blocks[i] * 4096ul, before + i * 4096, 4096);
	return 0;
}
