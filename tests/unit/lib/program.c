/* Whether a program needs a loader: the system's own, and ELF headers that aren't right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/program.h"

struct file {
	Elf64_Ehdr head;
	Elf64_Phdr parts[2];
};

static struct file file(uint32_t first, uint32_t second)
{
	struct file f = {.head = {.e_phoff = sizeof(f.head), .e_phentsize = sizeof(f.parts[0]), .e_phnum = 2},
		.parts = {{.p_type = first}, {.p_type = second}}};

	memcpy(f.head.e_ident, ELFMAG, SELFMAG);
	f.head.e_ident[EI_CLASS] = ELFCLASS64;
	f.head.e_ident[EI_DATA] = ELFDATA2LSB;
	return f;
}

/* The first N bytes of F. */
static bool needs(struct file f, size_t n)
{
	_cleanup_close_ int fd = memfd_create("program", MFD_CLOEXEC);
	_cleanup_free_ char *path = NULL;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &f, n), n);
	if (asprintf(&path, "/proc/self/fd/%d", fd) < 0)
		path = NULL;
	assert_non_null(path);
	return program_needs_loader(path);
}

static void systems_own(void **state)
{
	(void)state;
	/* This test has shared libraries. */
	assert_true(program_needs_loader("/proc/self/exe"));
	assert_false(program_needs_loader("/etc/passwd"));
	assert_false(program_needs_loader("/"));
	assert_false(program_needs_loader("/dev/null"));
	assert_false(program_needs_loader("/nonexistent"));
}

static void headers(void **state)
{
	struct file f = file(PT_LOAD, PT_INTERP);

	(void)state;
	assert_true(needs(f, sizeof(f)));
	assert_true(needs(file(PT_INTERP, PT_LOAD), sizeof(f)));
	assert_false(needs(file(PT_LOAD, PT_DYNAMIC), sizeof(f)));
	for (size_t n = 0; n < sizeof(f); n++)
		assert_false(needs(f, n));
	f.head.e_phnum = 1;
	assert_false(needs(f, sizeof(f)));
	f.head.e_phnum = UINT16_MAX;
	assert_true(needs(f, sizeof(f)));
	f.parts[1].p_type = PT_LOAD;
	assert_false(needs(f, sizeof(f)));
	f = file(PT_INTERP, PT_INTERP);
	f.head.e_phoff = UINT64_MAX - sizeof(f.parts[0]);
	assert_false(needs(f, sizeof(f)));
	f.head.e_phoff = INT64_MAX - sizeof(f.parts[0]);
	assert_false(needs(f, sizeof(f)));
	f.head.e_phoff = sizeof(f);
	assert_false(needs(f, sizeof(f)));
	f = file(PT_INTERP, PT_INTERP);
	f.head.e_phentsize = sizeof(f.parts[0]) + 1;
	assert_false(needs(f, sizeof(f)));
	f = file(PT_INTERP, PT_INTERP);
	f.head.e_ident[EI_CLASS] = ELFCLASS32;
	assert_false(needs(f, sizeof(f)));
	f = file(PT_INTERP, PT_INTERP);
	f.head.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_false(needs(f, sizeof(f)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(systems_own), cmocka_unit_test(headers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
