#include <arpa/inet.h>
#include <errno.h>

#include "banger/io.h"
#include "guest/ports.h"
#include "vm/listeners.h"
#include "vm/model.h"
#include "vm/publish.h"

#define ASK_MSEC 10000

struct listener {
	uint8_t family, address[16];
	uint16_t port;
};

struct listeners {
	unsigned wanted;
	bool known;          /* what listens is: what differs is told */
	struct agent *agent; /* that watches; compared only */
	bool asking, again;  /* a question is under way; what it finds may be old */
	uint32_t request;
	uint64_t asked_at;
	sd_event_source *later;
	struct listener *list; /* in order, each once */
	size_t count;
	uint16_t ports[AGENT_PORTS_MAX]; /* of loopback */
	size_t port_count;
};

struct question {
	struct vms *vms;
	uint32_t id;
};

static int compare(const void *a, const void *b)
{
	const struct listener *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return memcmp(x->address, y->address, sizeof(x->address));
}

static void tell(struct vm *vm, const struct listener *l, bool listens)
{
	char address[INET6_ADDRSTRLEN] = "", line[INET6_ADDRSTRLEN + 32];

	if (!vm->vms->watch.port || !vm->listeners->known)
		return;
	inet_ntop(l->family == 4 ? AF_INET : AF_INET6, l->address, address, sizeof(address));
	snprintf(line, sizeof(line), "%s %u %s\n", listens ? "listen" : "close", l->port, address);
	vm->vms->watch.port(vm->vms->user, vm, line);
}

/* NEW, in order, is what listens now; taken. */
static void replace(struct vm *vm, struct listener *new, size_t count)
{
	struct listeners *w = vm->listeners;
	size_t i = 0, k = 0;

	while (i < w->count || k < count) {
		int order = i == w->count ? 1 : k == count ? -1 : compare(&w->list[i], &new[k]);

		if (order != 0)
			tell(vm, order < 0 ? &w->list[i] : &new[k], order > 0);
		i += order <= 0;
		k += order >= 0;
	}
	free(w->list);
	w->list = new;
	w->count = count;
}

/* -EPROTO: not a word of it is believed. */
static int take(struct vm *vm, const uint8_t *data, size_t n)
{
	struct listeners *w = vm->listeners;
	struct listener *list = calloc(AGENT_PORTS_MAX, sizeof(*list));
	struct guest_port g;
	size_t count = 0, kept = 0;
	int r = list ? 0 : -ENOMEM;

	while (r >= 0 && (r = ports_next(&data, &n, &g)) > 0) {
		if (count == AGENT_PORTS_MAX)
			r = -EPROTO;
		else
			list[count++] = (struct listener){.family = g.port.family, .port = g.port.port};
		if (r > 0)
			memcpy(list[count - 1].address, g.port.address, sizeof(g.port.address));
	}
	if (r < 0) {
		free(list);
		return r;
	}
	qsort(list, count, sizeof(*list), compare);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || compare(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
	replace(vm, list, kept);
	w->known = true;
	w->port_count = 0;
	for (size_t i = 0; i < kept; i++)
		if (ports_on_loopback(list[i].family, list[i].address) &&
			(w->port_count == 0 || w->ports[w->port_count - 1] != list[i].port))
			w->ports[w->port_count++] = list[i].port;
	publish_listeners(vm);
	return 0;
}

static void ask(struct vm *vm);

static void on_answer(void *user, int code, const void *data, size_t n)
{
	struct question *q = user;
	struct vm *vm = vms_get(q->vms, q->id);
	struct listeners *w = vm ? vm->listeners : NULL;

	free(q);
	if (!w)
		return;
	w->asking = false;
	if (code == 0 && take(vm, data, n) < 0)
		vm_log(vm, "ports: the guest broke the protocol");
	if (w->again && w->agent)
		ask(vm);
}

static int on_later(sd_event_source *s, uint64_t usec, void *user)
{
	struct vm *vm = user;

	(void)s;
	(void)usec;
	vm->listeners->later = sd_event_source_disable_unref(vm->listeners->later);
	ask(vm);
	return 0;
}

/* Whatever the guest says, not more often than it was asked to. */
static void ask(struct vm *vm)
{
	struct listeners *w = vm->listeners;
	uint64_t next = w->asked_at + LISTENERS_MSEC * 1000;
	uint32_t flags = 0;
	struct question *q;

	w->again = w->asking;
	if (w->asking || w->later)
		return;
	if (w->asked_at > 0 && io_now_usec() < next) {
		sd_event_add_time(vm->vms->event, &w->later, CLOCK_MONOTONIC, next, 1000, on_later, vm);
		return;
	}
	q = malloc(sizeof(*q));
	if (!q)
		return;
	*q = (struct question){vm->vms, vm->row.id};
	w->asked_at = io_now_usec();
	w->asking = true;
	if (agent_request(w->agent, AGENT_PORTS, 0, &(struct agent_part){&flags, sizeof(flags)}, 1, ASK_MSEC,
		    on_answer, q, &w->request, NULL) < 0) {
		w->asking = false;
		free(q);
	}
}

static void on_changed(void *user, const void *data, size_t n)
{
	struct vm *vm = user;

	(void)data;
	(void)n;
	if (vm->listeners && vm->listeners->agent)
		ask(vm);
}

static void on_nothing(void *user, int code, const void *data, size_t n)
{
	(void)user;
	(void)code;
	(void)data;
	(void)n;
}

static void set_watch(struct vm *vm, struct agent *agent, uint32_t msec)
{
	agent_on_ports(agent, msec ? on_changed : NULL, vm);
	agent_request(agent, AGENT_PORTS_WATCH, 0, &(struct agent_part){&msec, sizeof(msec)}, 1, ASK_MSEC,
		on_nothing, NULL, NULL, NULL);
}

void listeners_check(struct vm *vm)
{
	struct listeners *w = vm->listeners;

	if (!w || w->agent == vm->agent)
		return;
	/* A question to an agent that went has had its answer. */
	w->agent = vm->agent;
	w->later = sd_event_source_disable_unref(w->later);
	if (!w->agent)
		return;
	set_watch(vm, w->agent, LISTENERS_MSEC);
	w->asked_at = 0;
	ask(vm);
}

void listeners_end(struct vm *vm)
{
	struct listeners *w = vm->listeners;

	if (!w)
		return;
	replace(vm, NULL, 0);
	w->known = true;
	w->port_count = 0;
	w->agent = NULL;
	w->later = sd_event_source_disable_unref(w->later);
}

void listeners_free(struct vm *vm)
{
	struct listeners *w = vm->listeners;

	vm->listeners = NULL;
	if (!w)
		return;
	sd_event_source_disable_unref(w->later);
	free(w->list);
	free(w);
}

void vm_ports_watch(struct vm *vm)
{
	if (!vm->listeners) {
		vm->listeners = calloc(1, sizeof(*vm->listeners));
		if (!vm->listeners)
			return;
		/* Where nothing runs nothing listens; otherwise the first answer says what is so from here on. */
		vm->listeners->known = vm->pidfd < 0;
	}
	vm->listeners->wanted++;
	listeners_check(vm);
}

void vm_ports_unwatch(struct vm *vm)
{
	struct listeners *w = vm->listeners;

	if (!w || --w->wanted > 0)
		return;
	if (w->agent) {
		set_watch(vm, w->agent, 0);
		if (w->asking)
			agent_forget(w->agent, w->request);
	}
	listeners_free(vm);
}

const uint16_t *listeners_ports(const struct vm *vm, size_t *ret_n)
{
	*ret_n = vm->listeners ? vm->listeners->port_count : 0;
	return vm->listeners ? vm->listeners->ports : NULL;
}
