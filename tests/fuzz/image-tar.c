/* A tar from anywhere: an ext4 that opens, or an error that says why. */
#include <ext2fs/ext2fs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int in = memfd_create("tar", MFD_CLOEXEC), out = memfd_create("image", MFD_CLOEXEC);
	_cleanup_err_ struct err e = {0};
	struct image_result result;
	ext2_filsys fs;
	char path[32];

	if (in < 0 || out < 0 || write(in, data, size) != (ssize_t)size || lseek(in, 0, SEEK_SET) != 0)
		abort();
	if (image_from_tar(in, out, "seed", NULL, &result, &e) < 0) {
		if (!e.text)
			abort();
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out);
	if (ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs) != 0 ||
		ext2fs_check_directory(fs, EXT2_ROOT_INO) != 0)
		abort();
	ext2fs_close_free(&fs);
	return 0;
}
