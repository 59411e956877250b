/* What an archive says of an image's files, entry by entry: read in one place, done in another. */
#ifndef BANGER_IMAGE_CHANGE_H
#define BANGER_IMAGE_CHANGE_H

#include "image/tree.h"

enum change_kind {
	CHANGE_PUT,      /* INODE at PATH, as itree_put() */
	CHANGE_LINK,     /* PATH is a hard link to TARGET, as itree_link() */
	CHANGE_WHITEOUT, /* TARGET goes, as itree_whiteout(); PATH says so */
	CHANGE_OPAQUE,   /* what is in TARGET goes, as itree_opaque() */
};

struct change {
	enum change_kind kind;
	char *path; /* the entry's, as it stands in the archive */
	char *target;
	struct inode *inode;
};
void change_clear(struct change *c);

/* C (cleared, also on failure) done to T. Errors name the entry. */
int change_apply(struct itree *t, struct change *c, struct err *e);
/* E names the entry PATH from then on. */
void change_wrap(struct err *e, const char *path);
/* PATH as errors show it: it goes to terminals and logs. Cut off at SIZE. */
#define CHANGE_SHOWN 256
void change_show(const char *path, char *ret, size_t size);

/* Where changes go, in the archive's order; C is taken (cleared, also on failure), errors name the entry. */
struct change_sink {
	int (*take)(void *user, struct change *c, struct err *e);
	void *user;
};

#endif
