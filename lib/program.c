#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/program.h"

/* The one to take first; Debian, Fedora and Arch; RHEL. */
static const char *const qemu[] = {"/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm"};

static int check_owner(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return err_set(e, -EPERM,
			"%s: refused, because others than root could change it (owner %u, mode %04o)", path,
			st.st_uid, st.st_mode & 07777);
	return 0;
}

int program_open(const char *path, int *ret_fd, struct err *e)
{
	/* Links of the system's own (/bin -> usr/bin) are resolved first; what they lead to is then walked without any. */
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	char *rest, *name;
	int r;

	if (!real)
		return err_sys(e, -errno, "%s", path);
	fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	rest = real + 1;
	while ((name = strsep(&rest, "/"))) {
		int next;

		r = check_owner(fd, path, e);
		if (r < 0)
			return r;
		next = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_sys(e, -errno, "%s", path);
		close_fd(fd);
		fd = next;
	}
	r = check_owner(fd, path, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IXOTH))
		return err_set(e, -EPERM, "%s: not a program that all may run", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int program_open_qemu(const char **ret_path, int *ret_fd, struct err *e)
{
	for (size_t i = 0; i < ELEMENTSOF(qemu); i++) {
		_cleanup_err_ struct err mine = {0};
		int r = program_open(qemu[i], ret_fd, &mine);

		if (r == -ENOENT)
			continue;
		if (ret_path)
			*ret_path = qemu[i];
		return r < 0 ? err_move(e, &mine) : 0;
	}
	return err_set(e, -ENOENT, "%s is not there: apt install qemu-system-x86", qemu[0]);
}

int program_open_firecracker(const char *name, char **ret_path, int *ret_fd, struct err *e)
{
	const char *only = getenv("BANGER_FIRECRACKER_DIR");
	const char *const places[] = {
		only && *only ? only : "/usr/bin", only && *only ? NULL : "/usr/local/bin"};

	for (size_t i = 0; i < ELEMENTSOF(places) && places[i]; i++) {
		_cleanup_err_ struct err mine = {0};
		_cleanup_free_ char *path = NULL;
		int r;

		if (asprintf(&path, "%s/%s", places[i], name) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "%s", name);
		}
		r = program_open(path, ret_fd, &mine);
		if (r == -ENOENT)
			continue;
		if (ret_path)
			*ret_path = TAKE_PTR(path);
		return r < 0 ? err_move(e, &mine) : 0;
	}
	return err_set(e, -ENOENT,
		"there is no %s in %s%s: take both, firecracker and jailer, from a release of Firecracker",
		name, places[0], places[1] ? " or /usr/local/bin" : "");
}

bool program_needs_loader(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr head;
	Elf64_Phdr one;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
		memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
		head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_phentsize != sizeof(one) ||
		head.e_phoff > INT64_MAX - UINT16_MAX * sizeof(one))
		return false;
	for (size_t i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)(head.e_phoff + i * sizeof(one));

		if (pread(fd, &one, sizeof(one), at) != sizeof(one))
			return false;
		if (one.p_type == PT_INTERP)
			return true;
	}
	return false;
}
