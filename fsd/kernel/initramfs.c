#include <archive.h>
#include <archive_entry.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "banger/agent_proto.h"
#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "kernel/kernel.h"

#define GUEST_MAX (8u << 20)

/* A newc archive (Documentation/driver-api/early-userspace/buffer-format.rst) written to a descriptor. */
struct cpio {
	struct archive *archive;
	int failed;
};

static int cpio_open(struct cpio *c, int fd)
{
	c->failed = 0;
	c->archive = archive_write_new();
	if (!c->archive || archive_write_set_format_cpio_newc(c->archive) != ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(c->archive, 512) != ARCHIVE_OK ||
		archive_write_open_fd(c->archive, fd) != ARCHIVE_OK)
		c->failed = 1;
	return c->failed ? -ENOMEM : 0;
}

static void cpio_add(
	struct cpio *c, const char *path, mode_t mode, const void *data, size_t n, uint32_t uid, uint32_t gid)
{
	struct archive_entry *entry = archive_entry_new();

	if (!entry || c->failed) {
		c->failed = 1;
		archive_entry_free(entry);
		return;
	}
	archive_entry_set_pathname(entry, path);
	archive_entry_set_mode(entry, mode);
	archive_entry_set_uid(entry, uid);
	archive_entry_set_gid(entry, gid);
	archive_entry_set_nlink(entry, 1);
	archive_entry_set_size(entry, (int64_t)n);
	if (S_ISCHR(mode)) {
		archive_entry_set_rdevmajor(entry, 5);
		archive_entry_set_rdevminor(entry, 1);
	}
	if (archive_write_header(c->archive, entry) != ARCHIVE_OK ||
		(n > 0 && archive_write_data(c->archive, data, n) != (ssize_t)n))
		c->failed = 1;
	archive_entry_free(entry);
}

static int cpio_close(struct cpio *c)
{
	if (c->archive && archive_write_close(c->archive) != ARCHIVE_OK)
		c->failed = 1;
	archive_write_free(c->archive);
	return c->failed ? -EIO : 0;
}

static int add_modules(struct cpio *c, int dir_fd, struct err *e)
{
	int fd = openat(dir_fd, "modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		close_fd(fd);
		return err_sys(e, r, "modules");
	}
	while (r == 0 && (entry = readdir(dir))) {
		_cleanup_free_ char *data = NULL, *path = NULL;
		size_t n;

		if (entry->d_name[0] == '.')
			continue;
		r = io_read_file(dirfd(dir), entry->d_name, 64u << 20, &data, &n, e);
		if (r == 0 && asprintf(&path, "%s/%s", &GUEST_MODULES_PATH[1], entry->d_name) > 0)
			cpio_add(c, path, S_IFREG | 0644, data, n, 0, 0);
	}
	return r;
}

static int write_base(int dir_fd, const void *guest, size_t guest_size, int fd, struct err *e)
{
	struct cpio c;
	int r;

	if (cpio_open(&c, fd) < 0) {
		cpio_close(&c);
		return err_sys(e, -ENOMEM, "initramfs");
	}
	cpio_add(&c, "dev", S_IFDIR | 0755, NULL, 0, 0, 0);
	cpio_add(&c, "dev/console", S_IFCHR | 0600, NULL, 0, 0, 0);
	cpio_add(&c, "banger", S_IFDIR | 0755, NULL, 0, 0, 0);
	cpio_add(&c, &GUEST_MODULES_PATH[1], S_IFDIR | 0755, NULL, 0, 0, 0);
	cpio_add(&c, "init", S_IFREG | 0755, guest, guest_size, 0, 0);
	r = add_modules(&c, dir_fd, e);
	if (cpio_close(&c) < 0 && r == 0)
		r = err_set(e, -EIO, "initramfs: cannot be written");
	return r;
}

/* Whether the base was made with this very guest binary: it is kept beside it. */
static int is_current(int dir_fd, const void *guest, size_t n)
{
	_cleanup_free_ char *kept = NULL;
	struct stat st;
	size_t size;

	return fstatat(dir_fd, "initramfs", &st, 0) == 0 &&
	       io_read_file(dir_fd, "guest", GUEST_MAX, &kept, &size, NULL) == 0 && size == n &&
	       memcmp(kept, guest, n) == 0;
}

int kernel_initramfs_base(int dir_fd, int guest_fd, struct err *e)
{
	_cleanup_free_ char *path = NULL, *guest = NULL;
	_cleanup_close_ int fd = -EBADF;
	char temp[] =
		"initramfs.XXXXXX"; /* two starts at once make one each; the last rename wins, they are the same */
	size_t n;
	int r;

	if (asprintf(&path, "/proc/self/fd/%d", guest_fd) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "initramfs");
	}
	r = io_read_file(AT_FDCWD, path, GUEST_MAX, &guest, &n, e);
	if (r < 0 || is_current(dir_fd, guest, n))
		return r;
	snprintf(temp + strlen("initramfs."), 7, "%06u", (unsigned)(io_now_usec() % 1000000));
	fd = openat(dir_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "initramfs");
	r = write_base(dir_fd, guest, n, fd, e);
	if (r == 0 && (fsync(fd) < 0 || renameat(dir_fd, temp, dir_fd, "initramfs") < 0))
		r = err_sys(e, -errno, "initramfs");
	if (r == 0)
		r = io_replace_file(dir_fd, "guest", guest, n, 0600, e);
	if (r < 0)
		unlinkat(dir_fd, temp, 0);
	return r;
}

static void put_address(FILE *out, const char *key, uint32_t address)
{
	fprintf(out, "%s %u.%u.%u.%u\n", key, address >> 24, address >> 16 & 255, address >> 8 & 255,
		address & 255);
}

static void put_address6(FILE *out, const char *key, const uint8_t *address, const char *suffix)
{
	char text[INET6_ADDRSTRLEN];

	if (address)
		fprintf(out, "%s %s%s\n", key, inet_ntop(AF_INET6, address, text, sizeof(text)), suffix);
}

static void put_token(FILE *out, const uint8_t *token)
{
	fputs(GUEST_KEY_TOKEN " ", out);
	for (size_t i = 0; i < AGENT_TOKEN; i++)
		fprintf(out, "%02x", token[i]);
	fputs("\n", out);
}

static char *config_text(const struct guest_spec *spec, size_t *ret_n)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_n);

	if (!out)
		return NULL;
	fprintf(out, GUEST_KEY_CLOCK " %" PRIu64 "\n", io_wall_usec());
	if (spec->token)
		put_token(out, spec->token);
	if (spec->probe)
		fputs(GUEST_KEY_PROBE " 1\n", out);
	if (spec->root_disk)
		fputs(GUEST_KEY_ROOT " " GUEST_ROOT_DISK "\n", out);
	for (size_t i = 0; i < spec->disk_count; i++)
		fprintf(out, GUEST_KEY_DISK " %s\n", spec->disks[i]);
	if (spec->hostname)
		fprintf(out, GUEST_KEY_HOSTNAME " %s\n", spec->hostname);
	if (spec->address) {
		fprintf(out, GUEST_KEY_ADDRESS " %u.%u.%u.%u/%u\n", spec->address >> 24,
			spec->address >> 16 & 255, spec->address >> 8 & 255, spec->address & 255,
			spec->prefix);
		put_address(out, GUEST_KEY_GATEWAY, spec->gateway);
	}
	put_address6(out, GUEST_KEY_IP6, spec->ip6, "/64");
	put_address6(out, GUEST_KEY_GATEWAY6, spec->gateway6, "");
	for (size_t i = 0; i < spec->dns_count; i++)
		put_address(out, GUEST_KEY_DNS, spec->dns[i]);
	if (spec->ssh_key)
		fprintf(out, GUEST_KEY_SSH " %s\n", spec->ssh_key);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* The file, and the folders on the way to it (those of other files again: the kernel takes that as it is). */
static void add_file(struct cpio *c, const struct guest_file *f)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s", &GUEST_FILES_PATH[1], f->path) < 0) {
		path = NULL;
		c->failed = 1;
		return;
	}
	for (char *slash = strchr(path + strlen(GUEST_FILES_PATH), '/'); slash;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		cpio_add(c, path, S_IFDIR | 0755, NULL, 0, 0, 0);
		*slash = '/';
	}
	cpio_add(c, path, S_IFREG | (f->mode & 07777), f->data, f->size, f->uid, f->gid);
}

int kernel_initramfs_for(int dir_fd, const struct guest_spec *spec, int *ret_fd, struct err *e)
{
	_cleanup_close_ int base = openat(dir_fd, "initramfs", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = memfd_create("banger-initramfs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	struct cpio c;
	size_t n;

	if (base < 0 || fd < 0 || fstat(base, &st) < 0)
		return err_sys(e, -errno, "initramfs");
	for (off_t at = 0; at < st.st_size;)
		if (sendfile(fd, base, &at, (size_t)(st.st_size - at)) <= 0)
			return err_sys(e, errno ? -errno : -EIO, "initramfs");
	text = config_text(spec, &n);
	if (!text || cpio_open(&c, fd) < 0)
		return err_sys(e, -ENOMEM, "initramfs");
	cpio_add(&c, &GUEST_CONFIG_PATH[1], S_IFREG | 0600, text, n, 0, 0);
	if (spec->host_key) {
		cpio_add(&c, &GUEST_HOST_KEY_PATH[1], S_IFREG | 0600, spec->host_key, strlen(spec->host_key),
			0, 0);
		cpio_add(&c, &GUEST_HOST_KEY_PATH ".pub"[1], S_IFREG | 0644, spec->host_key_public,
			strlen(spec->host_key_public), 0, 0);
	}
	if (spec->file_count > 0)
		cpio_add(&c, &GUEST_FILES_PATH[1], S_IFDIR | 0755, NULL, 0, 0, 0);
	for (size_t i = 0; i < spec->file_count; i++)
		add_file(&c, &spec->files[i]);
	if (cpio_close(&c) < 0)
		return err_set(e, -EIO, "initramfs: cannot be written");
	if (fchmod(fd, 0444) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_sys(e, -errno, "initramfs");
	*ret_fd = TAKE_FD(fd);
	return 0;
}
