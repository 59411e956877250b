/* host/dns: how names are asked for, then whether systemd-resolved does so, which a worker asks it. */
#include <errno.h>

#include "banger/cleanup.h"
#include "net/address.h"
#include "net/resolved.h"
#include "tree/state.h"
#include "tree/tables.h"

struct ask {
	struct handle *h;
	struct call *call;
	char *how, *bridge;
	uint32_t address;
	uint16_t port;
};

static void ask_end(struct ask *a, const char *routed)
{
	char *text = NULL;
	int n = asprintf(&text, "%s%s%s\n", a->how, *routed ? "; " : "", routed);

	if (n < 0)
		call_done(a->call, -ENOMEM);
	else
		handle_answer(a->h, text, (size_t)n, a->call);
	free(a->how);
	free(a->bridge);
	free(a);
}

static int work(void *data, struct err *e)
{
	const struct ask *a = data;

	return resolved_check(a->bridge, a->address, a->port, e);
}

static void done(void *data, int code, struct err *e)
{
	ask_end(data, code < 0 ? err_text(e) : "systemd-resolved asks there");
}

static char *fact(struct tree *t, const char *name)
{
	const char *value = t->config.host_fact(t->config.user, name);

	return value ? strdup(value) : NULL;
}

void host_dns_ask(struct tree *t, struct handle *h, struct call *call)
{
	_cleanup_free_ char *place = fact(t, "dns_place");
	struct ask *a = calloc(1, sizeof(*a));

	if (a) {
		a->h = h;
		a->call = call;
		a->how = fact(t, "dns");
		a->bridge = fact(t, "bridge");
	}
	if (!a || !a->how || !a->bridge) {
		if (a) {
			free(a->how);
			free(a->bridge);
		}
		free(a);
		call_done(call, -ENOMEM);
		return;
	}
	/* It is over within resolved_check()'s two seconds: nothing to cancel. */
	if (!place || dns_place_parse(place, &a->address, &a->port, NULL) < 0 ||
		job_submit(t->config.jobs, work, done, a, NULL) < 0)
		ask_end(a, "");
}
