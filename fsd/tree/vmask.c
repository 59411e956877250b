/* vms/NAME/stats, health and ports: what the host knows, then what the guest says, if it says it soon. */
#include <errno.h>

#include "banger/cleanup.h"
#include "guest/ports.h"
#include "tree/state.h"
#include "tree/tables.h"

#define ASK_MSEC   2000
#define PORTS_MSEC 10000 /* the guest looks through all of its processes */
#define TEXT_MAX   16384

struct ask;

/* A file that the guest is asked for. */
struct question {
	enum agent_type type;
	uint32_t flags; /* the payload, where there are any */
	unsigned msec;
	bool of_host; /* first comes what the host knows */
	/* N bytes of the guest's; or CODE: it has said nothing (-EOPNOTSUPP: it does not run). 0 or -errno, the read's. */
	int (*end)(FILE *out, int code, const void *data, size_t n);
};

struct ask {
	struct tree *t;
	struct handle *h;
	struct call *call;
	uint32_t vm, request;
	const struct question *question;
	bool over;
	bool asking_host; /* the host's part is still on its way; CALL NULL: nobody waits for it any more */
	FILE *out;
	char *text;
	size_t size;
};

/* Flat keyed text is all that a guest can add: printable, whole lines. */
static void copy_lines(FILE *out, const char *text, size_t n)
{
	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		size_t length = end ? (size_t)(end - text) : n;
		bool good = length > 0;

		for (size_t i = 0; i < length && good; i++)
			good = (unsigned char)text[i] >= ' ' && (unsigned char)text[i] < 127;
		if (good)
			fprintf(out, "%.*s\n", (int)length, text);
		length += end != NULL;
		text += length;
		n -= length;
	}
}

static int stats_end(FILE *out, int code, const void *data, size_t n)
{
	if (code == 0)
		copy_lines(out, data, n < TEXT_MAX ? n : TEXT_MAX);
	return 0;
}

static int health_end(FILE *out, int code, const void *data, size_t n)
{
	if (code < 0)
		fputs(code == -EOPNOTSUPP ? "agent none\n" : "agent lost\n", out);
	return stats_end(out, code, data, n);
}

static int ports_end(FILE *out, int code, const void *data, size_t n)
{
	/* Nothing listens where nothing runs. */
	if (code == -EOPNOTSUPP)
		return 0;
	if (code < 0)
		return code == -ENOTCONN ? -EBUSY : code;
	return ports_print(data, n, out) < 0 ? -EIO : 0;
}

static const struct question stats = {AGENT_STATS, 0, ASK_MSEC, true, stats_end},
			     health = {AGENT_HEALTH, 0, ASK_MSEC, false, health_end},
			     ports = {AGENT_PORTS, AGENT_PORTS_FULL, PORTS_MSEC, false, ports_end};

static void ask_end(struct ask *a, int code, const void *data, size_t n)
{
	code = code == -ECANCELED && a->over ? -EINTR : a->question->end(a->out, code, data, n);
	if (fclose(a->out) != 0 && code == 0)
		code = -ENOMEM;
	if (code < 0) {
		free(a->text);
		call_done(a->call, code);
	} else {
		handle_answer(a->h, a->text, a->size, a->call);
	}
	free(a);
}

static void on_reply(void *user, int code, const void *data, size_t n)
{
	ask_end(user, code, data, n);
}

static void on_cancel(struct call *call)
{
	struct ask *a = call->parked;
	struct vm *vm = tree_vm(a->t, a->vm);

	if (a->asking_host) {
		a->call = NULL;
		call_done(call, -EINTR);
		return;
	}
	a->over = true;
	if (vm && vm_agent(vm))
		agent_forget(vm_agent(vm), a->request);
}

static void ask_guest(struct ask *a)
{
	const struct question *q = a->question;
	struct vm *vm = tree_vm(a->t, a->vm);
	struct agent *agent = vm ? vm_agent(vm) : NULL;
	struct agent_part flags = {&q->flags, sizeof(q->flags)};
	struct vm_view v = {0};
	int r;

	if (vm)
		vm_view(vm, &v);
	/* A paused guest cannot answer: it is not waited for. */
	if (!agent || v.state == VM_PAUSED) {
		ask_end(a, v.pid == 0 ? -EOPNOTSUPP : -ENOTCONN, NULL, 0);
		return;
	}
	a->call->parked = a;
	a->call->cancel = on_cancel;
	r = agent_request(
		agent, q->type, 0, &flags, q->flags ? 1 : 0, q->msec, on_reply, a, &a->request, NULL);
	if (r < 0)
		ask_end(a, r, NULL, 0);
}

static void have_host(void *user, const char *text)
{
	struct ask *a = user;

	a->asking_host = false;
	if (!a->call) {
		fclose(a->out);
		free(a->text);
		free(a);
		return;
	}
	fputs(text, a->out);
	ask_guest(a);
}

static void ask(struct tree *t, struct handle *h, struct call *call, const struct question *q)
{
	struct vm *vm = tree_vm(t, (uint32_t)h->at.row);
	struct ask *a = calloc(1, sizeof(*a));

	if (a)
		a->out = open_memstream(&a->text, &a->size);
	if (!a || !a->out) {
		free(a);
		call_done(call, -ENOMEM);
		return;
	}
	a->t = t;
	a->h = h;
	a->call = call;
	a->vm = (uint32_t)h->at.row;
	a->question = q;
	if (!q->of_host) {
		ask_guest(a);
		return;
	}
	a->asking_host = true;
	call->parked = a;
	call->cancel = on_cancel;
	vm_host_stats(vm, have_host, a);
}

void vm_stats_ask(struct tree *t, struct handle *h, struct call *call)
{
	ask(t, h, call, &stats);
}

void vm_health_ask(struct tree *t, struct handle *h, struct call *call)
{
	ask(t, h, call, &health);
}

void vm_ports_ask(struct tree *t, struct handle *h, struct call *call)
{
	ask(t, h, call, &ports);
}
