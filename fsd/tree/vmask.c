/* vms/NAME/stats and health: what the host knows, then what the guest says, if it says it soon. */
#include <errno.h>

#include "banger/cleanup.h"
#include "tree/state.h"
#include "tree/tables.h"

#define ASK_MSEC 2000
#define TEXT_MAX 16384

struct ask {
	struct tree *t;
	struct handle *h;
	struct call *call;
	uint32_t vm, request;
	bool health, over;
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

static void ask_end(struct ask *a, int code, const void *data, size_t n)
{
	if (code == -ECANCELED && a->over) {
		code = -EINTR;
	} else {
		if (a->health && code < 0)
			fputs(code == -EOPNOTSUPP ? "agent none\n" : "agent lost\n", a->out);
		if (code == 0)
			copy_lines(a->out, data, n < TEXT_MAX ? n : TEXT_MAX);
		code = 0;
	}
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
	struct vm *vm = tree_vm(a->t, a->vm);
	struct agent *agent = vm ? vm_agent(vm) : NULL;
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
	r = agent_request(agent, a->health ? AGENT_HEALTH : AGENT_STATS, 0, NULL, 0, ASK_MSEC, on_reply, a,
		&a->request, NULL);
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

static void ask(struct tree *t, struct handle *h, struct call *call, bool health)
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
	a->health = health;
	if (health) {
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
	ask(t, h, call, false);
}

void vm_health_ask(struct tree *t, struct handle *h, struct call *call)
{
	ask(t, h, call, true);
}
