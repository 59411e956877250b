/*
 * What the kernel has cached and is no longer so. Where there may be pages it is told by a thread of its own, since the kernel may wait for those whose
 * reading this daemon has yet to answer. An answer that tells of a change is held back until the kernel has heard of it.
 */
#include <errno.h>
#include <signal.h>

#include <linux/fuse.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "fuse/state.h"

#define NOTIFY_INC_EPOCH 8 /* FUSE_NOTIFY_INC_EPOCH, protocol 7.44 */
#define NOTICES_MAX      8192

static void on_heard(void *data)
{
	struct server *s = data;

	atomic_store(&s->posted, false);
	request_release_held(s);
}

static void *notifier(void *arg)
{
	struct server *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->ending) {
		struct notice_list *list = !STAILQ_EMPTY(&s->notices) ? &s->notices : &s->polls;
		struct notice *n = STAILQ_FIRST(list);
		bool poll = n && n->poll;
		uint64_t heard;

		if (!n) {
			pthread_cond_wait(&s->wake, &s->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(list, link);
		pthread_mutex_unlock(&s->lock);
		/* An inode that the kernel does not have (-ENOENT) needs no telling. */
		if (poll) {
			fuse_lowlevel_notify_poll(n->poll);
			fuse_pollhandle_destroy(n->poll);
		} else {
			fuse_lowlevel_notify_inval_inode(s->session, n->node, n->attributes ? -1 : 0, 0);
		}
		free(n);
		pthread_mutex_lock(&s->lock);
		if (poll)
			continue;
		heard = atomic_fetch_add(&s->heard, 1) + 1;
		/* A guest that always has something more to tell holds up nobody's answer. */
		if (heard >= atomic_load(&s->awaited) && !atomic_exchange(&s->posted, true) &&
			job_post(s->config.jobs, on_heard, s) < 0)
			atomic_store(&s->posted, false);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int notify_start(struct server *s, struct err *e)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->notifier, NULL, notifier, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return err_sys(e, -r, "notifier");
	s->has_notifier = true;
	return 0;
}

void notify_stop(struct server *s)
{
	struct notice *n;

	if (s->has_notifier) {
		pthread_mutex_lock(&s->lock);
		s->ending = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->notifier, NULL);
		s->has_notifier = false;
	}
	while ((n = STAILQ_FIRST(&s->notices))) {
		STAILQ_REMOVE_HEAD(&s->notices, link);
		free(n);
	}
	while ((n = STAILQ_FIRST(&s->polls))) {
		STAILQ_REMOVE_HEAD(&s->polls, link);
		fuse_pollhandle_destroy(n->poll);
		free(n);
	}
	atomic_store(&s->heard, s->told);
}

static void tell(struct server *s, uint64_t node, struct fuse_pollhandle *poll, bool attributes)
{
	struct notice *n = s->has_notifier ? malloc(sizeof(*n)) : NULL;

	if (!n) {
		if (poll)
			fuse_pollhandle_destroy(poll);
		return;
	}
	n->node = node;
	n->poll = poll;
	n->attributes = attributes;
	if (!poll)
		s->told++;
	pthread_mutex_lock(&s->lock);
	if (poll)
		STAILQ_INSERT_TAIL(&s->polls, n, link);
	else
		STAILQ_INSERT_TAIL(&s->notices, n, link);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

void notify_stale(void *user, uint64_t node)
{
	struct server *s = user;

	switch (inodes_state(s->inodes, node)) {
	case INODE_ABSENT:
		break;
	case INODE_BARE:
		fuse_lowlevel_notify_inval_inode(s->session, node, -1, 0);
		break;
	case INODE_PAGES:
		tell(s, node, NULL, false);
		break;
	}
}

void notify_pages(struct server *s, uint64_t node)
{
	tell(s, node, NULL, false);
}

bool notify_attributes(struct server *s, uint64_t node)
{
	if (s->told - atomic_load(&s->heard) > NOTICES_MAX)
		return false;
	tell(s, node, NULL, true);
	return true;
}

void notify_names(struct server *s)
{
	struct fuse_out_header h = {.len = sizeof(h), .error = NOTIFY_INC_EPOCH};

	/* A counter of the kernel's: nothing is waited for. */
	if (s->epochs)
		(void)!write(fuse_session_fd(s->session), &h, sizeof(h));
}

void notify_pollable(void *user, struct handle *h)
{
	struct fuse_pollhandle *poll = h->poll;

	if (!poll)
		return;
	h->poll = NULL;
	tell(user, 0, poll, false);
}

struct renumber {
	struct server *s;
	uint64_t parent;
	const char *name;
};

static int work_renumber(void *data, struct err *e)
{
	struct renumber *n = data;

	(void)e;
	fuse_lowlevel_notify_inval_entry(n->s->session, n->parent, n->name, strlen(n->name));
	return 0;
}

static void done_renumber(void *data, int code, struct err *e)
{
	(void)code;
	(void)e;
	free(data);
}

void notify_renumber(struct server *s, uint64_t parent, const char *name)
{
	struct renumber *n = malloc(sizeof(*n));

	if (!n)
		return;
	*n = (struct renumber){s, parent, name};
	if (job_submit(s->config.jobs, work_renumber, done_renumber, n, NULL) < 0)
		free(n);
}
