#include <errno.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "image/acl.h"
#include "image/source.h"

#define SIZE_UNKNOWN (32ull << 30) /* apparent: sparse, so it costs its metadata */
#define SIZE_MIN     (256ull << 20)

static int begin(int out_fd, struct writer_shape shape, struct op *op, struct source *ret, struct err *e)
{
	uint64_t size = shape.size;
	struct source s = {.op = op};
	int r;

	if (size > SOURCE_SIZE_MAX)
		return err_set(e, -EFBIG, "larger than %llu GiB", SOURCE_SIZE_MAX >> 30);
	shape.size = size - size % WRITER_BLOCK;
	/* One inode for 8 KiB, and never few: folders of many small files are usual. */
	shape.inodes = size / 8192 > 262144 ? size / 8192 : 262144;
	if (shape.inodes > TREE_ENTRIES_MAX + 1000)
		shape.inodes = TREE_ENTRIES_MAX + 1000;
	r = itree_new(&s.tree, e);
	if (r == 0)
		r = writer_new(out_fd, &shape, &s.writer, e);
	if (r < 0) {
		source_clear(&s);
		return r;
	}
	s.bytes_max = size;
	s.tree->drop = writer_drop;
	s.tree->user = s.writer;
	*ret = s;
	return 0;
}

int source_begin(
	int out_fd, uint64_t bytes, const char *seed, struct op *op, struct source *ret, struct err *e)
{
	/* Half as much again and room for metadata: an image is read-only, what is left over in it is never allocated. */
	struct writer_shape shape = {
		.seed = seed, .size = bytes ? bytes + bytes / 2 + SIZE_MIN : SIZE_UNKNOWN};
	struct source s;
	int r = begin(out_fd, shape, op, &s, e);

	if (r < 0)
		return r;
	r = lane_new(s.writer, 0, &s.lane, e);
	if (r < 0) {
		source_clear(&s);
		return r;
	}
	*ret = s;
	return 0;
}

int source_begin_lanes(int out_fd, const uint64_t *weights, size_t lanes, const char *seed, struct op *op,
	struct source *ret, struct err *e)
{
	struct writer_shape shape = {.seed = seed, .size = SIZE_UNKNOWN, .lanes = lanes, .weights = weights};

	return begin(out_fd, shape, op, ret, e);
}

int source_finish(struct source *s, int out_fd, struct image_result *ret, struct err *e)
{
	struct utsname machine;
	struct stat st;
	int r;

	op_stage(s->op, IMAGE_STAGE_WRITE);
	ret->entries = s->tree->entries;
	r = s->lane ? lane_finish(s->lane, e) : 0;
	if (r < 0)
		return r;
	r = writer_finish(s->writer, s->tree, &ret->content, e);
	if (r < 0)
		return r;
	if (fdatasync(out_fd) < 0 || fstat(out_fd, &st) < 0)
		return err_sys(e, -errno, "writing the image");
	ret->size = (uint64_t)st.st_blocks * 512;
	uname(&machine);
	snprintf(ret->arch, sizeof(ret->arch), "%.15s", machine.machine);
	return 0;
}

void source_clear(struct source *s)
{
	itree_free(s->tree);
	lane_free(s->lane);
	writer_free(s->writer);
	*s = (struct source){0};
}

int source_add(struct source *s, const char *path, uint32_t mode, const void *data, size_t n, struct err *e)
{
	struct inode *inode = NULL;
	int r = inode_new(mode, &inode, e);

	if (r == 0 && n > 0)
		r = lane_data(s->lane, inode, 0, data, n, e);
	if (r == 0 && S_ISREG(mode))
		r = lane_end(s->lane, inode, n, e);
	if (r < 0) {
		inode_free(inode);
		return r;
	}
	return itree_put(s->tree, path, inode, e);
}

int source_add_link(struct source *s, const char *path, const char *target, struct err *e)
{
	struct inode *inode = NULL;
	int r = inode_new(S_IFLNK | 0777, &inode, e);

	if (r < 0)
		return r;
	inode->target = strdup(target);
	inode->size = strlen(target);
	if (!inode->target) {
		inode_free(inode);
		return err_sys(e, -ENOMEM, "image");
	}
	return itree_put(s->tree, path, inode, e);
}

/* With PREFIX, and something behind it. */
static bool has_prefix(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(name, prefix, n) == 0 && name[n];
}

bool source_xattr_wanted(const char *name)
{
	/* Those of overlayfs would hide or redirect files when the guest mounts the image below an overlay. */
	if (strncmp(name, "trusted.overlay.", 16) == 0 || strncmp(name, "user.overlay.", 13) == 0)
		return false;
	return has_prefix(name, "user.") || has_prefix(name, "security.") || has_prefix(name, "trusted.") ||
	       acl_is_name(name);
}

void source_digest(const unsigned char sum[32], char ret[72])
{
	memcpy(ret, "sha256:", 8);
	for (int i = 0; i < 32; i++)
		snprintf(ret + 7 + 2 * i, 3, "%02x", sum[i]);
}
