/* wait/STATE: a read returns when the VM is in that state. */
#include <errno.h>
#include <poll.h>

#include "banger/cleanup.h"
#include "tree/state.h"

/* Row of the attribute: the state, or this one. */
#define READY "ready"

#define AT_ONCE 64 /* of those who wait: some tenths of a millisecond */

static bool holds(struct tree *t, const struct handle *h)
{
	struct vm *vm = tree_vm(t, (uint32_t)h->at.row);
	const char *wanted = h->at.attr->name;
	struct vm_view view;

	if (!vm)
		return false;
	if (strcmp(wanted, READY) == 0)
		return vm_agent(vm) != NULL;
	vm_view(vm, &view);
	return strcmp(vm_state_name(view.state), wanted) == 0;
}

static void answer(struct handle *h, struct call *call)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "%s\n", h->at.attr->name);

	call_data(call, line, (size_t)n < call->size ? (size_t)n : call->size);
}

static void wait_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	(void)size;
	if (offset > 0)
		call_data(call, NULL, 0);
	else if (!tree_vm(t, (uint32_t)h->at.row))
		call_done(call, -ESTALE);
	else if (holds(t, h))
		answer(h, call);
	else
		handle_park(h, call);
}

static int wait_open(struct tree *t, struct handle *h)
{
	LIST_INSERT_HEAD(&t->waiting, h, link);
	return 0;
}

static void wait_release(struct tree *t, struct handle *h)
{
	(void)t;
	LIST_REMOVE(h, link);
	handle_wake(h, -EINTR);
}

static unsigned wait_poll(struct tree *t, struct handle *h)
{
	return holds(t, h) ? POLLIN | POLLRDNORM : 0;
}

static void wake(struct tree *t, struct handle *h)
{
	struct call *call;

	if (!tree_vm(t, (uint32_t)h->at.row))
		handle_wake(h, -ESTALE);
	while ((call = TAILQ_FIRST(&h->parked))) {
		TAILQ_REMOVE(&h->parked, call, link);
		answer(h, call);
	}
	if (h->poll)
		t->listener->pollable(t->user, h);
}

/* Ten thousand answers take long enough for others to notice: they get their turns between the pieces. */
static int wake_some(sd_event_source *source, void *user)
{
	struct tree *t = user;
	struct handle *h;

	for (unsigned i = 0; i < AT_ONCE && (h = LIST_FIRST(&t->due)); i++) {
		LIST_REMOVE(h, link);
		LIST_INSERT_HEAD(&t->waiting, h, link);
		wake(t, h);
	}
	if (LIST_EMPTY(&t->due)) {
		t->waking = sd_event_source_disable_unref(t->waking);
		return 0;
	}
	if (!source && !t->waking && sd_event_add_defer(t->config.event, &t->waking, wake_some, t) < 0)
		return wake_some(NULL, t);
	return t->waking ? sd_event_source_set_enabled(t->waking, SD_EVENT_ONESHOT) : 0;
}

void wait_check(struct tree *t, uint32_t vm)
{
	bool gone = !tree_vm(t, vm);
	struct handle *h, *next;

	for (h = LIST_FIRST(&t->waiting); h; h = next) {
		next = LIST_NEXT(h, link);
		if (h->at.row != vm || (TAILQ_EMPTY(&h->parked) && !h->poll) || (!gone && !holds(t, h)))
			continue;
		/* What it waited for has been so, whatever comes before its turn. */
		LIST_REMOVE(h, link);
		LIST_INSERT_HEAD(&t->due, h, link);
	}
	wake_some(NULL, t);
}

const struct file_ops wait_ops = {
	.open = wait_open,
	.release = wait_release,
	.read = wait_read,
	.poll = wait_poll,
};
