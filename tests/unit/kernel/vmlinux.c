/* A kernel out of its bzImage, made up: what is whole comes out, what lies is refused. */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "banger/cleanup.h"
#include "kernel/kernel.h"

#define ROOM       65536
#define ELF_SIZE   20000
#define PAYLOAD    0x400 /* behind the boot sectors */
#define SETUP      2
#define PAYLOAD_AT ((SETUP + 1) * 512 + PAYLOAD)

static void put32(uint8_t *p, size_t at, uint32_t v)
{
	memcpy(p + at, &v, sizeof(v));
}

static void make_elf(uint8_t *elf, uint16_t machine)
{
	Elf64_Ehdr head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64}, .e_machine = machine};

	for (size_t i = 0; i < ELF_SIZE; i++)
		elf[i] = (uint8_t)(i >> 6);
	memcpy(elf, &head, sizeof(head));
}

/* Its size. */
static size_t make_bzimage(uint8_t *p, uint16_t machine)
{
	_cleanup_free_ uint8_t *elf = malloc(ELF_SIZE);
	z_stream z = {.next_in = elf,
		.avail_in = ELF_SIZE,
		.next_out = p + PAYLOAD_AT,
		.avail_out = ROOM - PAYLOAD_AT};

	memset(p, 0, ROOM);
	make_elf(elf, machine);
	p[0x1f1] = SETUP;
	memcpy(p + 0x202, "HdrS", 4);
	p[0x206] = 0x0f;
	p[0x207] = 2;
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	put32(p, 0x248, PAYLOAD);
	put32(p, 0x24c, (uint32_t)z.total_out + 4);
	put32(p, PAYLOAD_AT + z.total_out, ELF_SIZE);
	return PAYLOAD_AT + z.total_out + 4 > 0x1000 ? PAYLOAD_AT + z.total_out + 4 : 0x1000;
}

static int unpack(const uint8_t *p, size_t n, off_t *ret_size)
{
	_cleanup_close_ int fd = memfd_create("vmlinux", MFD_CLOEXEC);
	/* Its own memory, so that a byte too far is seen. */
	_cleanup_free_ uint8_t *copy = malloc(n + 1);
	struct stat st;
	int r;

	memcpy(copy, p, n);
	r = kernel_vmlinux(copy, n, fd, NULL);
	fstat(fd, &st);
	*ret_size = st.st_size;
	return r;
}

static void whole(void **state)
{
	_cleanup_free_ uint8_t *p = malloc(ROOM);
	size_t n = make_bzimage(p, EM_X86_64);
	off_t size;

	(void)state;
	assert_int_equal(unpack(p, n, &size), 0);
	assert_int_equal(size, ELF_SIZE);
	make_elf(p, EM_X86_64);
	assert_int_equal(unpack(p, ELF_SIZE, &size), 0);
	assert_int_equal(size, ELF_SIZE);
}

static void cut(void **state)
{
	_cleanup_free_ uint8_t *p = malloc(ROOM);
	size_t n = make_bzimage(p, EM_X86_64);
	uint32_t length;
	off_t size;

	(void)state;
	memcpy(&length, p + 0x24c, sizeof(length));
	for (size_t i = 0; i < PAYLOAD_AT + length; i += i < 0x1000 ? 512 : 1)
		assert_int_equal(unpack(p, i, &size), -EBADMSG);
	/* Cut, and its length says so. */
	for (uint32_t less = 0; less < length; less++) {
		put32(p, 0x24c, less);
		assert_int_equal(unpack(p, n, &size), -EBADMSG);
	}
}

static void lies(void **state)
{
	static const uint32_t wrong[] = {0, 4, 7, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
	_cleanup_free_ uint8_t *p = malloc(ROOM);
	size_t n = make_bzimage(p, EM_X86_64);
	uint32_t length;
	off_t size;

	(void)state;
	memcpy(&length, p + 0x24c, sizeof(length));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		make_bzimage(p, EM_X86_64);
		put32(p, 0x24c, wrong[i]);
		assert_int_equal(unpack(p, n, &size), -EBADMSG);
		make_bzimage(p, EM_X86_64);
		put32(p, 0x248, wrong[i]);
		assert_int_equal(unpack(p, n, &size), -EBADMSG);
		make_bzimage(p, EM_X86_64);
		put32(p, PAYLOAD_AT + length - 4, wrong[i]);
		assert_int_equal(unpack(p, n, &size), -EBADMSG);
	}
	make_bzimage(p, EM_AARCH64);
	assert_int_equal(unpack(p, n, &size), -EBADMSG);
	make_bzimage(p, EM_X86_64);
	p[0x206] = 7;
	assert_int_equal(unpack(p, n, &size), -EBADMSG);
	make_bzimage(p, EM_X86_64);
	memset(p + PAYLOAD_AT, 0xaa, length - 4);
	assert_int_equal(unpack(p, n, &size), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole), cmocka_unit_test(cut), cmocka_unit_test(lies)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
