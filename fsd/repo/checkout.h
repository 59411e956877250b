/*
 * A checkout on the host, or any folder, looked at: which files go into a guest, and the repository that they shall have there.
 * Blocks: workers only.
 *
 * Nothing outside the folder is read but what git itself reads of it (a worktree's repository, the user's configuration), and no link is followed.
 * Names come from git's own index and its rules of what is ignored; of a folder that is no checkout, all of them.
 */
#ifndef BANGER_REPO_CHECKOUT_H
#define BANGER_REPO_CHECKOUT_H

#include "banger/err.h"
#include "job/op.h"
#include "repo/prepared.h"

struct checkout {
	struct prepared *now; /* guest states not yet known */
	int source_fd;        /* where the files of the list are read */
	int git_fd; /* what is to be in the guest besides: repositories, at the places they have there. Negative: nothing */
	char **aside; /* paths that get another name in the guest first; ended by NULL */
	char **notes; /* what was left out, and why; ended by NULL */
	size_t aside_count, note_count;
	/* Of the scan: */
	int scratch_fd;
	char *scratch, *home;
};

/*
 * SOURCE: an absolute path. REF: what is to be brought instead of the files as they stand; "" these. BEFORE (may be NULL): what the guest has, so
 * that of repositories only what is new is made. SCRATCH_FD: an empty folder of the daemon's own, which stays the caller's to remove when the
 * checkout is done with. -ENOENT, -ENOTDIR; -EINVAL no such ref; -EPERM git will not touch it.
 */
int checkout_look(const char *source, const char *ref, const struct prepared *before, int scratch_fd,
	const char *home, struct op *op, struct checkout *ret, struct err *e);
void checkout_clear(struct checkout *c);

/* Whether COMMIT (a guest's word) is in the history of what is brought of REPO. */
bool checkout_contains(const struct checkout *c, const struct prepared_repo *repo, const char *commit);

/* One line for the log. */
int checkout_note(struct checkout *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The commit that REF ("": HEAD) of the checkout at SOURCE is at now, or "". The caller's. */
int checkout_head(const char *source, const char *ref, const char *home, char **ret, struct err *e);

#endif
