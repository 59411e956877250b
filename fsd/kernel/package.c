/* Kernels out of Debian packages, and out of folders. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "banger/proc.h"
#include "kernel/kernel.h"
#include "kernel/module.h"

#define KERNEL_MAX  (256u << 20)
#define MODULE_MAX  (64u << 20)
#define MODULES_MAX 20000
#define DEB_MAX     (2ull << 30)

/* What is found in a package or a folder, before it is put in its place. */
struct found {
	struct op *op;
	struct modules *modules;
	unsigned module_count;
	char *version; /* of lib/modules/VERSION */
	char *builtin;
	void *image; /* vmlinuz or vmlinux */
	size_t image_size;
};

static void found_clear(struct found *f)
{
	modules_free(f->modules);
	free(f->version);
	free(f->builtin);
	free(f->image);
}

/* Drivers that guests may want and what those may depend on: the rest of a package's modules isn't kept in memory. */
static int may_be_wanted(const char *path)
{
	static const char *const parts[] = {"/drivers/virtio/", "/drivers/block/", "/drivers/net/",
		"/drivers/char/", "/fs/overlayfs/", "/drivers/misc/pvpanic", "/drivers/acpi/",
		"/drivers/input/", "/net/vmw_vsock/", "/net/core/", "/arch/x86/crypto/", "/crypto/", "/lib/"};

	for (size_t i = 0; i < ELEMENTSOF(parts); i++)
		if (strstr(path, parts[i]))
			return 1;
	return 0;
}

/* Unpacks a .ko.xz or .ko.zst. */
static int unpack_module(void **data, size_t *n, struct err *e)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	char *out = malloc(MODULE_MAX);
	ssize_t k, have = 0;
	int r = -EBADMSG;

	if (!a || !out) {
		archive_read_free(a);
		free(out);
		return err_sys(e, -ENOMEM, "module");
	}
	archive_read_support_filter_all(a);
	archive_read_support_format_raw(a);
	if (archive_read_open_memory(a, *data, *n) == ARCHIVE_OK &&
		archive_read_next_header(a, &entry) == ARCHIVE_OK) {
		while ((k = archive_read_data(a, out + have, MODULE_MAX - (size_t)have)) > 0)
			have += k;
		r = k < 0 || have == MODULE_MAX ? -EBADMSG : 0;
	}
	archive_read_free(a);
	if (r < 0) {
		free(out);
		return err_set(e, r, "a module cannot be unpacked");
	}
	free(*data);
	*data = realloc(out, (size_t)have);
	*n = (size_t)have;
	return 0;
}

/* Takes DATA, a file named PATH in the package. */
static int take_file(struct found *f, const char *path, void *data, size_t n, struct err *e)
{
	const char *modules = strstr(path, "lib/modules/"), *base = strrchr(path, '/');
	int r;

	base = base ? base + 1 : path;
	if (modules && !f->version) {
		const char *version = modules + strlen("lib/modules/");
		_cleanup_free_ char *copy = strndup(version, strcspn(version, "/"));

		if (copy && name_object_valid(copy))
			f->version = TAKE_PTR(copy);
	}
	if (modules && strstr(base, ".ko")) {
		if (!strcmp(base + strlen(base) - 3, ".ko") || (r = unpack_module(&data, &n, e)) == 0)
			return modules_add(f->modules, path, data, n, e);
		free(data);
		return r;
	}
	if (modules && strcmp(base, "modules.builtin") == 0) {
		free(f->builtin);
		f->builtin = data;
		return 0;
	}
	if (strncmp(base, "vmlinuz", 7) == 0 || strncmp(base, "vmlinux", 7) == 0) {
		free(f->image);
		f->image = data;
		f->image_size = n;
		return 0;
	}
	free(data);
	return 0;
}

static int is_interesting(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (strstr(path, "lib/modules/"))
		return strcmp(base, "modules.builtin") == 0 || (strstr(base, ".ko") && may_be_wanted(path));
	return strncmp(base, "vmlinuz", 7) == 0 || strncmp(base, "vmlinux", 7) == 0;
}

static int read_entry(struct archive *a, struct archive_entry *entry, struct found *f, struct err *e)
{
	int64_t size = archive_entry_size(entry);
	const char *path = archive_entry_pathname(entry);
	size_t max = strstr(path, ".ko") ? MODULE_MAX : KERNEL_MAX;
	char *data;

	if (size < 0 || (uint64_t)size > max || ++f->module_count > MODULES_MAX)
		return err_set(e, -EFBIG, "%s: too large", path);
	data = malloc((size_t)size + 1);
	if (!data)
		return err_sys(e, -ENOMEM, "%s", path);
	if (archive_read_data(a, data, (size_t)size) != size) {
		free(data);
		return err_set(e, -EBADMSG, "%s: cut off", path);
	}
	data[size] = '\0';
	return take_file(f, path, data, (size_t)size, e);
}

/* The inner archive of a package is read through the outer one. */
struct inner {
	struct archive *outer;
	char buf[65536];
};

static ssize_t read_inner(struct archive *a, void *user, const void **ret)
{
	struct inner *in = user;
	ssize_t n = archive_read_data(in->outer, in->buf, sizeof(in->buf));

	if (n < 0)
		archive_set_error(a, EIO, "%s", archive_error_string(in->outer));
	*ret = in->buf;
	return n;
}

static int read_tar(struct archive *outer, struct found *f, struct err *e)
{
	struct inner *in = malloc(sizeof(*in));
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int r = 0, k = ARCHIVE_EOF;

	if (!in || !a) {
		free(in);
		archive_read_free(a);
		return err_sys(e, -ENOMEM, "package");
	}
	in->outer = outer;
	archive_read_support_filter_all(a);
	archive_read_support_format_tar(a);
	if (archive_read_open(a, in, NULL, read_inner, NULL) != ARCHIVE_OK)
		r = err_set(e, -EBADMSG, "package: %s", archive_error_string(a));
	while (r == 0 && ((k = archive_read_next_header(a, &entry)) == ARCHIVE_OK || k == ARCHIVE_WARN)) {
		const char *path = archive_entry_pathname(entry);

		r = op_check(f->op, e);
		if (r == 0 && path && archive_entry_filetype(entry) == AE_IFREG && is_interesting(path))
			r = read_entry(a, entry, f, e);
	}
	if (r == 0 && k != ARCHIVE_EOF)
		r = err_set(e, -EBADMSG, "package: %s", archive_error_string(a));
	archive_read_free(a);
	free(in);
	return r;
}

/* A .deb is an ar archive with data.tar.* in it (deb(5)). */
static int read_package(int fd, struct found *f, struct err *e)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int r = -ENOENT;

	if (!a)
		return err_sys(e, -ENOMEM, "package");
	archive_read_support_format_ar(a);
	if (archive_read_open_fd(a, fd, 65536) != ARCHIVE_OK)
		r = err_set(e, -EBADMSG, "not a Debian package: %s", archive_error_string(a));
	while (r == -ENOENT && archive_read_next_header(a, &entry) == ARCHIVE_OK) {
		const char *path = archive_entry_pathname(entry);

		if (path && strncmp(path, "data.tar", 8) == 0)
			r = read_tar(a, f, e);
	}
	archive_read_free(a);
	return r == -ENOENT ? err_set(e, -EBADMSG, "not a Debian package with a kernel") : r;
}

/* A folder, walked without following links, no deeper than modules lie. */
static int read_folder(int fd, const char *path, unsigned depth, struct found *f, struct err *e)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		close_fd(fd);
		return err_sys(e, r, "%s", path);
	}
	while (r == 0 && (entry = readdir(dir))) {
		_cleanup_free_ char *below = NULL, *data = NULL;
		struct stat st;
		size_t n;

		if (entry->d_name[0] == '.' ||
			fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (asprintf(&below, "%s/%s", path, entry->d_name) < 0) {
			below = NULL;
			return err_sys(e, -ENOMEM, "%s", path);
		}
		r = op_check(f->op, e);
		if (r == 0 && S_ISDIR(st.st_mode) && depth < 12) {
			int sub = openat(
				dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			r = sub < 0 ? err_sys(e, -errno, "%s", below)
				    : read_folder(sub, below, depth + 1, f, e);
		} else if (r == 0 && S_ISREG(st.st_mode) && is_interesting(below)) {
			r = io_read_file(dirfd(dir), entry->d_name,
				strstr(below, ".ko") ? MODULE_MAX : KERNEL_MAX, &data, &n, e);
			if (r == 0)
				r = take_file(f, below, TAKE_PTR(data), n, e);
		}
	}
	return r;
}

struct install {
	int modules_fd;
	unsigned next;
	uint64_t size;
};

static int install_module(void *user, const char *name, const void *data, size_t n, struct err *e)
{
	struct install *in = user;
	_cleanup_free_ char *file = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (asprintf(&file, "%02u-%s.ko", in->next++, name) < 0) {
		file = NULL;
		return err_sys(e, -ENOMEM, "%s", name);
	}
	fd = openat(in->modules_fd, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : io_write_full(fd, data, n);
	in->size += n;
	return r < 0 ? err_sys(e, r, "%s", file) : 0;
}

static void digest_text(const void *data, size_t n, char ret[72])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	EVP_Digest(data, n, sum, &size, EVP_sha256(), NULL);
	memcpy(ret, "sha256:", 8);
	for (unsigned i = 0; i < size && i < 32; i++)
		snprintf(ret + 7 + 2 * i, 3, "%02x", sum[i]);
}

/* What was found, put into the kernel's folder. */
static int install(int dir_fd, struct found *f, struct kernel_result *ret, struct err *e)
{
	struct install in = {.modules_fd = -EBADF};
	_cleanup_close_ int image = -EBADF;
	struct stat st;
	int r;

	if (!f->image)
		return err_set(e, -ENOENT, "there is no vmlinuz in it");
	if (!f->version)
		return err_set(e, -ENOENT, "there is no lib/modules/VERSION in it");
	op_stage(f->op, "unpack the kernel");
	image = openat(dir_fd, "vmlinux", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (image < 0)
		return err_sys(e, -errno, "vmlinux");
	r = kernel_vmlinux(f->image, f->image_size, image, e);
	if (r < 0)
		return r;
	/* Of another user when a VMM opens it, by the descriptor that it was given. */
	if (fchmod(image, 0444) < 0 || fstat(image, &st) < 0 || fsync(image) < 0)
		return err_sys(e, -errno, "vmlinux");
	in.size = (uint64_t)st.st_size;
	if (mkdirat(dir_fd, "modules", 0700) < 0)
		return err_sys(e, -errno, "modules");
	in.modules_fd = openat(dir_fd, "modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in.modules_fd < 0)
		return err_sys(e, -errno, "modules");
	r = modules_each_wanted(f->modules, f->builtin, install_module, &in, e);
	if (r == 0 && fsync(in.modules_fd) < 0)
		r = err_sys(e, -errno, "modules");
	close_fd(in.modules_fd);
	if (r == 0)
		r = io_replace_file(dir_fd, "version", f->version, strlen(f->version), 0600, e);
	if (r < 0)
		return r;
	digest_text(f->image, f->image_size, ret->digest);
	ret->size = in.size;
	ret->version = TAKE_PTR(f->version);
	return 0;
}

bool kernel_has_vsock(int dir_fd)
{
	static const char file[] = "-" MODULE_VSOCK ".ko";
	int fd = openat(dir_fd, "modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool found = false;

	if (!dir)
		close_fd(fd);
	while (!found && dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		found = n >= strlen(file) && strcmp(entry->d_name + n - strlen(file), file) == 0;
	}
	return found;
}

int kernel_import(int dir_fd, const char *path, struct op *op, struct kernel_result *ret, struct err *e)
{
	_cleanup_(found_clear) struct found f = {.op = op};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int r;

	op_stage(op, "read");
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	r = modules_new(&f.modules, e);
	if (r < 0)
		return r;
	if (S_ISDIR(st.st_mode))
		r = read_folder(TAKE_FD(fd), path, 0, &f, e);
	else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size <= DEB_MAX)
		r = read_package(fd, &f, e);
	else
		r = err_set(e, -EINVAL, "neither a package nor a folder");
	if (r == 0)
		r = install(dir_fd, &f, ret, e);
	if (r < 0)
		err_wrap(e, "%s", path);
	return r;
}

#if defined(__x86_64__)
#define DEBIAN_ARCH "amd64"
#else
#define DEBIAN_ARCH "arm64"
#endif

/* A package name as dpkg has them (deb-control(5)): nothing else is handed to apt. */
static int package_valid(const char *s)
{
	return *s >= 'a' && *s <= 'z' && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+.-") == strlen(s) &&
	       strlen(s) < 128;
}

/* apt with the host's own configuration; with LISTS, package lists of its own below the kernel's folder. */
static int apt(int dir_fd, struct op *op, int lists, const char *tool, const char *const *words,
	char **ret_output, struct err *e)
{
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
		"DEBIAN_FRONTEND=noninteractive", "HOME=/nonexistent", NULL};
	const char *argv[24] = {tool, "-q", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2"};
	struct proc_spec spec = PROC_SPEC_INIT;
	char state[64], cache[64];
	size_t n = 6;

	if (lists) {
		/* apt takes a path that doesn't begin at the root as one below it. */
		snprintf(state, sizeof(state), "Dir::State=/proc/%d/fd/%d/apt", (int)getpid(), dir_fd);
		snprintf(cache, sizeof(cache), "Dir::Cache=/proc/%d/fd/%d/apt", (int)getpid(), dir_fd);
		const char *const own[] = {
			"-o", state, "-o", "Dir::State::status=/var/lib/dpkg/status", "-o", cache};

		for (size_t i = 0; i < ELEMENTSOF(own); i++)
			argv[n++] = own[i];
	}
	for (size_t i = 0; words[i] && n < ELEMENTSOF(argv) - 1; i++)
		argv[n++] = words[i];
	spec.argv = argv;
	spec.env = env;
	spec.dir_fd = dir_fd;
	spec.cancel_fd = op_cancel_fd(op);
	spec.timeout_msec = 600000;
	return proc_run(&spec, ret_output, NULL, NULL, e);
}

/* The package that the cloud kernel's meta package stands for. */
static int resolve(int dir_fd, struct op *op, int lists, char **ret, struct err *e)
{
	static const char *const words[] = {"depends", "--important", "linux-image-cloud-" DEBIAN_ARCH, NULL};
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = apt(dir_fd, op, lists, "apt-cache", words, &text, e);

	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *at = strstr(line, "Depends: ");

		if (!at)
			continue;
		at += strlen("Depends: ");
		at[strcspn(at, " \t")] = '\0';
		if (strncmp(at, "linux-image-", 12) == 0 && package_valid(at)) {
			*ret = strdup(at);
			return *ret ? 0 : err_sys(e, -ENOMEM, "kernel");
		}
	}
	return err_set(e, -ENOENT, "apt knows no linux-image-cloud-" DEBIAN_ARCH);
}

static int download(int dir_fd, struct op *op, int lists, const char *package, struct err *e)
{
	_cleanup_free_ char *resolved = NULL;
	int r;

	if (!package) {
		r = resolve(dir_fd, op, lists, &resolved, e);
		if (r < 0)
			return r;
		package = resolved;
	}
	op_stage(op, "download");
	/* Checked by apt against the index that the archive has signed. */
	return apt(dir_fd, op, lists, "apt-get", (const char *const[]){"download", package, NULL}, NULL, e);
}

static int make_lists(int dir_fd, struct op *op, struct err *e)
{
	static const char *const dirs[] = {
		"apt", "apt/lists", "apt/lists/partial", "apt/archives", "apt/archives/partial"};

	op_stage(op, "package lists");
	for (size_t i = 0; i < ELEMENTSOF(dirs); i++)
		if (mkdirat(dir_fd, dirs[i], 0700) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "%s", dirs[i]);
	return apt(dir_fd, op, 1, "apt-get", (const char *const[]){"update", NULL}, NULL, e);
}

static void remove_below(int dir_fd, const char *name, unsigned depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && depth < 8 && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			remove_below(dirfd(dir), entry->d_name, depth + 1);
	}
	unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* The one .deb in the folder. */
static int find_deb(int dir_fd, char **ret, struct err *e)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		if (n > 4 && strcmp(entry->d_name + n - 4, ".deb") == 0) {
			*ret = strdup(entry->d_name);
			return *ret ? 0 : err_sys(e, -ENOMEM, "package");
		}
	}
	return err_set(e, -ENOENT, "apt downloaded nothing");
}

int kernel_pull(int dir_fd, const char *package, struct op *op, struct kernel_result *ret, struct err *e)
{
	_cleanup_free_ char *deb = NULL, *path = NULL;
	_cleanup_err_ struct err first = {0};
	int r;

	if (package && !package_valid(package))
		return err_set(e, -EINVAL, "'%s' is no package name", package);
	op_stage(op, "find the package");
	r = download(dir_fd, op, 0, package, &first);
	if (r < 0 && r != -EINTR) {
		/* The host's lists may be missing or old: lists of our own, then once more. */
		r = make_lists(dir_fd, op, e);
		if (r == 0)
			r = download(dir_fd, op, 1, package, e);
		remove_below(dir_fd, "apt", 0);
		if (r < 0 && r != -EINTR) {
			err_join(e,
				"give banger a kernel's package by hand: banger kernel import PATH.deb, or "
				"mend apt: apt-get update (first it said: %s)",
				err_text(&first));
			return r;
		}
	} else if (r < 0) {
		return err_move(e, &first);
	}
	if (r < 0)
		return r;
	r = find_deb(dir_fd, &deb, e);
	if (r == 0 && asprintf(&path, "/proc/self/fd/%d/%s", dir_fd, deb) < 0) {
		path = NULL;
		r = err_sys(e, -ENOMEM, "package");
	}
	if (r == 0)
		r = kernel_import(dir_fd, path, op, ret, e);
	if (deb)
		unlinkat(dir_fd, deb, 0);
	return r;
}
