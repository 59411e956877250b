/*
 * The members of an image's archive: a tar, packed or not, of an OCI layout, or what `docker save` writes. They are copied out of it into one
 * file, the spool, by a confined child, which leaves a table of them at its end; who has to do with images picks what it needs by name.
 *
 * No name from inside is ever opened.
 */
#ifndef BANGER_IMAGE_MEMBERS_H
#define BANGER_IMAGE_MEMBERS_H

#include "image/image.h"

#define MEMBERS_MAX     20000u
#define MEMBER_NAME_MAX 255

struct member {
	char name[MEMBER_NAME_MAX + 1]; /* "index.json", "blobs/sha256/HEX": without "./" before it */
	char link[MEMBER_NAME_MAX +
		  1];          /* the member that it is a link to, which may be missing; "": it is a file */
	char digest[72];       /* "sha256:..." of a file, as the child has it */
	uint64_t offset, size; /* in the spool */
};

/*
 * The child's half. SPOOL_FD: an empty file. RET->entries: of the table, which begins at byte RET->size; 0: SOURCE_FD is no image's archive (a root
 * file system's has other names in it), and the spool's contents are nothing. -EBADMSG cut off, damaged, hostile; -ENOSPC.
 */
int members_unpack(int source_fd, int spool_fd, struct op *op, struct image_result *ret, struct err *e);

/* The table that RESULT tells of, every field of it checked. -EBADMSG: no child that is well writes that. */
struct members;
int members_load(int spool_fd, const struct image_result *result, struct members **ret, struct err *e);
struct members *members_free(struct members *m);
DEFINE_CLEANUP(struct members *, members_free)

/* Borrowed; the last one of that name; NULL: there is none. */
const struct member *members_find(const struct members *m, const char *name);

#endif
