/* Whether a registry knows somebody. */
#include <errno.h>

#include "registry/auth.h"
#include "registry/session.h"

int registry_login(struct registry *r, const struct hosts_config *hosts, const char *host,
	const struct credentials *c, struct op *op, struct err *e)
{
	/* A mirror would be asked in the registry's stead, and told its password. */
	const struct hosts_config own = {.insecure = hosts->insecure, .home = hosts->home};
	const int stops[HTTP_STOPS] = {op_cancel_fd(op), -1};
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	_cleanup_(session_freep) struct session *s = NULL;
	_cleanup_(http_freep) struct http *h = NULL;
	struct http_request request = {.url = "", .body_max = 64 * 1024};
	int code = http_new(stops, &h, e);

	if (code == 0)
		code = session_new(r, &own, host, NULL, "pull", op, &s, e);
	if (code < 0)
		return code;
	s->as = c;
	code = session_reach(s, h, &request, &a, e);
	if (code < 0)
		return code;
	if (a.status == 401 || a.status == 403)
		return err_set(e, -EACCES, "%s doesn't know \"%s\", or the password is wrong", host,
			c->user ? c->user : "");
	if (a.status != 200)
		return session_refused(s, "registry by the OCI protocol (/v2/)", &a, e);
	/* Whoever was let in before may have been somebody else. */
	registry_forget(r);
	return 0;
}
