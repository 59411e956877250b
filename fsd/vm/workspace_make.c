/* Patch, status and bundle: made in the guest, kept in a file that has no name, given to who reads. */
#include <errno.h>
#include <fcntl.h>

#include "banger/guest_config.h"
#include "banger/io.h"
#include "repo/git_program.h"
#include "repo/prepared.h"
#include "vm/model.h"
#include "vm/talk.h"
#include "vm/workspace.h"

#define PREPARED "prepared"
#define PIECE    (256u * 1024)

struct workspace_maker {
	struct vms *vms;
	uint32_t vm;
	enum workspace_made what;
	workspace_made_fn done;
	void *user;
	struct talk *talk;
	bool cancelled, brought;
	/* The worker's: */
	int dir_fd, out_fd, guest_fd;
	char **argv; /* ended by NULL; its strings are owned */
};

static const char *const names[] = {
	[WORKSPACE_PATCH] = "patch", [WORKSPACE_STATUS] = "status", [WORKSPACE_BUNDLE] = "bundle"};

static void maker_free(struct workspace_maker *m)
{
	for (char **arg = m->argv; arg && *arg; arg++)
		free(*arg);
	free(m->argv);
	close_fd(m->dir_fd);
	close_fd(m->out_fd);
	free(m);
}

static void end(struct workspace_maker *m, int code, const struct err *e)
{
	_cleanup_err_ struct err mine = {0};

	if (code < 0 && m->cancelled) {
		code = err_set(&mine, -EINTR, "cancelled");
	} else if (code < 0) {
		err_copy(&mine, e);
	}
	m->done(m->user, code, code == 0 ? TAKE_FD(m->out_fd) : -EBADF, &mine);
	maker_free(m);
}

/* The words of the guest's program: which repositories, and what they were brought as. */
static int make_argv(struct workspace_maker *m, const struct prepared *p, struct err *e)
{
	size_t n = 0;

	m->argv = calloc(4 + 2 * p->repo_count + 1, sizeof(*m->argv));
	if (!m->argv || !(m->argv[n++] = strdup(TALK_GUEST)) || !(m->argv[n++] = strdup("workspace")) ||
		!(m->argv[n++] = strdup(names[m->what])) || !(m->argv[n++] = strdup(GUEST_WORKSPACE)))
		return err_sys(e, -ENOMEM, "workspace");
	for (size_t i = 0; i < p->repo_count; i++) {
		const struct prepared_repo *repo = &p->repos[i];

		/* One bundle holds one repository. */
		if (m->what == WORKSPACE_BUNDLE && *repo->prefix)
			continue;
		if (!(m->argv[n++] = strdup(repo->prefix)) ||
			!(m->argv[n++] = strdup(m->what == WORKSPACE_BUNDLE ? repo->names : repo->commit)))
			return err_sys(e, -ENOMEM, "workspace");
	}
	return 0;
}

static int work_look(void *data, struct err *e)
{
	_cleanup_(prepared_freep) struct prepared *p = NULL;
	struct workspace_maker *m = data;
	int r = prepared_load(m->dir_fd, PREPARED, false, &p, e);

	if (r == -ENOENT)
		return err_set(e, -ENODATA, "nothing was prepared: echo 'prepare PATH' > workspace.ctl");
	if (r == 0 && !p->is_git)
		return err_set(e, -EOPNOTSUPP,
			"%s is no git checkout, so that there is nothing to tell changes against: git init "
			"there, and prepare again",
			p->source);
	if (r == 0)
		r = make_argv(m, p, e);
	if (r == 0) {
		m->out_fd = openat(m->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (m->out_fd < 0)
			r = err_sys(e, -errno, "workspace");
	}
	return r;
}

static int work_read(void *data, int sock, struct err *e)
{
	_cleanup_free_ char *buf = malloc(PIECE);
	struct workspace_maker *m = data;
	uint64_t size = 0;
	ssize_t n;
	int r = buf ? 0 : err_sys(e, -ENOMEM, "workspace");

	while (r == 0 && (n = read(sock, buf, PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		size += n > 0 ? (uint64_t)n : 0;
		if (n < 0)
			r = err_sys(e, -errno, "workspace");
		else if (size > WORKSPACE_MADE_MAX)
			r = err_set(e, -EFBIG,
				"the guest has changed more than %llu MiB: take the files out of workspace/ "
				"themselves",
				WORKSPACE_MADE_MAX >> 20);
		else if ((r = io_write_full(m->out_fd, buf, (size_t)n)) < 0)
			err_sys(e, r, "workspace");
	}
	return r;
}

static int work_bring(void *data, int sock, struct err *e)
{
	struct workspace_maker *m = data;

	return git_program_bring(sock, m->guest_fd, e);
}

static void next(struct workspace_maker *m);

static void done_bring(void *data, int code, int exit, struct err *e)
{
	struct workspace_maker *m = data;

	(void)exit;
	m->talk = NULL;
	m->brought = true;
	if (code < 0)
		end(m, code, e);
	else
		next(m);
}

static void bring(struct workspace_maker *m)
{
	static const char *const argv[] = {TALK_GUEST, "workspace", "receive", GUEST_GIT, NULL};
	struct vm *vm = vms_get(m->vms, m->vm);
	_cleanup_err_ struct err e = {0};

	if (!vm || m->cancelled)
		end(m, err_set(&e, -EINTR, "cancelled"), &e);
	else if (talk_begin(vm, argv, work_bring, done_bring, m, &m->talk, &e) < 0)
		end(m, e.code, &e);
}

static void done_read(void *data, int code, int exit, struct err *e)
{
	struct workspace_maker *m = data;
	_cleanup_err_ struct err mine = {0};

	m->talk = NULL;
	if (code < 0 && exit == REPO_NO_GIT && !m->brought)
		bring(m);
	else if (code < 0 && exit == REPO_NOTHING)
		end(m, err_set(&mine, -ENODATA, "the guest has no commits of its own"), &mine);
	else
		end(m, code, e);
}

static void next(struct workspace_maker *m)
{
	struct vm *vm = vms_get(m->vms, m->vm);
	_cleanup_err_ struct err e = {0};

	if (!vm || m->cancelled)
		end(m, err_set(&e, -EINTR, "cancelled"), &e);
	else if (talk_begin(vm, (const char *const *)m->argv, work_read, done_read, m, &m->talk, &e) < 0)
		end(m, e.code, &e);
}

static void done_look(void *data, int code, struct err *e)
{
	struct workspace_maker *m = data;

	if (code < 0)
		end(m, code, e);
	else
		next(m);
}

int workspace_make(struct vm *vm, enum workspace_made what, workspace_made_fn done, void *user,
	struct workspace_maker **ret, struct err *e)
{
	struct workspace_maker *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_sys(e, -ENOMEM, "workspace");
	*m = (struct workspace_maker){.vms = vm->vms,
		.vm = vm->row.id,
		.what = what,
		.done = done,
		.user = user,
		.dir_fd = -EBADF,
		.out_fd = -EBADF,
		.guest_fd = vm->vms->config.guest_fd};
	r = vm_open_dir(vm->vms, vm->row.id, &m->dir_fd, e);
	if (r == 0)
		r = job_submit(vm->vms->jobs, work_look, done_look, m, e);
	if (r < 0) {
		maker_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void workspace_unmake(struct workspace_maker *m)
{
	m->cancelled = true;
	if (m->talk)
		talk_cancel(m->talk);
}
