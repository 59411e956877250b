/* A VM's own log and the file that its console is kept in. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#include "banger/io.h"
#include "vm/model.h"

#define LOG_MAX (1u << 20)

static int open_file(struct vms *vms, uint32_t id, const char *file, int flags)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (asprintf(&path, "%u/%s", id, file) < 0) {
		path = NULL;
		return -EBADF;
	}
	fd = openat(vms->dir_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -EBADF : fd;
}

/* The last half stays, from a line's beginning on. */
static void shrink(int fd, off_t size)
{
	_cleanup_free_ char *buf = malloc(LOG_MAX / 2);
	ssize_t n = buf ? pread(fd, buf, LOG_MAX / 2, size - LOG_MAX / 2) : -1;
	char *line = n > 0 ? memchr(buf, '\n', (size_t)n) : NULL;

	if (line && ftruncate(fd, 0) == 0)
		io_write_full(fd, line + 1, (size_t)(buf + n - line - 1));
}

void vm_log(struct vm *vm, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *line = NULL;
	_cleanup_close_ int fd = -EBADF;
	time_t now = time(NULL);
	struct stat st;
	struct tm tm;
	va_list ap;
	int n;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text)
		return;
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	gmtime_r(&now, &tm);
	n = asprintf(&line, "%04d-%02d-%02dT%02d:%02d:%02dZ %s\n", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, text);
	if (n < 0) {
		line = NULL;
		return;
	}
	/* One line, microseconds: the loop does it itself. */
	fd = open_file(vm->vms, vm->row.id, "log", O_RDWR | O_APPEND | O_CREAT);
	if (fd >= 0 && fstat(fd, &st) == 0) {
		if (st.st_size > LOG_MAX)
			shrink(fd, st.st_size);
		io_write_full(fd, line, (size_t)n);
	}
	if (!vm->vms->quiet && vm->vms->watch.log)
		vm->vms->watch.log(vm->vms->user, vm, line);
}

int vm_log_fd(const struct vm *vm)
{
	struct vms *vms = vm->vms;

	if (vms->log.fd < 0 || vms->log.id != vm->row.id) {
		close_fd(vms->log.fd);
		vms->log.fd = open_file(vms, vm->row.id, "log", O_RDONLY);
		vms->log.id = vm->row.id;
	}
	return vms->log.fd;
}

int vm_console_fd(const struct vm *vm)
{
	struct vms *vms = vm->vms;

	if (vms->console.fd < 0 || vms->console.id != vm->row.id) {
		close_fd(vms->console.fd);
		vms->console.fd = open_file(vms, vm->row.id, "console", O_RDONLY);
		vms->console.id = vm->row.id;
	}
	return vms->console.fd;
}

void vm_set_error(struct vm *vm, int code, uint64_t op, const char *text)
{
	_cleanup_free_ char *line = NULL;

	if (code == 0) {
		if (!*vm->row.error)
			return;
		vm_set_text(&vm->row.error, "");
	} else {
		if (asprintf(&line, "%" PRIu64 " %s", op, text) < 0) {
			line = NULL;
			return;
		}
		for (char *c = line; *c; c++)
			if ((unsigned char)*c < ' ' || *c == 127)
				*c = ' ';
		if (strcmp(vm->row.error, line) == 0)
			return;
		vm_set_text(&vm->row.error, line);
		vm_log(vm, "error: %s", line);
	}
	vm_save(vm);
	vm_changed(vm);
}
