#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>

#include "banger/cleanup.h"
#include "banger/helper_client.h"
#include "banger/io.h"
#include "fuse/state.h"

#define INIT_FILE     "fuse.init"
#define INIT_MAX      4096
#define BATCH         64  /* requests a turn of the loop */
#define SPIN_USEC     100 /* a wake-up costs half of this and more (design: what a FUSE read costs) */
#define NOTIFY_RESEND 7   /* FUSE_NOTIFY_RESEND */
#define MINOR_RESEND  40  /* of the protocol 7, that has it: Linux 6.9 */
#define UNIQUE_RESEND (1ull << 63) /* FUSE_UNIQUE_RESEND: set where the request is asked again */

static void on_created(void *user, struct vm *vm)
{
	tree_vm_watch.created(((struct server *)user)->tree, vm);
}

static void on_deleted(void *user, uint32_t id, const char *name)
{
	guest_cache_forget(user, id);
	tree_vm_watch.deleted(((struct server *)user)->tree, id, name);
}

static void on_renamed(void *user, struct vm *vm, const char *old_name)
{
	tree_vm_watch.renamed(((struct server *)user)->tree, vm, old_name);
}

static void on_changed(void *user, struct vm *vm)
{
	guest_cache_check(user, vm);
	tree_vm_watch.changed(((struct server *)user)->tree, vm);
}

static void on_state(void *user, struct vm *vm, enum vm_state old)
{
	guest_cache_check(user, vm);
	tree_vm_watch.state(((struct server *)user)->tree, vm, old);
}

static void on_ready(void *user, struct vm *vm)
{
	guest_cache_check(user, vm);
	tree_vm_watch.ready(((struct server *)user)->tree, vm);
}

static void on_files(void *user, struct vm *vm)
{
	guest_cache_check(user, vm);
}

static void on_log(void *user, struct vm *vm, const char *line)
{
	tree_vm_watch.log(((struct server *)user)->tree, vm, line);
}

static void on_console(void *user, struct vm *vm, const void *data, size_t n)
{
	tree_vm_watch.console(((struct server *)user)->tree, vm, data, n);
}

static void on_port(void *user, struct vm *vm, const char *line)
{
	tree_vm_watch.port(((struct server *)user)->tree, vm, line);
}

const struct vm_watch server_vm_watch = {
	.created = on_created,
	.deleted = on_deleted,
	.renamed = on_renamed,
	.changed = on_changed,
	.state = on_state,
	.ready = on_ready,
	.files = on_files,
	.log = on_log,
	.console = on_console,
	.port = on_port,
};

static uint64_t requests(void *user)
{
	return ((struct server *)user)->requests;
}

static uint64_t asked(void *user)
{
	return ((struct server *)user)->asked_guests;
}

static const struct tree_listener listener = {
	.stale = notify_stale,
	.pollable = notify_pollable,
	.requests = requests,
	.asked = asked,
};

int server_new(const struct server_config *config, struct server **ret, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));
	cpu_set_t cpus;
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "server");
	s->config = *config;
	s->owner = geteuid();
	s->group = getegid();
	s->spins = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) > 1;
	/* Numbers of files that no earlier daemon on this mount has given out. */
	s->first_fh = s->next_fh = io_wall_usec() << 12;
	for (size_t i = 0; i < HANDLE_BUCKETS; i++)
		LIST_INIT(&s->files[i]);
	TAILQ_INIT(&s->held);
	LIST_INIT(&s->live);
	STAILQ_INIT(&s->notices);
	STAILQ_INIT(&s->early);
	STAILQ_INIT(&s->polls);
	atomic_init(&s->awaited, UINT64_MAX);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	r = tree_new(&config->tree, &listener, s, &s->tree, e);
	if (r < 0) {
		server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void server_stop(struct server *s)
{
	if (!s || s->stopped)
		return;
	s->stopped = true;
	s->io = sd_event_source_disable_unref(s->io);
	s->asked_source = sd_event_source_disable_unref(s->asked_source);
	early_end(s);
	notify_stop(s);
	request_release_held(s);
	if (s->tree) {
		tree_stop(s->tree);
		files_free(s);
	}
}

void server_detach(struct server *s)
{
	int nowhere;

	if (!s)
		return;
	behinds_end(s->behinds);
	if (s->tree)
		tree_set_vms(s->tree, NULL);
	if (!s->session)
		return;
	/*
	 * What is not answered by now is asked again of the next daemon, so nothing that comes of tearing down may reach the
	 * kernel. The helper's descriptor keeps the mount.
	 */
	s->asked = asked_close(s->asked);
	nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (nowhere >= 0)
		dup3(nowhere, fuse_session_fd(s->session), O_CLOEXEC);
	close_fd(nowhere);
}

struct server *server_free(struct server *s)
{
	if (!s)
		return NULL;
	server_stop(s);
	server_detach(s);
	requests_free(s);
	guest_caches_free(s);
	behinds_free(s->behinds);
	inodes_free(s->inodes);
	tree_free(s->tree);
	if (s->session)
		fuse_session_destroy(s->session);
	free(s->buf.mem);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

int server_fd(const struct server *s)
{
	return s->session ? fuse_session_fd(s->session) : -1;
}

void server_log(struct server *s, const char *fmt, ...)
{
	_cleanup_free_ char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		line = NULL;
	va_end(ap);
	if (line)
		tree_log(s->tree, "%s", line);
}

/* A kernel whose first message this is asks again what a daemon that has ended was asked; for one that doesn't the daemon keeps it. */
static void keep_asked(struct server *s, const void *init, size_t n, bool fresh)
{
	const struct fuse_init_in *in = (const void *)((const char *)init + sizeof(struct fuse_in_header));
	_cleanup_err_ struct err e = {0};

	if (n < sizeof(struct fuse_in_header) + offsetof(struct fuse_init_in, max_readahead) ||
		in->minor >= MINOR_RESEND)
		return;
	if (asked_open(s->config.run_fd, fresh, &s->asked, &e) < 0)
		tree_log(s->tree, "who waits will not outlive this daemon: %s", err_text(&e));
}

/* The first message of a mount is kept: the next daemon must be told it again (facts on FUSE, 46). */
static void keep_init(struct server *s)
{
	const struct fuse_in_header *in = s->buf.mem;
	_cleanup_err_ struct err e = {0};

	if (s->buf.size < sizeof(*in) || in->opcode != FUSE_INIT || s->buf.size > INIT_MAX)
		return;
	keep_asked(s, s->buf.mem, s->buf.size, true);
	if (io_replace_file(s->config.run_fd, INIT_FILE, s->buf.mem, s->buf.size, 0600, &e) < 0)
		tree_log(s->tree, "%s: the mount will not outlive this daemon: %s", INIT_FILE, err_text(&e));
}

void server_process(struct server *s, const struct fuse_buf *buf, bool again)
{
	uint64_t unique = ((struct fuse_in_header *)buf->mem)->unique;

	s->unique = unique & ~UNIQUE_RESEND;
	s->again = again || (unique & UNIQUE_RESEND);
	s->now = buf;
	fuse_session_process_buf(s->session, buf);
	s->now = NULL;
}

static int turn(struct server *s)
{
	uint64_t last = 0;
	int n, count = 0;

	for (;;) {
		n = fuse_session_receive_buf(s->session, &s->buf);
		if (n > 0) {
			s->requests++;
			keep_init(s);
			if (s->asked)
				asked_keep(s->asked, s->buf.mem, s->buf.size);
			if (!early_keep(s, &s->buf, false))
				server_process(s, &s->buf, false);
			if (++count >= BATCH)
				return 0;
			last = 0;
			continue;
		}
		if (n == -EINTR)
			continue;
		if (n != -EAGAIN)
			return n == 0 ? -ENODEV : n;
		if (!s->spins || count == 0)
			return 0;
		if (last == 0)
			last = io_now_usec();
		else if (io_now_usec() - last > SPIN_USEC)
			return 0;
	}
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user)
{
	struct server *s = user;
	int r;

	(void)fd;
	(void)revents;
	r = turn(s);
	if (r < 0) {
		/* Unmounted, or the connection was aborted: nobody can ask any more. */
		tree_log(s->tree, "the mount has gone: %s", strerror(-r));
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
		return sd_event_exit(s->config.event, r == -ENODEV ? 0 : r);
	}
	return 0;
}

static void ask_again(void *user, void *data, size_t n)
{
	struct fuse_buf buf = {.mem = data, .size = n};

	if (!early_keep(user, &buf, true))
		server_process(user, &buf, true);
}

static int on_asked(sd_event_source *source, void *user)
{
	struct server *s = user;

	(void)source;
	s->asked_source = sd_event_source_disable_unref(s->asked_source);
	asked_replay(s->asked, ask_again, s);
	return 0;
}

/* What the daemon before had taken and not answered is asked again, by the kernel or from the file: before anything that is new. */
static int take_up_asked(struct server *s, struct err *e)
{
	struct fuse_out_header resend = {.len = sizeof(resend), .error = NOTIFY_RESEND};
	int r;

	if (!s->asked) {
		if (write(fuse_session_fd(s->session), &resend, sizeof(resend)) < 0)
			tree_log(s->tree, "requests in flight are lost: the kernel cannot resend them: %s",
				strerror(errno));
		return 0;
	}
	r = sd_event_add_defer(s->config.event, &s->asked_source, on_asked, s);
	if (r >= 0)
		r = sd_event_source_set_priority(s->asked_source, SD_EVENT_PRIORITY_IMPORTANT);
	return r < 0 ? err_sys(e, r, "requests in flight") : 0;
}

static int replay(struct server *s, struct err *e)
{
	_cleanup_free_ char *init = NULL;
	struct fuse_buf buf = {0};
	size_t n;
	int r;

	r = io_read_file(s->config.run_fd, INIT_FILE, INIT_MAX, &init, &n, e);
	if (r < 0)
		return r;
	if (n < sizeof(struct fuse_in_header) || ((struct fuse_in_header *)init)->opcode != FUSE_INIT ||
		((struct fuse_in_header *)init)->len != n)
		return err_set(e, -EBADMSG, "%s is damaged: banger down, then up", INIT_FILE);
	buf.mem = init;
	buf.size = n;
	fuse_session_process_buf(s->session, &buf);
	keep_asked(s, init, n, false);
	r = take_up_asked(s, e);
	if (r < 0)
		return r;
	/* Guests have changed their files unseen. */
	notify_names(s);
	return 0;
}

/* What libfuse writes is an answer, or a notice, whose number is 0. */
static ssize_t write_answer(int fd, struct iovec *iov, int count, void *user)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	ssize_t n = writev(fd, iov, count);
	int saved = errno;

	if (out->unique)
		asked_done(((struct server *)user)->asked, out->unique);
	errno = saved;
	return n;
}

static ssize_t read_request(int fd, void *buf, size_t size, void *user)
{
	(void)user;
	return read(fd, buf, size);
}

int server_start_fd(struct server *s, struct vms *vms, int fd, bool adopted, struct err *e)
{
	static const struct fuse_custom_io io = {.writev = write_answer, .read = read_request};
	char *argv[] = {(char *)"banger", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	_cleanup_close_ int mine = fd;
	int r;

	s->adopted = adopted;
	if (adopted)
		early_begin(s);
	tree_set_vms(s->tree, vms);
	/* Without it each write waits for the guest. */
	if (behinds_new(s->config.run_fd, &s->behinds, e) < 0) {
		tree_log(s->tree, "%s", err_text(e));
		err_clear(e);
	}
	s->inodes = inodes_new(!adopted);
	r = fcntl(mine, F_SETFL, O_NONBLOCK);
	if (r < 0)
		return err_sys(e, -errno, "/dev/fuse");
	s->session = fuse_session_new(&args, &server_ops, sizeof(server_ops), s);
	fuse_opt_free_args(&args);
	if (!s->session || fuse_session_custom_io(s->session, &io, mine) != 0)
		return err_set(e, -EIO, "libfuse refused the mount");
	TAKE_FD(mine);
	r = notify_start(s, e);
	if (r < 0)
		return r;
	held_restore(s, adopted);
	if (adopted) {
		guest_caches_adopt(s, vms);
		r = replay(s, e);
		if (r < 0)
			return r;
	}
	r = sd_event_add_io(s->config.event, &s->io, fuse_session_fd(s->session), EPOLLIN, on_io, s);
	if (r < 0)
		return err_sys(e, r, "/dev/fuse");
	return 0;
}

int server_start(struct server *s, struct vms *vms, struct err *e)
{
	bool adopted;
	int fd, r;

	r = helper_mount(s->config.helper, &fd, &adopted, e);
	if (r < 0)
		return r;
	return server_start_fd(s, vms, fd, adopted, e);
}
