#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "guest.h"
#include "place.h"

static int open_inside(int root, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Writes NAME anew in the folder DIR: sibling, then rename, so that what stood there (a link, say) is never written through. */
static int write_name(
	int dir, const char *name, const void *data, size_t n, const struct stat *owner, struct err *e)
{
	_cleanup_free_ char *temp = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (asprintf(&temp, ".%s.banger", name) < 0) {
		temp = NULL;
		return err_sys(e, -ENOMEM, "%s", name);
	}
	unlinkat(dir, temp, 0);
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", temp);
	r = io_write_full(fd, data, n);
	if (r == 0 && (fchown(fd, owner->st_uid, owner->st_gid) < 0 ||
			      fchmod(fd, owner->st_mode & 07777) < 0 || renameat(dir, temp, dir, name) < 0))
		r = -errno;
	return r < 0 ? err_sys(e, r, "%s", name) : 0;
}

static void write_etc(int root, const char *name, const char *text)
{
	_cleanup_close_ int etc = open_inside(root, "etc", O_RDONLY | O_DIRECTORY);
	_cleanup_err_ struct err e = {0};
	struct stat owner = {.st_mode = 0644};

	if (etc < 0 && mkdirat(root, "etc", 0755) == 0)
		etc = open_inside(root, "etc", O_RDONLY | O_DIRECTORY);
	if (etc < 0 || write_name(etc, name, text, strlen(text), &owner, &e) < 0)
		guest_say("/etc/%s: %s", name, err_text(&e));
}

/* /etc/hosts keeps its lines but for those that name us. */
static void write_hosts(int root, const struct config *c)
{
	_cleanup_close_ int fd = open_inside(root, "etc/hosts", O_RDONLY);
	_cleanup_free_ char *old = NULL, *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	char path[32], ip6[INET6_ADDRSTRLEN];
	char *rest, *line;

	if (!out)
		return;
	fputs("127.0.0.1 localhost\n", out);
	if (c->network)
		fprintf(out, "%u.%u.%u.%u %s\n", c->address >> 24, c->address >> 16 & 255,
			c->address >> 8 & 255, c->address & 255, c->hostname);
	else
		fprintf(out, "127.0.1.1 %s\n", c->hostname);
	if (c->has_ip6)
		fprintf(out, "%s %s\n", inet_ntop(AF_INET6, &c->ip6, ip6, sizeof(ip6)), c->hostname);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && io_read_file(AT_FDCWD, path, 1 << 20, &old, NULL, NULL) == 0) {
		for (rest = old; (line = strsep(&rest, "\n"));)
			if (*line && strcmp(line, "127.0.0.1 localhost") != 0 && !strstr(line, c->hostname))
				fprintf(out, "%s\n", line);
	}
	if (fclose(out) == 0)
		write_etc(root, "hosts", text);
}

static void write_resolver(int root, const struct config *c)
{
	char text[CONFIG_DNS_MAX * 32 + 1] = "";
	size_t n = 0;

	if (c->dns_count == 0)
		return;
	for (unsigned i = 0; i < c->dns_count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "nameserver %u.%u.%u.%u\n", c->dns[i] >> 24,
			c->dns[i] >> 16 & 255, c->dns[i] >> 8 & 255, c->dns[i] & 255);
	write_etc(root, "resolv.conf", text);
}

/* A line more for root's authorized_keys, when it isn't there yet; those that are stay. */
static int write_ssh_key(int root, const char *key, struct err *e)
{
	struct stat owner = {.st_mode = 0600};
	_cleanup_free_ char *old = NULL, *text = NULL;
	_cleanup_close_ int home = open_inside(root, "root", O_RDONLY | O_DIRECTORY), dir = -EBADF;
	size_t n = 0, size = strlen(key);
	int r;

	if (home < 0)
		return err_sys(e, home, "/root");
	if (mkdirat(home, ".ssh", 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "/root/.ssh");
	dir = open_inside(root, "root/.ssh", O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return err_sys(e, dir, "/root/.ssh");
	/* What isn't a plain file is the guest's own arrangement, and reading it might never end. */
	if (fstatat(dir, "authorized_keys", &owner, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_sys(e, -errno, "authorized_keys");
	} else if (!S_ISREG(owner.st_mode)) {
		return err_set(e, -ELOOP, "authorized_keys is no plain file");
	} else if ((r = io_read_file(dir, "authorized_keys", 1 << 20, &old, &n, e)) < 0) {
		return r;
	}
	for (char *at = old; at && (at = strstr(at, key)); at++)
		if ((at == old || at[-1] == '\n') && (at[size] == '\n' || at[size] == '\0'))
			return 0;
	if (asprintf(&text, "%s%s%s\n", old ? old : "", n > 0 && old[n - 1] != '\n' ? "\n" : "", key) < 0) {
		text = NULL;
		return err_sys(e, -ENOMEM, "authorized_keys");
	}
	return write_name(dir, "authorized_keys", text, strlen(text), &owner, e);
}

/* Those that came with the image aren't this VM's: they go, and the one that was given comes. */
static int place_host_key(int root, struct err *e)
{
	static const char name[] = "ssh_host_ed25519_key", name_public[] = "ssh_host_ed25519_key.pub";
	struct stat private = {.st_mode = 0600}, public = {.st_mode = 0644};
	_cleanup_free_ char *key = NULL, *key_public = NULL;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	size_t n, n_public;
	int fd, r;

	if (access(GUEST_HOST_KEY_PATH, F_OK) < 0)
		return 0;
	fd = open_inside(root, "etc/ssh", O_RDONLY | O_DIRECTORY);
	if (fd == -ENOENT)
		return 0;
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return err_sys(e, fd < 0 ? fd : -errno, "/etc/ssh");
	if ((r = io_read_file(AT_FDCWD, GUEST_HOST_KEY_PATH, 65536, &key, &n, e)) < 0 ||
		(r = io_read_file(AT_FDCWD, GUEST_HOST_KEY_PATH ".pub", 65536, &key_public, &n_public, e)) <
			0)
		return r;
	while ((entry = readdir(dir)))
		if (strncmp(entry->d_name, "ssh_host_", strlen("ssh_host_")) == 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	r = write_name(dirfd(dir), name, key, n, &private, e);
	return r < 0 ? r : write_name(dirfd(dir), name_public, key_public, n_public, &public, e);
}

/* The files given, folder by folder: FROM below the initramfs, TO the same place in the new root. */
static int place_dir(int from, int root, const char *path, struct err *e)
{
	_cleanup_closedir_ DIR *dir = fdopendir(from);
	_cleanup_close_ int to = -EBADF;
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		close_fd(from);
		return err_sys(e, r, "%s", path);
	}
	to = open_inside(root, *path ? path : "/", O_RDONLY | O_DIRECTORY);
	if (to < 0)
		return err_sys(e, to, "%s", path);
	while (r == 0 && (entry = readdir(dir))) {
		_cleanup_free_ char *below = NULL, *data = NULL;
		struct stat st;
		size_t n;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			asprintf(&below, "%s/%s", path, entry->d_name) < 0)
			return err_sys(e, -errno, "%s/%s", path, entry->d_name);
		if (S_ISDIR(st.st_mode)) {
			int sub;

			if (mkdirat(to, entry->d_name, st.st_mode & 07777) == 0)
				(void)!fchownat(to, entry->d_name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
			sub = openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			r = sub < 0 ? err_sys(e, -errno, "%s", below) : place_dir(sub, root, below, e);
		} else if (S_ISREG(st.st_mode)) {
			r = io_read_file(dirfd(dir), entry->d_name, 64u << 20, &data, &n, e);
			if (r == 0)
				r = write_name(to, entry->d_name, data, n, &st, e);
		}
	}
	return r;
}

int place_all(const char *root_path, const struct config *c, struct err *e)
{
	_cleanup_close_ int root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_err_ struct err key = {0};
	_cleanup_free_ char *name = NULL;
	int files;

	if (root < 0)
		return err_sys(e, -errno, "%s", root_path);
	if (sethostname(c->hostname, strlen(c->hostname)) < 0)
		guest_say("host name: %s", strerror(errno));
	if (asprintf(&name, "%s\n", c->hostname) > 0)
		write_etc(root, "hostname", name);
	write_hosts(root, c);
	write_resolver(root, c);
	if (c->ssh_key && write_ssh_key(root, c->ssh_key, &key) < 0)
		guest_say("ssh key: %s", err_text(&key));
	err_clear(&key);
	if (place_host_key(root, &key) < 0)
		guest_say("ssh host key: %s", err_text(&key));
	files = open(GUEST_FILES_PATH, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return files < 0 ? 0 : place_dir(files, root, "", e);
}
