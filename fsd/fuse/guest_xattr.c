/* Extended attributes of a guest's files: the users' own. What the host's security modules and access lists ask for is not there. */
#include <errno.h>
#include <string.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"

static const char user[] = "user.";

static bool is_user(const char *name)
{
	return strncmp(name, user, sizeof(user) - 1) == 0;
}

static void on_value(void *ask, int code, const void *data, size_t n)
{
	struct ask *a = ask;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	if (a->size == 0)
		fuse_reply_xattr(a->req, n);
	else if (n > a->size)
		fuse_reply_err(a->req, ERANGE);
	else
		fuse_reply_buf(a->req, data, n);
	ask_free(a);
}

void guest_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct agent *agent;
	struct ask *a;

	/* Asked for by the kernel with each write (security.capability) and by ls: the guest need not be. */
	if (!is_user(name)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	a = ask_new(req, ino, &agent);
	if (!a)
		return;
	a->size = size;
	if (guest_is_plain(a->cache, ino)) {
		ask_fail(a, -ENODATA);
		return;
	}
	ask_sent(a, files_getxattr(agent, a->file, name, FILES_XATTR_MAX, on_value, a, &a->request));
}

/* Of the guest's list, what can be asked for here. */
static void on_names(void *ask, int code, const void *data, size_t n)
{
	_cleanup_free_ char *names = NULL;
	struct ask *a = ask;
	const char *at = data;
	size_t have = 0;

	if (code == 0 && n > 0 && at[n - 1] != '\0')
		code = -EPROTO;
	if (code == 0 && n > 0 && !(names = malloc(n)))
		code = -ENOMEM;
	while (code == 0 && n > 0) {
		size_t size = strlen(at) + 1;

		if (is_user(at)) {
			memcpy(names + have, at, size);
			have += size;
		}
		at += size;
		n -= size;
	}
	on_value(a, code, names, have);
}

void guest_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->size = size;
	if (guest_is_plain(a->cache, ino)) {
		on_value(a, 0, "", 0);
		return;
	}
	ask_sent(a, files_listxattr(agent, a->file, on_names, a, &a->request));
}

static void on_set(void *ask, int code)
{
	struct ask *a = ask;

	/* Attributes that were asked for before have come by now. */
	guest_not_plain(a->cache, a->node);
	known_changing(guest_known(a->cache), a->node);
	guest_itself_changed_in_root(a);
	ask_on_code(a, code);
}

/* What changes the attribute NAME of INO; once: made again, XATTR_CREATE would say that it is there. NULL: REQ is answered. */
static struct ask *change_attribute(
	fuse_req_t req, fuse_ino_t ino, const char *name, struct agent **ret_agent)
{
	struct ask *a;

	if (!is_user(name)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return NULL;
	}
	a = ask_new(req, ino, ret_agent);
	if (!a)
		return NULL;
	known_changing(guest_known(a->cache), ino);
	agent_once(*ret_agent, a->s->unique);
	return a;
}

void guest_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct agent *agent;
	struct ask *a = change_attribute(req, ino, name, &agent);

	if (a)
		ask_sent(a, files_setxattr(agent, a->file, name, value, (uint32_t)size, (uint32_t)flags,
				    on_set, a, &a->request));
}

void guest_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct agent *agent;
	struct ask *a = change_attribute(req, ino, name, &agent);

	if (a)
		ask_sent(a, files_removexattr(agent, a->file, name, on_set, a, &a->request));
}
