/* The calls about root disks. */
#include <errno.h>
#include <fcntl.h>

#include "calls_state.h"
#include "check.h"

int call_storage(struct call *c, struct err *e)
{
	(void)c;
	return disk_probe(e);
}

int call_disk(struct call *c, struct err *e)
{
	struct journal_vm *slot = journal_find(c->s->journal, c->q->vm);
	uint32_t what = c->q->u.disk.what;
	int r;

	if (what > HELPER_DISK_WRITE || c->nfds != (what == HELPER_DISK_OFF ? 0 : DISK_FD_COUNT))
		return err_set(e, -EINVAL, "disk: %u with %zu descriptors", what, c->nfds);
	if ((r = calls_idle(c->s, slot, e)) < 0)
		return r;
	if (what == HELPER_DISK_OFF)
		return slot ? disk_remove(&c->s->disk, slot, e) : 0;
	if ((r = check_disk_fds(c->fds, c->s->inst->owner, e)) < 0 ||
		(r = disk_make(&c->s->disk, c->q->vm, c->fds[DISK_FD_IMAGE], c->fds[DISK_FD_COW],
			 c->q->u.disk.size, e)) < 0)
		return r;
	slot = journal_find(c->s->journal, c->q->vm);
	r = disk_open(slot, what == HELPER_DISK_WRITE ? O_RDWR : O_RDONLY, &c->ret_fd, e);
	if (r < 0)
		disk_remove(&c->s->disk, slot, NULL);
	c->ret_owned = 1;
	return r;
}

int call_disk_status(struct call *c, struct err *e)
{
	struct snapshot_status status;
	int r = disk_status(&c->s->disk, journal_find(c->s->journal, c->q->vm), &status, e);

	if (r < 0)
		return r;
	c->reply->u.disk.used = status.used;
	c->reply->u.disk.size = status.size;
	c->reply->u.disk.state = status.state;
	return 0;
}
