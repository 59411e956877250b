/* Where what is kept of a VM's jobs is: PLACE_STATE/vms/ID/exec, and in it the number of its next job. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "vm/exec_job.h"

#define NUMBER_LEN 10

static int open_folder(int at, const char *name, int *ret_fd)
{
	int fd;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int exec_folder_open(struct exec_vm *v, struct err *e)
{
	_cleanup_close_ int vms = -EBADF, vm = -EBADF, dir = -EBADF, next = -EBADF;
	char name[16], text[NUMBER_LEN + 1] = "";
	uint64_t number = 1;
	int r;

	if (v->dir_fd >= 0)
		return 0;
	snprintf(name, sizeof(name), "%u", v->id);
	if ((r = open_folder(v->execs->state_fd, "vms", &vms)) < 0 || (r = open_folder(vms, name, &vm)) < 0 ||
		(r = open_folder(vm, "exec", &dir)) < 0)
		return err_sys(e, r, "folder vms/%u/exec", v->id);
	next = openat(dir, "next", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (next < 0)
		return err_sys(e, -errno, "vms/%u/exec/next", v->id);
	if (pread(next, text, NUMBER_LEN, 0) > 0) {
		const char *digits = text + strspn(text, "0");

		if (parse_u64(digits, 1, EXEC_NUMBER_MAX + 1, &number) < 0)
			return err_set(e, -EUCLEAN, "vms/%u/exec/next holds no number: remove it", v->id);
	}
	v->next = (uint32_t)number;
	v->dir_fd = TAKE_FD(dir);
	v->next_fd = TAKE_FD(next);
	return 0;
}

/* Numbers outlive this daemon, not the machine's boot, with which what was known by a number ends: no fsync. */
int exec_folder_number(struct exec_vm *v, uint32_t *ret, struct err *e)
{
	char text[NUMBER_LEN + 2];
	int r;

	if (v->next > EXEC_NUMBER_MAX)
		return err_set(e, -EUSERS, "this VM has used up its job numbers: make another VM");
	snprintf(text, sizeof(text), "%0*" PRIu32 "\n", NUMBER_LEN, v->next + 1);
	r = io_pwrite_full(v->next_fd, text, NUMBER_LEN + 1, 0);
	if (r < 0)
		return err_sys(e, r, "vms/%u/exec/next", v->id);
	*ret = v->next++;
	return 0;
}

void exec_folder_close(struct exec_vm *v)
{
	v->dir_fd = close_fd(v->dir_fd);
	v->next_fd = close_fd(v->next_fd);
}

DIR *exec_folder_find(const struct execs *xs, uint32_t id)
{
	_cleanup_free_ char *path = NULL;
	DIR *dir;
	int fd;

	if (asprintf(&path, "vms/%u/exec", id) < 0) {
		path = NULL;
		return NULL;
	}
	fd = openat(xs->state_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		close_fd(fd);
	return dir;
}

bool exec_folder_next(DIR *dir, uint32_t *ret_number)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		_cleanup_free_ char *digits = strndup(entry->d_name, strspn(entry->d_name, "0123456789"));
		uint64_t number;

		if (digits && strcmp(entry->d_name + strlen(digits), ".job") == 0 &&
			parse_u64(digits, 1, EXEC_NUMBER_MAX, &number) == 0) {
			*ret_number = (uint32_t)number;
			return true;
		}
	}
	return false;
}

void exec_folder_remove(const struct execs *xs, uint32_t id)
{
	_cleanup_closedir_ DIR *dir = exec_folder_find(xs, id);
	_cleanup_free_ char *path = NULL;
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if ((entry->d_name[0] >= '0' && entry->d_name[0] <= '9') || entry->d_name[0] == '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	unlinkat(dirfd(dir), "next", 0);
	if (asprintf(&path, "vms/%u/exec", id) < 0) {
		path = NULL;
		return;
	}
	unlinkat(xs->state_fd, path, AT_REMOVEDIR);
	/* The VM's own, made here where it was missing, when nothing else is in it. */
	*strrchr(path, '/') = '\0';
	unlinkat(xs->state_fd, path, AT_REMOVEDIR);
}
