/* The handshake and the calls on files, against the guest's own agent on a socket. */
#include "tests/unit/guest/live.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>

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

/* Folders are not pinned: the last that have lost their names can still be looked at. */
static void folders_without_a_name(void **state)
{
	struct file_ref gone, over, named;
	struct bench *b = *state;
	struct agent *a;

	need_handles(b);
	a = b->agent;
	assert_int_equal(CALL(b, files_mkdir(a, root, "gone", 0700, owner, on_attr, b, NULL)), 0);
	gone = ref(&b->attr);
	assert_int_equal(CALL(b, files_mkdir(a, root, "over", 0700, owner, on_attr, b, NULL)), 0);
	over = ref(&b->attr);
	assert_int_equal(CALL(b, files_mkdir(a, root, "new", 0700, owner, on_attr, b, NULL)), 0);
	named = ref(&b->attr);
	assert_int_equal(CALL(b, files_rmdir(a, root, "gone", on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_rename(a, root, "new", root, "over", 0, on_done, b, NULL)), 0);
	assert_int_equal(CALL(b, files_getattr(a, gone, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.nlink, 0);
	assert_int_equal(CALL(b, files_getattr(a, over, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.nlink, 0);
	assert_int_equal(CALL(b, files_readdir(a, gone, 0, 4096, true, on_data, b, NULL)), -ENOENT);
	assert_int_equal(
		CALL(b, files_mknod(a, gone, "f", S_IFREG | 0600, 0, owner, on_attr, b, NULL)), -ENOENT);
	for (int i = 0; i < AGENT_REMOVED_MAX - 1; i++) {
		assert_int_equal(CALL(b, files_mkdir(a, root, "next", 0700, owner, on_attr, b, NULL)), 0);
		assert_int_equal(CALL(b, files_rmdir(a, root, "next", on_done, b, NULL)), 0);
	}
	assert_int_equal(CALL(b, files_getattr(a, gone, on_attr, b, NULL)), -ESTALE);
	assert_int_equal(CALL(b, files_getattr(a, over, on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_getattr(a, named, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.nlink, 2);
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
	unsigned calls, files, names;
	struct file_ref last;
	struct file_ref folder; /* whose names count: other tests' are on the same file system */
	bool f, g;              /* names that are told of */
};

static struct seen seen;

static void on_changed(void *user, const void *data, size_t n)
{
	struct files_names names;
	struct file_ref folder;
	uint32_t flags;
	uint64_t hash;

	(void)user;
	assert_int_equal(files_changed_flags(&data, &n, &flags, &names), 1);
	seen.flags |= flags;
	seen.calls++;
	while (files_changed_next(&data, &n, &seen.last) > 0)
		seen.files++;
	assert_int_equal(n, 0);
	while (files_changed_name(&names, &folder, &hash) > 0) {
		seen.names++;
		if (folder.ino != seen.folder.ino || folder.tag != seen.folder.tag)
			continue;
		seen.f = seen.f || hash == agent_name_hash("f");
		seen.g = seen.g || hash == agent_name_hash("g");
	}
	assert_int_equal(names.n, 0);
}

static void need_fanotify(struct bench *b)
{
	_cleanup_close_ int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_REPORT_FID, O_RDONLY);

	bool there = fd >= 0 &&
		     fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_MODIFY, AT_FDCWD, b->dir) == 0;

	/* fanotify_mark(2): the file system's lack, or the kernel's. */
	if (!there)
		assert_true(errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == ENODEV ||
			    errno == EXDEV || errno == EOPNOTSUPP);
	need("fanotify", there, "the test's file system has no fanotify");
}

/* What others change is told before anything that comes later; what the host itself does is not. */
static void tells_of_changes(void **state)
{
	_cleanup_close_ int dir = -EBADF, fd = -EBADF;
	struct bench *b = *state;
	struct agent *a;
	struct file_ref f;

	need_handles(b);
	need_fanotify(b);
	a = b->agent;
	seen = (struct seen){0};
	assert_int_equal(CALL(b, files_watch(a, true, on_changed, on_done, b, NULL)), 0);
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
	assert_int_equal(CALL(b, files_getattr(a, root, on_attr, b, NULL)), 0);
	seen = (struct seen){.folder = ref(&b->attr)};
	assert_int_equal(renameat(dir, "workspace/f", dir, "workspace/g"), 0);
	/* Where others do more than can be told of in time, no names are told of. */
	for (uint64_t end = io_now_usec() + PATIENCE; !(seen.f && seen.g) && io_now_usec() < end;) {
		if (sd_event_run(b->event, 50000) > 0)
			continue;
		assert_int_equal(renameat(dir, "workspace/g", dir, "workspace/f"), 0);
		assert_int_equal(renameat(dir, "workspace/f", dir, "workspace/g"), 0);
	}
	assert_true(seen.f && seen.g);
	assert_true(seen.flags & AGENT_CHANGED_NAMES);
	assert_true(seen.flags & AGENT_CHANGED_NEW);
	assert_true(seen.flags & AGENT_CHANGED_NAMED);
	/* Many at once are told of together: at most every 10 ms. */
	seen = (struct seen){.folder = seen.folder};
	for (uint64_t begin = io_now_usec(), end = begin + PATIENCE;;) {
		for (int i = 0; i < 500; i++) {
			_cleanup_close_ int made = openat(dir, i % 2 ? "workspace/f" : "workspace/h",
				O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

			assert_int_equal(write(made, "z", 1), 1);
			assert_int_equal(unlinkat(dir, i % 2 ? "workspace/f" : "workspace/h", 0), 0);
			sd_event_run(b->event, 0);
		}
		for (int i = 0; i < 100 && sd_event_run(b->event, 50000) > 0; i++)
			continue;
		if (seen.f || io_now_usec() > end) {
			assert_true(seen.f);
			/* Others' files may be more than one message has room for. */
			assert_in_range(seen.calls, 1,
				(io_now_usec() - begin) / 10000 + seen.names / 1000 + seen.files / 4000 + 5);
			break;
		}
	}
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
	need("shm", access("/dev/shm", W_OK) == 0, "there is no /dev/shm to write to");
	assert_int_equal(mkdir(path, 0755), 0);
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
	assert_int_equal(agent_hello(fds[0], NULL, 100, -1, -1, boot_id, NULL), -ETIMEDOUT);
	assert_in_range(io_now_usec() - begin, 90000, 5000000);
	assert_int_equal(agent_hello(fds[0], NULL, 10000, cancel, -1, boot_id, NULL), -EINTR);
	assert_int_equal(agent_hello(fds[0], NULL, 10000, -1, cancel, boot_id, NULL), -ESRCH);
	assert_int_equal(write(fds[1], "xyz", 3), 3);
	close_fd(fds[1]);
	assert_int_equal(agent_hello(fds[0], NULL, 10000, -1, -1, boot_id, NULL), -EPIPE);
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
	assert_int_equal(agent_hello(fds[0], NULL, 20000, -1, -1, boot_id, NULL), -EPROTO);
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
	r = agent_hello(fds[0], NULL, 5000, -1, -1, boot_id, NULL);
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

static void a_folder_hands_its_group_down(void **state)
{
	const struct files_change shared = {
		.valid = AGENT_SET_MODE | AGENT_SET_GID, .mode = 02770, .gid = 1234};
	const struct files_owner other = {7, 8};
	struct bench *b = *state;
	struct agent *a;
	struct file_ref dir;

	need_handles(b);
	a = b->agent;
	assert_int_equal(CALL(b, files_mkdir(a, root, "shared", 0770, other, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.gid, 8);
	dir = ref(&b->attr);
	assert_int_equal(CALL(b, files_setattr(a, dir, &shared, on_attr, b, NULL)), 0);
	assert_int_equal(CALL(b, files_create(a, dir, "f", O_RDWR, 0640, other, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.uid, 7);
	assert_int_equal(b->attr.gid, 1234);
	assert_int_equal(CALL(b, files_symlink(a, dir, "l", "f", other, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.gid, 1234);
	assert_int_equal(CALL(b, files_mkdir(a, dir, "d", 0750, other, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.gid, 1234);
	assert_int_equal(b->attr.mode, S_IFDIR | 02750);
}

/* A program of the guest that appends: until it is told to stop (STOP), and says how much it was. */
struct appender {
	int fd;
	atomic_bool stop;
	uint64_t bytes;
};

static void *append(void *arg)
{
	struct appender *other = arg;

	while (!atomic_load(&other->stop) && write(other->fd, "guest\n", 6) == 6)
		other->bytes += 6;
	return NULL;
}

static void two_append(void **state)
{
	struct bench *b = *state;
	struct appender other = {.fd = -EBADF};
	pthread_t thread;
	struct file_ref f;
	int dir;

	need_handles(b);
	assert_int_equal(
		CALL(b, files_create(b->agent, root, "f", O_RDWR | O_EXCL, 0640, owner, on_attr, b, NULL)),
		0);
	f = ref(&b->attr);
	dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	other.fd = openat(dir, "workspace/f", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(other.fd >= 0);
	assert_int_equal(pthread_create(&thread, NULL, append, &other), 0);
	for (int i = 0; i < 5000; i++)
		assert_int_equal(
			CALL(b, files_write(b->agent, f, 0, "host\n", 5, true, on_count, b, NULL)), 0);
	atomic_store(&other.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(CALL(b, files_getattr(b->agent, f, on_attr, b, NULL)), 0);
	assert_int_equal(b->attr.size, other.bytes + 5000 * 5);
	assert_int_equal(CALL(b, files_release(b->agent, f, on_done, b, NULL)), 0);
	close(other.fd);
	close(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_life_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(names_and_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_without_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(settings_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(two_append, setup, teardown),
		cmocka_unit_test_setup_teardown(a_folder_hands_its_group_down, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(files_of_other_file_systems, setup, teardown),
		cmocka_unit_test_setup_teardown(talks_after_noise, setup_noisy, teardown),
		cmocka_unit_test(no_agent),
		cmocka_unit_test(endless_noise),
		cmocka_unit_test(answers_that_are_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
