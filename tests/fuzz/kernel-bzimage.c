/* A bzImage from anywhere: an x86-64 ELF comes out, or an error. */
#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "kernel/kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("vmlinux", MFD_CLOEXEC);
	_cleanup_err_ struct err e = {0};
	char magic[SELFMAG];

	if (fd < 0)
		abort();
	if (kernel_vmlinux(data, size, fd, &e) == 0) {
		if (pread(fd, magic, SELFMAG, 0) != SELFMAG || memcmp(magic, ELFMAG, SELFMAG) != 0)
			abort();
	} else if (!e.text) {
		abort();
	}
	return 0;
}
