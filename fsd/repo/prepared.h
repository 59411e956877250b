/*
 * The files of a checkout, by path, in order: as they are on the host, and as they came to be in the guest. Any thread, one at a time.
 */
#ifndef BANGER_REPO_PREPARED_H
#define BANGER_REPO_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "banger/err.h"
#include "banger/workspace_proto.h"

struct filelist_entry {
	char *path;                 /* owned; as it goes over the wire */
	uint32_t mode;              /* type and permissions */
	bool filtered;              /* git keeps something else of it than what stands there; not stored */
	uint8_t seen[WORKSPACE_ID]; /* its state here when it was looked at; not stored */
	uint8_t host
		[WORKSPACE_ID]; /* what tells its contents here; zeros: not known, so that it is brought again */
	uint8_t guest[WORKSPACE_ID]; /* its state there, as the guest told it */
};

struct filelist {
	struct filelist_entry *entries;
	size_t count, room;
};

/* PATH is copied; HOST is SEEN too. -ENOMEM; -EINVAL: no path that can go over the wire. */
int filelist_add(struct filelist *m, const char *path, uint32_t mode, const uint8_t host[WORKSPACE_ID]);
/* By path; of two of the same the first stays. */
void filelist_sort(struct filelist *m);
/* In a sorted one. NULL: it isn't there. */
struct filelist_entry *filelist_find(const struct filelist *m, const char *path);
void filelist_remove(struct filelist *m, struct filelist_entry *entry);
void filelist_clear(struct filelist *m);

/* A repository of the checkout: the checkout's own, and one for each submodule. */
struct prepared_repo {
	char *prefix; /* "": the checkout itself; else "PATH/" */
	char *head;   /* content of its HEAD */
	char *names;  /* the commit that is; "": none yet */
	char *index;  /* the tree of the index; "": it has none (a merge is going on) */
	char *tree;   /* of all files as they were brought */
	char *commit; /* with that tree, which changes in the guest are told against */
};

/* What a workspace was prepared with. Strings are owned, never NULL. */
struct prepared {
	char *source, *ref; /* REF "": the files as they stood */
	bool is_git, dirty;
	uint64_t bytes, when; /* WHEN: seconds since the epoch */
	uint64_t file_count;  /* also when the list wasn't loaded */
	struct prepared_repo *repos;
	size_t repo_count;
	struct filelist files;
};

struct prepared *prepared_free(struct prepared *p);
static inline void prepared_freep(struct prepared **p)
{
	prepared_free(*p);
}
struct prepared *prepared_new(const char *source, const char *ref);
/* Strings are copied; NULL is "". */
int prepared_add_repo(struct prepared *p, const char *prefix, const char *head, const char *names,
	const char *index, const char *tree, const char *commit);
const struct prepared_repo *prepared_repo_find(const struct prepared *p, const char *prefix);

/*
 * The file NAME below DIR. Loading: with FILES the list too. -ENOENT: there is none; -EUCLEAN: it is none.
 */
int prepared_load(int dir, const char *name, bool files, struct prepared **ret, struct err *e);
int prepared_save(const struct prepared *p, int dir, const char *name, struct err *e);
/* The parser, for tests. */
int prepared_parse(const char *text, size_t n, bool files, struct prepared **ret, struct err *e);

#endif
