/* The handshake and the calls on files, against the guest's own agent on a socket. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/files.h"
#include "guest/hello.h"

#define PATIENCE 20000000 /* usec */

struct bench {
	char dir[32];
	sd_event *event;
	struct agent *agent;
	pid_t pid;
	int answers, code;
	struct agent_attr attr;
	_Alignas(8) uint8_t data[AGENT_PAYLOAD_MAX];
	size_t n;
	uint64_t number;
	struct files_statfs st;
};

static void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	(void)why;
	b->agent = agent_free(b->agent);
}

static int guest_path(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 64);

	if (n <= 0)
		return -ENOENT;
	path[n] = '\0';
	for (int i = 0; i < 3; i++) {
		char *slash = strrchr(path, '/');

		if (!slash)
			return -ENOENT;
		*slash = '\0';
	}
	memcpy(path + strlen(path), "/bin/banger-guest", sizeof("/bin/banger-guest"));
	return 0;
}

/* Noise before the agent's answer, as an earlier connection would leave it. */
static int setup_with(void **state, size_t noise)
{
	struct bench *b = calloc(1, sizeof(*b));
	char path[4096], boot_id[40], *garbage = calloc(1, noise + 1);
	int fds[2];

	assert_non_null(b);
	assert_int_equal(guest_path(path, sizeof(path)), 0);
	memcpy(b->dir, "/tmp/banger-files-XXXXXX", sizeof("/tmp/banger-files-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (size_t i = 0; i < noise; i++)
		garbage[i] = (char)(i * 31);
	if (noise > 0)
		memcpy(garbage + noise / 2, "\x40\0\0\0\1\0\0\0\0\0\0\0", 12);
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0) {
		if (io_write_full(fds[1], garbage, noise) < 0)
			_exit(126);
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
		dup2(fds[1], 3);
		fcntl(3, F_SETFD, 0);
		execl(path, "banger-guest", "agent", "--fd", "3", "--root", b->dir, "--tree", "/", NULL);
		_exit(127);
	}
	free(garbage);
	close_fd(fds[1]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(agent_hello(fds[0], 20000, -1, -1, boot_id, NULL), 0);
	assert_int_equal(strlen(boot_id), 36);
	assert_int_equal(agent_new(b->event, fds[0], on_lost, b, &b->agent, NULL), 0);
	*state = b;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, 0);
}

static int setup_noisy(void **state)
{
	return setup_with(state, 900000);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct bench *b = *state;
	int status;

	agent_free(b->agent);
	for (int i = 0; i < 500 && waitpid(b->pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	assert_int_equal(waitpid(b->pid, &status, WNOHANG), -1);
	assert_int_equal(nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	sd_event_unref(b->event);
	free(b);
	return 0;
}

static void wait_answer(struct bench *b)
{
	uint64_t end = io_now_usec() + PATIENCE;
	int want = b->answers + 1;

	while (b->answers < want && io_now_usec() < end)
		sd_event_run(b->event, 100000);
	assert_int_equal(b->answers, want);
}

static void on_attr(void *user, int code, const struct agent_attr *attr)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	if (attr)
		b->attr = *attr;
}

static void on_done(void *user, int code)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
}

static void on_data(void *user, int code, const void *data, size_t n)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	b->n = n;
	if (n > 0)
		memcpy(b->data, data, n);
}

static void on_count(void *user, int code, uint32_t n)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	b->number = n;
}

static void on_offset(void *user, int code, uint64_t n)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	b->number = n;
}

static void on_statfs(void *user, int code, const struct files_statfs *st)
{
	struct bench *b = user;

	b->answers++;
	b->code = code;
	if (st)
		b->st = *st;
}

#define CALL(b, call)                                                                                        \
	({                                                                                                   \
		assert_int_equal(call, 0);                                                                   \
		wait_answer(b);                                                                              \
		(b)->code;                                                                                   \
	})

static const struct file_ref root;
static const struct files_owner owner;

static struct file_ref ref(const struct agent_attr *attr)
{
	return (struct file_ref){attr->ino, 1 + (attr->generation & 0xff)};
}

/* Files are named by handles as ext4 has them. */
static void need_handles(struct bench *b)
{
	if (CALL(b, files_getattr(b->agent, root, on_attr, b, NULL)) == -EOPNOTSUPP) {
		print_message("# /tmp is not ext4\n");
		skip();
	}
	assert_int_equal(b->code, 0);
	assert_true(S_ISDIR(b->attr.mode));
}

static void whole_life_of_a_file(void **state)
{
	struct bench *b = *state;
	struct agent *a;
	struct file_ref f;
	_cleanup_free_ uint8_t *big = malloc(FILES_IO_MAX);

	need_handles(b);
	a = b->agent;
	for (size_t i = 0; i < FILES_IO_MAX; i++)
		big[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(
		CALL(b, files_create(a, root, "f", O_RDWR | O_EXCL, 0640, owner, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.mode, S_IFREG | 0640);
	f = ref(&b->attr);
	assert_int_equal(
		CALL(b, files_create(a, root, "f", O_RDWR | O_EXCL, 0640, owner, on_attr, b, NULL)), -EEXIST);
	assert_int_equal(files_write(a, f, 0, big, FILES_IO_MAX + 1, false, on_count, b, NULL), -EMSGSIZE);
	assert_int_equal(CALL(b, files_write(a, f, 0, big, FILES_IO_MAX, false, on_count, b, NULL)), 0);
	assert_int_equal(b->number, FILES_IO_MAX);
	assert_int_equal(CALL(b, files_write(a, f, 0, "end", 3, true, on_count, b, NULL)), 0);
	assert_int_equal(CALL(b, files_getattr(a, f, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.size, FILES_IO_MAX + 3);
	assert_int_equal(CALL(b, files_read(a, f, 0, FILES_IO_MAX, on_data, b, NULL)), 0);
	assert_int_equal(b->n, FILES_IO_MAX);
	assert_memory_equal(b->data, big, FILES_IO_MAX);
	assert_int_equal(CALL(b, files_read(a, f, FILES_IO_MAX, 100, on_data, b, NULL)), 0);
	assert_int_equal(b->n, 3);
	assert_int_equal(files_read(a, f, 0, FILES_IO_MAX + 1, on_data, b, NULL), -EMSGSIZE);
	assert_int_equal(CALL(b, files_fsync(a, f, false, on_done, b, NULL)), 0);
	/* Pinned, it outlives its name. */
	assert_int_equal(CALL(b, files_unlink(a, root, "f", on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_read(a, f, 0, 10, on_data, b, NULL)), 0);
	assert_int_equal(b->n, 10);
	assert_int_equal(CALL(b, files_release(a, f, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_getattr(a, f, on_attr, b, NULL)), -ESTALE);
}

static void names_and_folders(void **state)
{
	struct bench *b = *state;
	struct agent *a;
	struct file_ref dir;
	char name[300];
	unsigned seen = 0;
	uint64_t cookie = 0;

	need_handles(b);
	a = b->agent;
	memset(name, 'x', sizeof(name));
	name[299] = '\0';
	assert_int_equal(files_lookup(a, root, name, on_attr, b, NULL), -ENAMETOOLONG);
	name[255] = '\0';
	assert_int_equal(CALL(b, files_mkdir(a, root, name, 0755, owner, on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_lookup(a, root, "..", on_attr, b, NULL)), -EINVAL);
	assert_int_equal(CALL(b, files_lookup(a, root, "a/b", on_attr, b, NULL)), -EINVAL);
	assert_int_equal(CALL(b, files_lookup(a, root, "", on_attr, b, NULL)), -EINVAL);
	assert_int_equal(CALL(b, files_lookup(a, root, "none", on_attr, b, NULL)), -ENOENT);
	assert_int_equal(CALL(b, files_mkdir(a, root, "d", 0700, owner, on_attr, b, NULL)), 0);
	dir = ref(&b->attr);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "entry-%d", i);
		assert_int_equal(
			CALL(b, files_mknod(a, dir, name, S_IFREG | 0600, 0, owner, on_attr, b, NULL)), 0);
	}
	for (unsigned turn = 0;; turn++) {
		struct files_dirent d;
		const void *p = b->data;
		bool plus = turn % 2;
		int r;

		assert_int_equal(CALL(b, files_readdir(a, dir, cookie, 4096, plus, on_data, b, NULL)), 0);
		if (b->n == 0)
			break;
		while ((r = files_dirent_next(&p, &b->n, plus, &d)) > 0) {
			assert_memory_equal(d.name, "entry-", 6);
			assert_true(!plus || (S_ISREG(d.attr.mode) && d.attr.ino == d.file.ino));
			cookie = d.next;
			seen++;
		}
		assert_int_equal(r, 0);
	}
	assert_int_equal(seen, 300);
	assert_int_equal(CALL(b, files_rmdir(a, root, "d", on_done, b, NULL)), -ENOTEMPTY);
	assert_int_equal(CALL(b, files_rename(a, dir, "entry-7", root, "moved", 0, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_lookup(a, root, "moved", on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_link(a, ref(&b->attr), root, "linked", on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.nlink, 2);
	assert_int_equal(
		CALL(b, files_symlink(a, root, "s", "../../etc/passwd", owner, on_attr, b, NULL)), 0);
	assert_true(S_ISLNK(b->attr.mode));
	assert_int_equal(CALL(b, files_readlink(a, ref(&b->attr), on_data, b, NULL)), 0);
	assert_int_equal(b->n, 16);
	assert_memory_equal(b->data, "../../etc/passwd", 16);
}

static void settings_of_a_file(void **state)
{
	struct bench *b = *state;
	struct agent *a;
	struct file_ref f;
	struct files_change change = {
		.valid = AGENT_SET_MODE | AGENT_SET_SIZE | AGENT_SET_MTIME | AGENT_SET_ATIME,
		.mode = 0751,
		.size = 1 << 20,
		.mtime = {.tv_sec = 1234567890, .tv_nsec = 987654321},
		.atime = {.tv_nsec = UTIME_OMIT}};

	need_handles(b);
	a = b->agent;
	assert_int_equal(CALL(b, files_mknod(a, root, "f", S_IFREG | 0600, 0, owner, on_attr, b, NULL)), 0);
	f = ref(&b->attr);
	assert_int_equal(CALL(b, files_setattr(a, f, &change, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.mode, S_IFREG | 0751);
	assert_int_equal(b->attr.size, 1 << 20);
	assert_int_equal(b->attr.mtime, 1234567890);
	assert_int_equal(b->attr.mtime_nsec, 987654321);
	assert_int_equal(CALL(b, files_open(a, f, O_RDWR, on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_write(a, f, 65536, "x", 1, false, on_count, b, NULL)), 0);
	assert_int_equal(CALL(b, files_lseek(a, f, 0, SEEK_DATA, on_offset, b, NULL)), 0);
	assert_int_equal(b->number, 65536);
	assert_int_equal(CALL(b, files_fallocate(a, f, 0, 0, 2 << 20, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_getattr(a, f, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.size, 2 << 20);
	assert_int_equal(CALL(b, files_release(a, f, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_setxattr(a, f, "user.k", "value", 5, 0, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_setxattr(a, f, "security.k", "v", 1, 0, on_done, b, NULL)), -EPERM);
	assert_int_equal(CALL(b, files_getxattr(a, f, "user.k", 100, on_data, b, NULL)), 0);
	assert_int_equal(b->n, 5);
	assert_memory_equal(b->data, "value", 5);
	assert_int_equal(CALL(b, files_getxattr(a, f, "user.k", 4, on_data, b, NULL)), -ERANGE);
	assert_int_equal(CALL(b, files_listxattr(a, f, on_data, b, NULL)), 0);
	assert_memory_equal(b->data, "user.k", 7);
	assert_int_equal(CALL(b, files_removexattr(a, f, "user.k", on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_getxattr(a, f, "user.k", 100, on_data, b, NULL)), -ENODATA);
	assert_int_equal(CALL(b, files_statfs(a, root, on_statfs, b, NULL)), 0);
	assert_true(b->st.blocks > 0 && b->st.bsize > 0);
}

struct seen {
	uint32_t flags;
	unsigned calls, files;
	struct file_ref last;
};

static struct seen seen;

static void on_changed(void *user, const void *data, size_t n)
{
	uint32_t flags;

	(void)user;
	assert_int_equal(files_changed_flags(&data, &n, &flags), 1);
	seen.flags |= flags;
	seen.calls++;
	while (files_changed_next(&data, &n, &seen.last) > 0)
		seen.files++;
	assert_int_equal(n, 0);
}

/* What others change is told before anything that comes later; what the host itself does is not. */
static void tells_of_changes(void **state)
{
	_cleanup_close_ int dir = -EBADF, fd = -EBADF;
	struct bench *b = *state;
	struct agent *a;
	struct file_ref f;

	need_handles(b);
	a = b->agent;
	seen = (struct seen){0};
	if (CALL(b, files_watch(a, true, on_changed, on_done, b, NULL)) == -EOPNOTSUPP) {
		print_message("# no fanotify of file systems\n");
		skip();
	}
	assert_int_equal(b->code, 0);
	assert_int_equal(CALL(b, files_mknod(a, root, "f", S_IFREG | 0600, 0, owner, on_attr, b, NULL)), 0);
	f = ref(&b->attr);
	assert_int_equal(CALL(b, files_write(a, f, 0, "x", 1, false, on_count, b, NULL)), 0);
	/* The file system is the test machine's own: others' changes may be told too, of other files. */
	dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	fd = openat(dir, "workspace/f", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	for (uint64_t end = io_now_usec() + PATIENCE; seen.last.ino != f.ino && io_now_usec() < end;) {
		assert_int_equal(write(fd, "y", 1), 1);
		sd_event_run(b->event, 10000);
	}
	assert_int_equal(seen.last.ino, f.ino);
	assert_int_equal(seen.last.tag, f.tag);
	seen.flags = 0;
	assert_int_equal(renameat(dir, "workspace/f", dir, "workspace/g"), 0);
	for (uint64_t end = io_now_usec() + PATIENCE;
		!(seen.flags & AGENT_CHANGED_NAMES) && io_now_usec() < end;)
		sd_event_run(b->event, 10000);
	assert_true(seen.flags & AGENT_CHANGED_NAMES);
}

static const struct file_ref tree = {0, AGENT_TAG_TREE};

static struct file_ref tree_ref(const struct agent_attr *attr)
{
	assert_int_equal(attr->space, AGENT_SPACE_TREE);
	return (struct file_ref){attr->ino, AGENT_TAG_TREE | attr->generation};
}

/* Files beside the work disk: /proc/self/fd's file system (proc) is closed, /dev/shm (tmpfs) is open; both are seen from the root. */
static void files_of_other_file_systems(void **state)
{
	_cleanup_close_ int dir = -EBADF;
	struct bench *b = *state;
	char name[64], path[80];
	struct file_ref shm, d, f;
	struct agent *a = b->agent;
	struct agent_attr old;

	snprintf(name, sizeof(name), "banger-files-%d", (int)getpid());
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	if (mkdir(path, 0755) < 0) {
		print_message("# no /dev/shm\n");
		skip();
	}
	assert_int_equal(CALL(b, files_lookup(a, tree, "dev", on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_lookup(a, tree_ref(&b->attr), "shm", on_attr, b, NULL)), 0);
	shm = tree_ref(&b->attr);
	assert_int_equal(CALL(b, files_lookup(a, shm, name, on_attr, b, NULL)), 0);
	d = tree_ref(&b->attr);
	assert_int_equal(CALL(b, files_create(a, d, "f", O_RDWR | O_EXCL, 0640, owner, on_attr, b, NULL)), 0);
	f = tree_ref(&b->attr);
	assert_int_equal(CALL(b, files_write(a, f, 0, "abc", 3, false, on_count, b, NULL)), 0);
	/* Known by another name after a rename, also below what was renamed. */
	assert_int_equal(CALL(b, files_mkdir(a, d, "sub", 0755, owner, on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_rename(a, d, "f", tree_ref(&b->attr), "g", 0, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_rename(a, d, "sub", d, "other", 0, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_release(a, f, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_read(a, f, 0, 10, on_data, b, NULL)), 0);
	assert_int_equal(b->n, 3);
	assert_int_equal(CALL(b, files_getattr(a, f, on_attr, b, NULL)), 0);
	old = b->attr;
	/* What takes its place is another file. */
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	assert_int_equal(renameat(dir, "other/g", dir, "kept"), 0);
	close_fd(openat(dir, "other/g", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(CALL(b, files_getattr(a, f, on_attr, b, NULL)), -ESTALE);
	/* Found again, it has the number that it had. */
	assert_int_equal(CALL(b, files_lookup(a, d, "kept", on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.ino, old.ino);
	assert_int_equal(b->attr.generation, old.generation);
	assert_int_equal(
		CALL(b, files_getattr(a, (struct file_ref){12345, AGENT_TAG_TREE}, on_attr, b, NULL)),
		-ESTALE);
	/* A file system of the kernel's: there is nothing in it, and nothing can be made. */
	assert_int_equal(CALL(b, files_lookup(a, tree, "proc", on_attr, b, NULL)), 0);
	d = tree_ref(&b->attr);
	assert_int_equal(CALL(b, files_readdir(a, d, 0, 4096, true, on_data, b, NULL)), 0);
	assert_int_equal(b->n, 0);
	assert_int_equal(CALL(b, files_lookup(a, d, "self", on_attr, b, NULL)), -ENOENT);
	assert_int_equal(CALL(b, files_mkdir(a, d, "x", 0755, owner, on_attr, b, NULL)), -EROFS);
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void talks_after_noise(void **state)
{
	struct bench *b = *state;

	assert_int_equal(
		CALL(b, agent_request(b->agent, AGENT_PING, 0, NULL, 0, 10000, on_data, b, NULL, NULL)), 0);
	assert_int_equal(b->n, 0);
	assert_int_equal(
		CALL(b, agent_request(b->agent, AGENT_HEALTH, 0, NULL, 0, 10000, on_data, b, NULL, NULL)), 0);
	assert_memory_equal(b->data, "agent ", 6);
}

/* The handshake with what is no agent. */
static void no_agent(void **state)
{
	char boot_id[40];
	int fds[2], cancel = eventfd(1, EFD_CLOEXEC);
	uint64_t begin = io_now_usec();

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(agent_hello(fds[0], 100, -1, -1, boot_id, NULL), -ETIMEDOUT);
	assert_in_range(io_now_usec() - begin, 90000, 5000000);
	assert_int_equal(agent_hello(fds[0], 10000, cancel, -1, boot_id, NULL), -EINTR);
	assert_int_equal(agent_hello(fds[0], 10000, -1, cancel, boot_id, NULL), -ESRCH);
	assert_int_equal(write(fds[1], "xyz", 3), 3);
	close_fd(fds[1]);
	assert_int_equal(agent_hello(fds[0], 10000, -1, -1, boot_id, NULL), -EPIPE);
	close_fd(fds[0]);
	close_fd(cancel);
}

static void *pour(void *fd)
{
	static const char zeros[65536];

	while (send(*(int *)fd, zeros, sizeof(zeros), MSG_NOSIGNAL) > 0)
		continue;
	return NULL;
}

static void endless_noise(void **state)
{
	char boot_id[40];
	pthread_t thread;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(pthread_create(&thread, NULL, pour, &fds[1]), 0);
	assert_int_equal(agent_hello(fds[0], 20000, -1, -1, boot_id, NULL), -EPROTO);
	close_fd(fds[0]);
	pthread_join(thread, NULL);
	close_fd(fds[1]);
}

/* An answer byte for byte, wrong in one place. */
static int shake(size_t wrong, uint8_t value)
{
	uint8_t answer[12 + 20 + 8 + 36] = {0}, hello[32];
	char boot_id[40];
	int fds[2], r;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	pid = fork();
	if (pid == 0) {
		if (io_read_full(fds[1], hello, sizeof(hello)) < 0)
			_exit(1);
		answer[0] = 64;
		answer[4] = 1;
		memcpy(answer + 12, hello + 12, 20);
		memset(answer + 40, 'a', 36);
		answer[wrong] = value;
		if (io_write_full(fds[1], answer, sizeof(answer)) < 0 || io_write_full(fds[1], "next", 4) < 0)
			_exit(1);
		_exit(0);
	}
	close_fd(fds[1]);
	r = agent_hello(fds[0], 5000, -1, -1, boot_id, NULL);
	waitpid(pid, NULL, 0);
	if (r == 0) {
		/* Right behind it. */
		assert_int_equal(read(fds[0], hello, sizeof(hello)), 4);
		assert_memory_equal(hello, "next", 4);
	}
	close_fd(fds[0]);
	return r;
}

static void answers_that_are_wrong(void **state)
{
	(void)state;
	assert_int_equal(shake(32, 1), 0); /* the boot's time: any */
	assert_int_equal(shake(0, 65), -EPIPE);
	assert_int_equal(shake(4, 2), -EPIPE);
	assert_int_equal(shake(12, 2), -EPROTO); /* the version */
	assert_int_equal(shake(40, '/'), -EPROTO);
	assert_int_equal(shake(75, 0), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_life_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(names_and_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(settings_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(files_of_other_file_systems, setup, teardown),
		cmocka_unit_test_setup_teardown(talks_after_noise, setup_noisy, teardown),
		cmocka_unit_test(no_agent),
		cmocka_unit_test(endless_noise),
		cmocka_unit_test(answers_that_are_wrong),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
