#include <errno.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/guest_ssh.h"
#include "banger/io.h"
#include "guest/bring.h"
#include "net/ssh_key.h"
#include "net/ssh_server.h"
#include "vm/model.h"
#include "vm/ssh.h"
#include "vm/talk.h"

#define KEY_MAX      4096
#define FILE_BYTES   (64ull << 20) /* of each program and library */
#define DROPBEAR_KEY "dropbear"    /* in vms/ID/ssh */

struct ssh_waiter {
	TAILQ_ENTRY(ssh_waiter) link;
	struct ssh_setup *setup;
	vm_done_fn done;
	void *user;
};

struct ssh_setup {
	TAILQ_HEAD(, ssh_waiter) waiters;
	struct talk *talk;
	struct vms *vms;
	uint32_t vm;
	char boot_id[40]; /* of the run that it is for */
	/* The worker's: */
	int dir_fd;
	char *authorized; /* NULL: nobody */
	char *host_key;   /* found or made */
	struct bring bring;
};

DEFINE_CLEANUP(struct ssh_file *, ssh_server_free)

static void setup_free(struct ssh_setup *s)
{
	close_fd(s->dir_fd);
	free(s->authorized);
	free(s->host_key);
	free(s);
}

static int bring_text(
	struct ssh_setup *s, const char *name, const char *text, size_t n, uint32_t mode, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, GUEST_SSH_BELOW "/%s", name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "ssh");
	}
	return bring_bytes(&s->bring, path, mode, text, n, e);
}

static int bring_key(struct ssh_setup *s, const char *from, const char *name, struct err *e)
{
	_cleanup_close_ int dir = openat(s->dir_fd, SSH_KEY_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *key = NULL;
	size_t n;
	int r = dir < 0 ? err_sys(e, -errno, SSH_KEY_DIR) : io_read_file(dir, from, KEY_MAX, &key, &n, e);

	if (r == 0)
		r = bring_text(s, name, key, n, 0600, e);
	if (key)
		explicit_bzero(key, n);
	return r;
}

static int bring_program(struct ssh_setup *s, const struct ssh_file *f, struct err *e)
{
	_cleanup_close_ int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", f->path);
	if (asprintf(&path, GUEST_SSH_BELOW "/%s", f->name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "ssh");
	}
	return bring_file(&s->bring, path, f->mode, st.st_mtim, fd, FILE_BYTES, NULL, e);
}

/* COUNT: of files. */
static int bring_server(struct ssh_setup *s, size_t *count, struct err *e)
{
	_cleanup_(ssh_server_freep) struct ssh_file *files = NULL;
	int r = ssh_server_files(&files, e);

	if (r == 0)
		r = ssh_server_key(s->dir_fd, DROPBEAR_KEY, e);
	if (r == 0)
		r = bring_key(s, DROPBEAR_KEY, GUEST_SSH_DROPBEAR_KEY, e);
	for (struct ssh_file *f = files; r == 0 && f->name; f++) {
		r = bring_program(s, f, e);
		++*count;
	}
	++*count;
	return r;
}

static int work(void *data, int sock, struct err *e)
{
	struct ssh_setup *s = data;
	struct workspace_record rec;
	size_t count = 2;
	uint32_t need = 0;
	int r = ssh_key_ensure(s->dir_fd, &s->host_key, e);

	s->bring.sock = s->bring.in.fd = sock;
	if (r == 0)
		r = bring_hear(&s->bring, &rec, e);
	if (r == 0 && (rec.type != GUEST_SSH_NEED || rec.length != sizeof(need)))
		r = err_set(e, -EPROTO, "the guest broke the protocol");
	if (r < 0)
		return r;
	memcpy(&need, rec.payload, sizeof(need));
	r = bring_begin(&s->bring, sock, WORKSPACE_FORCE, e);
	if (r == 0)
		r = bring_key(s, SSH_KEY_PRIVATE, GUEST_SSH_HOST_KEY, e);
	if (r == 0)
		r = bring_text(s, GUEST_SSH_AUTHORIZED, s->authorized ? s->authorized : "",
			s->authorized ? strlen(s->authorized) : 0, 0644, e);
	if (r == 0 && need)
		r = bring_server(s, &count, e);
	return r < 0 ? r : bring_end(&s->bring, NULL, count, e);
}

/* "TYPE BASE64" of "TYPE BASE64 COMMENT". */
static void cut_comment(char *key)
{
	char *blank = strchr(key, ' ');

	if (blank && (blank = strchr(blank + 1, ' ')))
		*blank = '\0';
}

static void on_done(void *data, int code, int exit, struct err *e)
{
	struct ssh_setup *s = data;
	struct vm *vm = vms_get(s->vms, s->vm);
	struct ssh_waiter *w;

	(void)exit;
	if (code < 0)
		err_wrap(e, "ssh");
	if (vm)
		vm->ssh = NULL;
	if (vm && s->host_key) {
		cut_comment(s->host_key);
		vm_set_text(&vm->host_key, s->host_key);
	}
	if (vm && code == 0)
		snprintf(vm->ssh_boot, sizeof(vm->ssh_boot), "%s", s->boot_id);
	while ((w = TAILQ_FIRST(&s->waiters))) {
		TAILQ_REMOVE(&s->waiters, w, link);
		w->done(w->user, code, e);
		free(w);
	}
	setup_free(s);
}

static int begin(struct vm *vm, struct err *e)
{
	static const char *const argv[] = {TALK_GUEST, "ssh", "receive", NULL};
	struct ssh_setup *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "ssh");
	TAILQ_INIT(&s->waiters);
	s->dir_fd = -EBADF;
	s->vms = vm->vms;
	s->vm = vm->row.id;
	snprintf(s->boot_id, sizeof(s->boot_id), "%s", vm->row.boot_id);
	r = vm_open_dir(vm->vms, vm->row.id, &s->dir_fd, e);
	if (r == 0 && vm->vms->config.ssh_key &&
		asprintf(&s->authorized, "%s\n", vm->vms->config.ssh_key) < 0) {
		s->authorized = NULL;
		r = err_sys(e, -ENOMEM, "ssh");
	}
	if (r == 0)
		r = talk_begin(vm, argv, work, on_done, s, &s->talk, e);
	if (r < 0)
		setup_free(s);
	else
		vm->ssh = s;
	return r;
}

int ssh_ready(struct vm *vm, vm_done_fn done, void *user, struct ssh_waiter **ret, struct err *e)
{
	struct ssh_waiter *w;
	int r;

	*ret = NULL;
	if (vm->agent && *vm->ssh_boot && strcmp(vm->ssh_boot, vm->row.boot_id) == 0) {
		done(user, 0, NULL);
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_sys(e, -ENOMEM, "ssh");
	r = vm->ssh ? 0 : begin(vm, e);
	if (r < 0) {
		free(w);
		return r;
	}
	*w = (struct ssh_waiter){.setup = vm->ssh, .done = done, .user = user};
	TAILQ_INSERT_TAIL(&vm->ssh->waiters, w, link);
	*ret = w;
	return 0;
}

void ssh_unwait(struct ssh_waiter *w)
{
	_cleanup_err_ struct err e = {0};

	TAILQ_REMOVE(&w->setup->waiters, w, link);
	err_set(&e, -EINTR, "cancelled");
	w->done(w->user, -EINTR, &e);
	free(w);
}

const char *ssh_host_key(const struct vm *vm)
{
	return vm->host_key ? vm->host_key : "";
}

void ssh_load(struct vm *vm)
{
	_cleanup_free_ char *path = NULL, *key = NULL;

	if (asprintf(&path, "%u/" SSH_KEY_DIR "/" SSH_KEY_PUBLIC, vm->row.id) < 0) {
		path = NULL;
		return;
	}
	if (io_read_file(vm->vms->dir_fd, path, KEY_MAX, &key, NULL, NULL) < 0)
		return;
	key[strcspn(key, "\n")] = '\0';
	cut_comment(key);
	vm_set_text(&vm->host_key, key);
}
