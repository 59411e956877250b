/*
 * Logins at registries: what `login` and `logout` of images/ctl do. Loop thread; the work is a job's.
 */
#ifndef BANGER_VM_LOGINS_H
#define BANGER_VM_LOGINS_H

#include <stdbool.h>
#include <stdio.h>

#include "vm/objects.h"

/* Whether LINE is one of these verbs; then it is not to be shown to anybody: what may be shown is *RET_SHOWN, the caller's, or NULL where there is no memory. */
bool logins_verb(const char *line, char **ret_shown);

/*
 * "login HOST USER PASSWORD" (the rest of the line): asks the registry, then keeps it for pulls and pushes. "logout HOST". DONE once, unless it fails
 * at once; -EINVAL, -EACCES: the registry won't have it, -ENOENT: nobody was logged in there. Waiters as of objects_verb().
 */
struct logins_waiter;
int logins_run(struct objects *images, const char *line, objects_done_fn done, void *user,
	struct logins_waiter **ret, struct err *e);
void logins_unwait(struct logins_waiter *w);

/* "HOST USER", a line each. */
void logins_show(struct objects *images, FILE *out);

#endif
