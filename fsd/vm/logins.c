#include <errno.h>

#include "banger/cleanup.h"
#include "registry/pull.h"
#include "registry/reference.h"
#include "vm/config.h"
#include "vm/logins.h"
#include "vm/objects_model.h"

#define USAGE "wanted: login HOST USER PASSWORD, or logout HOST"

struct logins_waiter {
	struct objects *images;
	struct op *op;
	bool out;
	char *host, *insecure;
	struct credentials *credentials;
	objects_done_fn done; /* NULL: nobody waits any more */
	void *user;
};

static void waiter_free(struct logins_waiter *w)
{
	if (w->op) {
		op_end(w->op);
		op_unref(w->op);
	}
	credentials_free(w->credentials);
	free(w->host);
	free(w->insecure);
	free(w);
}

bool logins_verb(const char *line, char **ret_shown)
{
	int n = 0;

	if (strncmp(line, "login", 5) != 0 && strncmp(line, "logout", 6) != 0)
		return false;
	/* The verb and two words; the third is the secret. */
	for (int words = 0; words < 3 && line[n]; words++)
		n += (int)strcspn(line + n, " ") + (line[n + (int)strcspn(line + n, " ")] ? 1 : 0);
	if (asprintf(ret_shown, "%.*s", n, line) < 0)
		*ret_shown = NULL;
	return true;
}

static int work(void *data, struct err *e)
{
	struct logins_waiter *w = data;
	struct registry *registry = w->images->sources.registry;
	const struct credentials_places *places = w->images->sources.places;
	struct hosts_config hosts = {.insecure = w->insecure, .mirrors = "", .home = places->home};
	int r;

	if (w->out) {
		registry_forget(registry);
		return credentials_forget(places, w->host, e);
	}
	r = registry_login(registry, &hosts, w->host, w->credentials, w->op, e);
	return r < 0 ? r : credentials_save(places, w->host, w->credentials, e);
}

static void done(void *data, int code, struct err *e)
{
	struct logins_waiter *w = data;

	if (w->done)
		w->done(w->user, code, e);
	waiter_free(w);
}

/* HOST as a reference has it. */
static int check_host(const char *host, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "%s/x", host) < 0) {
		text = NULL;
		return err_sys(e, -ENOMEM, "login");
	}
	if (reference_parse(text, &ref, NULL) < 0 || strcmp(ref->host, host) != 0)
		return err_set(e, -EINVAL,
			"'%.64s' is no registry: HOST or HOST:PORT, as in docker.io or localhost:5000", host);
	return 0;
}

static int parse(struct logins_waiter *w, const char *line, struct err *e)
{
	_cleanup_free_ char *copy = strdup(line);
	char *rest = copy, *verb = strsep(&rest, " "), *host = rest ? strsep(&rest, " ") : NULL, *user;
	int r;

	w->out = verb && strcmp(verb, "logout") == 0;
	if (!host || (!w->out && strcmp(verb, "login") != 0) || (w->out && rest))
		return err_set(e, -EINVAL, USAGE);
	r = check_host(host, e);
	if (r < 0)
		return r;
	w->host = strdup(host);
	w->insecure = strdup(settings_get(w->images->sources.settings, "registry_insecure"));
	if (!w->host || !w->insecure)
		return err_sys(e, -ENOMEM, "login");
	if (w->out)
		return 0;
	user = rest ? strsep(&rest, " ") : NULL;
	if (!user || !*user || !rest || !*rest)
		return err_set(e, -EINVAL, USAGE);
	w->credentials = calloc(1, sizeof(*w->credentials));
	if (!w->credentials || !(w->credentials->user = strdup(user)) ||
		!(w->credentials->password = strdup(rest)))
		return err_sys(e, -ENOMEM, "login");
	explicit_bzero(rest, strlen(rest));
	return 0;
}

int logins_run(struct objects *images, const char *line, objects_done_fn fn, void *user,
	struct logins_waiter **ret, struct err *e)
{
	struct logins_waiter *w = calloc(1, sizeof(*w));
	_cleanup_free_ char *target = NULL;
	int r;

	if (!w)
		return err_sys(e, -ENOMEM, "login");
	*w = (struct logins_waiter){.images = images, .done = fn, .user = user};
	r = parse(w, line, e);
	if (r == 0 && asprintf(&target, "registry %s", w->host) < 0) {
		target = NULL;
		r = err_sys(e, -ENOMEM, "login");
	}
	if (r == 0)
		r = op_begin(images->ops, w->out ? "logout" : "login", target, &w->op, e);
	if (r == 0)
		r = job_submit(images->jobs, work, done, w, e);
	if (r < 0) {
		waiter_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void logins_unwait(struct logins_waiter *w)
{
	_cleanup_err_ struct err e = {0};
	objects_done_fn fn = w->done;

	w->done = NULL;
	op_cancel(w->op);
	err_set(&e, -EINTR, "cancelled");
	fn(w->user, -EINTR, &e);
}

static int show(void *user, const char *host, const char *name)
{
	fprintf(user, "%s %s\n", host, name);
	return 0;
}

void logins_show(struct objects *images, FILE *out)
{
	credentials_each(images->sources.places, show, out, NULL);
}
