/*
 * The files of host/: what this daemon found out about its host, each asked for anew where it can change.
 */
#ifndef BANGER_FSD_FACTS_H
#define BANGER_FSD_FACTS_H

struct dns;
struct helper;
struct helper_hello;
struct settings;

/* All are the daemon's, and live longer. */
struct facts {
	const struct settings *settings;
	int run_fd; /* where proofs of the accelerator are kept */
	struct helper *helper;
	const struct helper_hello *hello;
	const char *ssh_key; /* NULL: there is none */
	struct dns *dns;     /* NULL: not yet */
	char *last;          /* what facts_get() answered last */
};

/* The fact NAME, valid until the next call; NULL: not known. The loop's thread; may wait for the helper's answer. */
const char *facts_get(struct facts *f, const char *name);
void facts_clear(struct facts *f);

#endif
