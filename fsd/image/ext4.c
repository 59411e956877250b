/* A finished file system as an image: looked at, not changed. */
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/source.h"

#define BLOCK_MAX  4096 /* what every machine can mount */
#define HASH_BYTES (1u << 20)

/* What people take for an ext4, and what to do with it. */
static int not_ext4(int fd, struct err *e)
{
	static const struct {
		off_t at;
		const char *magic, *what;
	} others[] = {
		{0, "QFI\xfb", "it is a qcow2: `qemu-img convert -O raw` makes a raw disk of it"},
		{512, "EFI PART",
			"it is a disk with partitions: take the one with the root file system out of it "
			"(losetup -P, dd)"},
		{510, "\x55\xaa",
			"it is a disk with partitions: take the one with the root file system out of it "
			"(losetup -P, dd)"},
		{0, "hsqs", "it is a squashfs: `unsquashfs`, and import the folder"},
		{0, "XFSB", "it is an XFS: mount it, and import the folder"},
		{0x10040, "_BHRfS_M", "it is a btrfs: mount it, and import the folder"},
		{0, "\x1f\x8b", "it is packed: unpack it first, or, if it is a tar, `import` it"},
		{257, "ustar", "it is a tar: `import` it"},
	};
	char head[8];

	for (size_t i = 0; i < ELEMENTSOF(others); i++) {
		size_t n = strlen(others[i].magic);

		if (pread(fd, head, n, others[i].at) == (ssize_t)n && memcmp(head, others[i].magic, n) == 0)
			return err_set(e, -EBADMSG, "no ext4 file system: %s", others[i].what);
	}
	return err_set(e, -EBADMSG, "no ext4 file system: there is no superblock");
}

static int open_failure(int fd, errcode_t code, struct err *e)
{
	switch (code) {
	case EXT2_ET_BAD_MAGIC:
	case EXT2_ET_SHORT_READ:
		return not_ext4(fd, e);
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE:
	case EXT2_ET_REV_TOO_HIGH:
		return err_set(
			e, -EOPNOTSUPP, "it has features that aren't known here: %s", error_message(code));
	case EXT2_ET_NO_MEMORY:
		return err_sys(e, -ENOMEM, "ext4");
	default:
		return err_set(e, -EBADMSG, "its superblock is damaged (%s): e2fsck -fy it first",
			error_message(code));
	}
}

static int judge(ext2_filsys fs, uint64_t size, struct err *e)
{
	const struct ext2_super_block *s = fs->super;
	uint64_t blocks = ext2fs_blocks_count(fs->super), bytes;
	struct ext2_inode root;

	if (s->s_feature_incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return err_set(e, -EBADMSG, "it is another file system's journal");
	if (fs->blocksize > BLOCK_MAX)
		return err_set(e, -EOPNOTSUPP, "blocks of %u bytes: not every machine mounts more than %d",
			fs->blocksize, BLOCK_MAX);
	if (__builtin_mul_overflow(blocks, fs->blocksize, &bytes) || bytes > size)
		return err_set(e, -EBADMSG,
			"it is cut off: the file system has %llu blocks of %u bytes, the file %llu bytes",
			(unsigned long long)blocks, fs->blocksize, (unsigned long long)size);
	if (s->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER)
		return err_set(e, -EUCLEAN,
			"its journal isn't empty: it is mounted, or was not unmounted. Unmount it, or "
			"e2fsck -fy it, and register it again");
	if (!(s->s_state & EXT2_VALID_FS) || (s->s_state & EXT2_ERROR_FS))
		return err_set(e, -EUCLEAN,
			"it isn't clean: it is mounted, or damaged. Unmount it, or e2fsck -fy it, and "
			"register it again");
	if (ext2fs_check_desc(fs) || ext2fs_read_inode(fs, EXT2_ROOT_INO, &root) ||
		!LINUX_S_ISDIR(root.i_mode))
		return err_set(e, -EBADMSG, "it is damaged: e2fsck -fy it first");
	return 0;
}

/* sha256 of all of it; holes are zeros. */
static int hash(int fd, uint64_t size, struct op *op, char ret[72], struct err *e)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t *buf = malloc(HASH_BYTES);
	unsigned char sum[EVP_MAX_MD_SIZE];
	uint64_t at = 0, data = 0;
	int r = c && buf && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1 ? 0 : err_sys(e, -ENOMEM, "ext4");

	while (r == 0 && at < size) {
		size_t want = size - at < HASH_BYTES ? (size_t)(size - at) : HASH_BYTES;
		ssize_t n = (ssize_t)want;

		if (at >= data) {
			off_t next = lseek(fd, (off_t)at, SEEK_DATA);

			data = next >= 0 ? (uint64_t)next : errno == ENXIO ? size : at;
		}
		if (at < data) {
			n = data - at < want ? (ssize_t)(data - at) : (ssize_t)want;
			memset(buf, 0, (size_t)n);
		} else if ((n = pread(fd, buf, want, (off_t)at)) <= 0) {
			r = err_sys(e, n < 0 ? -errno : -EIO, "reading");
			break;
		}
		EVP_DigestUpdate(c, buf, (size_t)n);
		at += (uint64_t)n;
		op_progress(op, at, size);
		r = op_check(op, e);
	}
	if (r == 0) {
		EVP_DigestFinal_ex(c, sum, NULL);
		source_digest(sum, ret);
	}
	EVP_MD_CTX_free(c);
	free(buf);
	return r;
}

int image_check_ext4(int fd, struct op *op, struct image_result *ret, struct err *e)
{
	struct image_result result = {0};
	struct utsname machine;
	ext2_filsys fs = NULL;
	struct stat st;
	char name[16];
	errcode_t code;
	int own, r;

	op_stage(op, IMAGE_STAGE_CHECK);
	initialize_ext2_error_table();
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "ext4");
	/* A descriptor, for a worker opens nothing by name; the library closes it. */
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return err_sys(e, -errno, "ext4");
	snprintf(name, sizeof(name), "%d", own);
	code = ext2fs_open(name, EXT2_FLAG_64BITS | EXT2_FLAG_JOURNAL_DEV_OK, 0, 0, unixfd_io_manager, &fs);
	if (code)
		return open_failure(fd, code, e);
	r = judge(fs, (uint64_t)st.st_size, e);
	if (r == 0) {
		result.entries = fs->super->s_inodes_count - fs->super->s_free_inodes_count;
		result.content = (ext2fs_blocks_count(fs->super) - ext2fs_free_blocks_count(fs->super)) *
				 fs->blocksize;
	}
	ext2fs_free(fs);
	if (r == 0)
		r = hash(fd, (uint64_t)st.st_size, op, result.digest, e);
	if (r < 0)
		return r;
	result.size = (uint64_t)st.st_blocks * 512;
	uname(&machine);
	snprintf(result.arch, sizeof(result.arch), "%.15s", machine.machine);
	*ret = result;
	return 0;
}
