#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "guest/bring.h"
#include "repo/homefiles.h"
#include "vm/model.h"
#include "vm/sync.h"
#include "vm/talk.h"

#define SYNCED     "synced"
#define SYNCED_MAX (64u << 20)
#define GIT_MSEC   10000
#define GIT_CONFIG "root/.gitconfig"
#define HUSH       "root/.hushlogin"
#define LIMIT_USEC 120000000 /* for a guest that takes nothing */

/* As it is on disk: what the host's and the guest's file were when they were the same. */
struct synced {
	uint8_t host[WORKSPACE_ID], guest[WORKSPACE_ID];
	uint32_t length; /* of the path, which follows */
} __attribute__((packed));

struct sync_waiter {
	struct talk *talk;
	sd_event_source *limit;
	struct vms *vms;
	uint32_t vm;
	vm_done_fn done;
	void *user;
	/* The worker's: */
	char *entries, *home;
	int dir_fd;
	struct homefiles files;
	struct bring bring;
	uint64_t sent, bytes;
};

static void waiter_free(struct sync_waiter *w)
{
	sd_event_source_disable_unref(w->limit);
	homefiles_clear(&w->files);
	free(w->entries);
	free(w->home);
	close_fd(w->dir_fd);
	free(w);
}

/* The record of PATH in N bytes of DATA, or NULL. */
static const struct synced *find(const char *data, size_t n, const char *path)
{
	size_t length = strlen(path);

	while (n >= sizeof(struct synced)) {
		const struct synced *s = (const struct synced *)data;
		size_t whole = sizeof(*s) + s->length;

		if (s->length > WORKSPACE_PATH_MAX || whole > n)
			return NULL;
		if (s->length == length && memcmp(data + sizeof(*s), path, length) == 0)
			return s;
		data += whole;
		n -= whole;
	}
	return NULL;
}

/* "[user]" of what the owner's git would sign with; NULL: nothing. */
static char *git_config(const struct sync_waiter *w)
{
	static const char *const keys[] = {"user.name", "user.email"};
	_cleanup_free_ char *home = NULL;
	char *text = NULL;
	size_t n;
	FILE *out;
	bool any = false;

	if (!w->home || asprintf(&home, "HOME=%s", w->home) < 0) {
		home = NULL;
		return NULL;
	}
	out = open_memstream(&text, &n);
	if (!out)
		return NULL;
	fputs("[user]\n", out);
	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		const char *const argv[] = {"git", "config", "--global", "--get", keys[i], NULL};
		const char *const env[] = {home, "PATH=/usr/bin:/bin", NULL};
		struct proc_spec spec = PROC_SPEC_INIT;
		_cleanup_free_ char *value = NULL;

		spec.argv = argv;
		spec.env = env;
		spec.timeout_msec = GIT_MSEC;
		if (proc_run(&spec, &value, NULL, NULL, NULL) < 0 || !value)
			continue;
		value[strcspn(value, "\n")] = '\0';
		fprintf(out, "\t%s = \"", keys[i] + strlen("user."));
		for (const char *p = value; *p; p++)
			fprintf(out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
		fputs("\"\n", out);
		any = true;
	}
	if (fclose(out) != 0 || !any) {
		free(text);
		return NULL;
	}
	return text;
}

/* A file of ours, where the guest has none of that name. */
static int bring_unless_there(struct sync_waiter *w, const char *path, const char *text, struct err *e)
{
	return bring_bytes(&w->bring, path, WORKSPACE_UNLESS_THERE | 0644, text, strlen(text), e);
}

/* SAME: those that neither side has changed. */
static int compare(struct sync_waiter *w, const char *before, size_t n, bool *same, struct err *e)
{
	const struct homefiles *h = &w->files;
	const char **paths = calloc(h->count + 1, sizeof(*paths));
	uint8_t(*states)[WORKSPACE_ID] = calloc(h->count + 1, sizeof(*states));
	size_t *which = calloc(h->count + 1, sizeof(*which)), asked = 0;
	bool *still = calloc(h->count + 1, sizeof(*still));
	int r = paths && states && which && still ? 0 : err_sys(e, -ENOMEM, "file_sync");

	for (size_t i = 0; r == 0 && i < h->count; i++) {
		const struct homefile *f = &h->files[i];
		const struct synced *s = S_ISREG(f->mode) ? find(before, n, f->path) : NULL;

		if (!s || memcmp(s->host, f->state, WORKSPACE_ID) != 0)
			continue;
		paths[asked] = f->path;
		memcpy(states[asked], s->guest, WORKSPACE_ID);
		which[asked++] = i;
	}
	if (r == 0)
		r = bring_compare(&w->bring, paths, (const uint8_t(*)[WORKSPACE_ID])states, asked, still, e);
	for (size_t i = 0; r == 0 && i < asked; i++)
		same[which[i]] = still[i];
	free(paths);
	free(states);
	free(which);
	free(still);
	return r;
}

static int bring_one(struct sync_waiter *w, const struct homefile *f, struct err *e)
{
	_cleanup_close_ int fd = homefiles_open(&w->files, f);
	uint64_t n;
	int r;

	if (fd < 0)
		return err_set(e, fd, "/%s: it changed while it was read: %s", f->path, strerror(-fd));
	r = bring_file(&w->bring, f->path, f->mode & 07777, f->mtime, fd, HOMEFILES_BYTES_MAX, &n, e);
	if (r == 0) {
		w->sent++;
		w->bytes += n;
	}
	return r;
}

static int save(struct sync_waiter *w, const char *before, size_t n, const bool *same,
	uint8_t (*states)[WORKSPACE_ID], struct err *e)
{
	const struct homefiles *h = &w->files;
	_cleanup_free_ char *text = NULL;
	size_t size, at = 0;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return err_sys(e, -ENOMEM, SYNCED);
	for (size_t i = 0; i < h->count; i++) {
		const struct homefile *f = &h->files[i];
		struct synced s = {.length = (uint32_t)strlen(f->path)};

		if (!S_ISREG(f->mode))
			continue;
		memcpy(s.host, f->state, WORKSPACE_ID);
		memcpy(s.guest, same[i] ? find(before, n, f->path)->guest : states[at++], WORKSPACE_ID);
		fwrite(&s, sizeof(s), 1, out);
		fputs(f->path, out);
	}
	r = fclose(out) == 0 ? 0 : err_sys(e, -ENOMEM, SYNCED);
	return r < 0 ? r : io_replace_file(w->dir_fd, SYNCED, text, size, 0600, e);
}

static int send_all(struct sync_waiter *w, const char *before, size_t n, struct err *e)
{
	const struct homefiles *h = &w->files;
	_cleanup_free_ bool *same = calloc(h->count + 1, sizeof(*same));
	uint8_t(*states)[WORKSPACE_ID] = calloc(h->count + 2, sizeof(*states));
	_cleanup_free_ char *git = git_config(w);
	size_t ours = 0;
	int r = same && states ? compare(w, before, n, same, e) : err_sys(e, -ENOMEM, "file_sync");

	for (size_t i = 0; r == 0 && i < h->count; i++) {
		const struct homefile *f = &h->files[i];
		uint32_t mode = f->mode & 07777;

		if (S_ISDIR(f->mode))
			r = bring_say(&w->bring, WORKSPACE_FOLDER, &mode, sizeof(mode), f->path,
				strlen(f->path), e);
		else if (!same[i])
			r = bring_one(w, f, e);
	}
	/* After the owner's own files of these names. */
	if (r == 0) {
		r = bring_unless_there(w, HUSH, "", e);
		ours++;
	}
	if (r == 0 && git) {
		r = bring_unless_there(w, GIT_CONFIG, git, e);
		ours++;
	}
	if (r == 0)
		r = bring_end(&w->bring, states, w->sent + ours, e);
	if (r == 0)
		r = save(w, before, n, same, states, e);
	free(states);
	return r;
}

static int work(void *data, int sock, struct err *e)
{
	struct sync_waiter *w = data;
	_cleanup_free_ char *before = NULL;
	size_t n = 0;
	int r = 0;

	if (io_read_file(w->dir_fd, SYNCED, SYNCED_MAX, &before, &n, NULL) < 0)
		n = 0;
	if (w->home && *w->entries)
		r = homefiles_look(w->home, w->entries, &w->files, e);
	if (r == 0)
		r = bring_begin(&w->bring, sock, 0, e);
	return r < 0 ? r : send_all(w, before, n, e);
}

static void on_done(void *data, int code, int exit, struct err *e)
{
	struct sync_waiter *w = data;
	struct vm *vm = vms_get(w->vms, w->vm);

	(void)exit;
	if (code < 0)
		err_wrap(e, "file_sync");
	if (vm) {
		vm->syncing = NULL;
		for (size_t i = 0; i < w->files.note_count; i++)
			vm_log(vm, "file_sync: %s", w->files.notes[i]);
		if (code < 0)
			vm_log(vm, "%s", err_text(e));
		else if (w->sent > 0)
			vm_log(vm, "file_sync: %" PRIu64 " files brought, %" PRIu64 " bytes", w->sent,
				w->bytes);
	}
	w->done(w->user, code, e);
	waiter_free(w);
}

static int on_limit(sd_event_source *s, uint64_t usec, void *user)
{
	(void)s;
	(void)usec;
	vm_sync_cancel(user);
	return 0;
}

int vm_sync(struct vm *vm, vm_done_fn done, void *user, struct sync_waiter **ret, struct err *e)
{
	static const char *const argv[] = {TALK_GUEST, "workspace", "receive", "/", NULL};
	struct sync_waiter *w;
	int r;

	if (vm->syncing)
		return err_set(e, -EBUSY, "sync: it is being done already");
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_sys(e, -ENOMEM, "sync");
	*w = (struct sync_waiter){
		.vms = vm->vms, .vm = vm->row.id, .done = done, .user = user, .dir_fd = -EBADF};
	w->entries = strdup(settings_get(vm->vms->config.settings, "file_sync"));
	w->home = vm->vms->config.home ? strdup(vm->vms->config.home) : NULL;
	r = w->entries ? vm_open_dir(vm->vms, vm->row.id, &w->dir_fd, e) : err_sys(e, -ENOMEM, "sync");
	if (r == 0)
		r = talk_begin(vm, argv, work, on_done, w, &w->talk, e);
	if (r < 0) {
		waiter_free(w);
		return r;
	}
	sd_event_add_time_relative(vm->vms->event, &w->limit, CLOCK_MONOTONIC, LIMIT_USEC, 0, on_limit, w);
	vm->syncing = w;
	*ret = w;
	return 0;
}

void vm_sync_cancel(struct sync_waiter *w)
{
	talk_cancel(w->talk);
}
