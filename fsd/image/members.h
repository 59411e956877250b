/*
 * The members of an image's archive: a tar, packed or not, of an OCI layout, or what `docker save` writes. A confined child looks where they are;
 * those of a packed one it copies out of it into one file, the spool. At the spool's end it leaves a table of them; who has to do with images picks
 * what it needs by name.
 *
 * No name from inside is ever opened. A file that changes meanwhile, or a child that lies, leads to contents that don't have their digests.
 */
#ifndef BANGER_IMAGE_MEMBERS_H
#define BANGER_IMAGE_MEMBERS_H

#include "image/image.h"

#define MEMBERS_MAX     20000u
#define MEMBER_NAME_MAX 255

struct member {
	char name[MEMBER_NAME_MAX + 1]; /* "index.json", "blobs/sha256/HEX": without "./" before it */
	char link[MEMBER_NAME_MAX + 1]; /* what it is a link to, which may be missing; "": a file */
	char digest[72];                /* "sha256:..." of a file, as the child has it */
	uint64_t offset, size;          /* in the spool, or in the archive itself */
	uint64_t in_place;              /* 1: in the latter */
};

/*
 * The child's half. SPOOL_FD: an empty file. RET->entries: of the table, which begins at byte RET->size; 0: SOURCE_FD is no image's archive (a root
 * file system's has other names in it), and the spool's contents are nothing. -EBADMSG cut off, damaged, hostile; -ENOSPC.
 */
int members_unpack(int source_fd, int spool_fd, struct op *op, struct image_result *ret, struct err *e);

/* The table that RESULT tells of, every field of it checked; SOURCE_FD: the archive. -EBADMSG: no child that is well writes that. */
struct members;
int members_load(
	int source_fd, int spool_fd, const struct image_result *result, struct members **ret, struct err *e);
struct members *members_free(struct members *m);
DEFINE_CLEANUP(struct members *, members_free)

/* Borrowed; the last one of that name; NULL: there is none. */
const struct member *members_find(const struct members *m, const char *name);

#endif
