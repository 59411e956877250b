#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "kernel/kernel.h"

/* Documentation/arch/x86/boot.rst: offsets in a bzImage. */
#define SETUP_SECTS    0x1f1
#define HEADER_MAGIC   0x202
#define PROTOCOL       0x206
#define PAYLOAD_OFFSET 0x248
#define PAYLOAD_LENGTH 0x24c
#define VMLINUX_MAX    (512u << 20)

static uint32_t u32_at(const uint8_t *p, size_t at)
{
	uint32_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

/* What the kernel's build packs with, less lzo, for which libarchive would run a program. */
static int (*const filters[])(struct archive *) = {archive_read_support_filter_gzip,
	archive_read_support_filter_bzip2, archive_read_support_filter_lzma, archive_read_support_filter_xz,
	archive_read_support_filter_lz4, archive_read_support_filter_zstd};

/* Unpacks DATA, whatever it is packed with, into OUT_FD. */
static int unpack(const void *data, size_t n, int out_fd, uint64_t *ret_size, struct err *e)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	uint64_t size = 0;
	char buf[65536];
	ssize_t k = 0;
	int r = 0;

	if (!a)
		return err_sys(e, -ENOMEM, "kernel");
	for (size_t i = 0; i < ELEMENTSOF(filters); i++)
		filters[i](a);
	archive_read_support_format_raw(a);
	if (archive_read_open_memory(a, data, n) != ARCHIVE_OK ||
		archive_read_next_header(a, &entry) != ARCHIVE_OK)
		r = err_set(e, -EBADMSG, "the kernel cannot be unpacked: %s", archive_error_string(a));
	while (r == 0 && (k = archive_read_data(a, buf, sizeof(buf))) > 0) {
		size += (uint64_t)k;
		if (size > VMLINUX_MAX)
			r = err_set(e, -EFBIG, "the kernel is larger than %u MiB", VMLINUX_MAX >> 20);
		else if ((r = io_write_full(out_fd, buf, (size_t)k)) < 0)
			err_sys(e, r, "kernel");
	}
	if (r == 0 && k < 0)
		r = err_set(e, -EBADMSG, "the kernel cannot be unpacked: %s", archive_error_string(a));
	archive_read_free(a);
	*ret_size = size;
	return r;
}

int kernel_vmlinux(const void *buf, size_t n, int out_fd, struct err *e)
{
	const uint8_t *p = buf;
	uint64_t at, length, size = 0;
	Elf64_Ehdr head;
	int r;

	if (n >= sizeof(head) && memcmp(p, ELFMAG, SELFMAG) == 0) {
		r = io_write_full(out_fd, buf, n);
		return r < 0 ? err_sys(e, r, "kernel") : 0;
	}
	if (n < 0x1000 || memcmp(p + HEADER_MAGIC, "HdrS", 4) != 0 ||
		(p[PROTOCOL] | p[PROTOCOL + 1] << 8) < 0x208)
		return err_set(e, -EBADMSG, "not a Linux kernel (a bzImage of boot protocol 2.08 or newer)");
	at = ((p[SETUP_SECTS] ? p[SETUP_SECTS] : 4) + 1ull) * 512 + u32_at(p, PAYLOAD_OFFSET);
	length = u32_at(p, PAYLOAD_LENGTH);
	if (length < 8 || at > n || length > n - at)
		return err_set(e, -EBADMSG, "the kernel is cut off");
	/* The last four bytes are the unpacked size, behind the packed data. */
	r = unpack(p + at, length - 4, out_fd, &size, e);
	if (r < 0)
		return r;
	if (size != u32_at(p, at + length - 4))
		return err_set(e, -EBADMSG, "the kernel unpacks to another size than it says");
	if (pread(out_fd, &head, sizeof(head), 0) != sizeof(head) ||
		memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_machine != EM_X86_64)
		return err_set(e, -EBADMSG, "what the kernel unpacks to is no x86-64 ELF");
	return 0;
}
