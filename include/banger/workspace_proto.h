/*
 * How a checkout comes into a guest's workspace: records from banger-fsd to `banger-guest workspace receive FOLDER`, which
 * runs as a job of the agent's, over its standard input, and records back over its standard output.
 *
 * A format of its own, for tar and cpio only go one way: here what the guest has changed is asked for before anything
 * is written, and what was written is told, so that the next prepare brings the difference alone. The reader is the
 * same on both sides (below), and each treats the other as hostile.
 *
 * A record is u32 length of the payload (at most WORKSPACE_PAYLOAD_MAX), u32 type, and the payload; little-endian. PATH: 1 to
 * WORKSPACE_PATH_MAX bytes to the payload's end, relative to FOLDER, components that are neither empty, "." nor "..", no NUL.
 * No link on the way to a path is followed.
 *
 * Whoever cannot go on says FAILED and ends.
 */
#ifndef BANGER_WORKSPACE_PROTO_H
#define BANGER_WORKSPACE_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKSPACE_VERSION     1u
#define WORKSPACE_HEAD_SIZE   8u
#define WORKSPACE_PAYLOAD_MAX (128u * 1024)
#define WORKSPACE_PATH_MAX    4095u
#define WORKSPACE_ID                                                                                         \
	32u /* bytes that tell a file's state: opaque to who doesn't make them; zeros: it is absent */

enum workspace_type {
	/* Host to guest. First: u32 version, u32 flags (WORKSPACE_FORCE). */
	WORKSPACE_BEGIN = 1,
	/*
	 * Questions, numbered from 0 since the last ANSWERS. CHECK: u32 flags (WORKSPACE_MAY_LACK), id[32], path: is
	 * that still its state? COMPARE: u32 mode, path, followed by the file's DATA and END_OF_FILE (a link: its
	 * target is the DATA): is what is there the same? HEAD: path of a repository's folder: answered by a HEAD with
	 * u32 number, content of its HEAD, NUL, the commit that is ("": none yet), unless there is no repository.
	 */
	WORKSPACE_CHECK,
	WORKSPACE_COMPARE,
	WORKSPACE_HEAD,
	/* No payload: answer what was asked since the last ANSWERS. Guest: the HEADs, then u32 numbers of those whose answer is no, in as many records as it takes, then an empty one. */
	WORKSPACE_ANSWERS,
	/* u32 mode (permissions), path. A folder; the folders above a path are made in any case. */
	WORKSPACE_FOLDER,
	/* u32 mode (WORKSPACE_UNLESS_THERE), s64 mtime seconds, u32 nanoseconds, path; followed by DATA, and END_OF_FILE when it is whole. */
	WORKSPACE_FILE,
	WORKSPACE_LINK, /* u32 length of the target, target (1 to WORKSPACE_PATH_MAX bytes, no NUL), path */
	WORKSPACE_DATA, /* bytes */
	WORKSPACE_END_OF_FILE,
	WORKSPACE_REMOVE,    /* path; what isn't there is fine; folders that are empty then go too */
	WORKSPACE_SET_ASIDE, /* path: what is there gets the name PATH.before-prepare */
	/* No payload. The guest answers with the state of each FILE and LINK, in their order: id[32] each, in as many STATES as it takes, then DONE. */
	WORKSPACE_END,

	/* Guest to host. */
	WORKSPACE_STATES = 32,
	WORKSPACE_DONE,   /* no payload */
	WORKSPACE_FAILED, /* u32 errno, text */
};

#define WORKSPACE_FORCE        1u         /* what stands in the way of a path is removed */
#define WORKSPACE_UNLESS_THERE (1u << 31) /* a file of that name stays as it is */
#define WORKSPACE_MAY_LACK     1u         /* that there is no such file is as good */

struct workspace_record {
	uint32_t type;
	uint32_t length;
	const uint8_t *payload; /* until the next read */
};

/* Reads FD, or what it was given, by the buffer. */
struct workspace_reader {
	int fd;
	size_t at, end;
	uint8_t buffer[WORKSPACE_PAYLOAD_MAX + WORKSPACE_HEAD_SIZE];
};

/* 1: *RET; 0: the end, between two records; -EPROTO nonsense, -ENODATA the end in the middle of a record, -errno. */
int workspace_read(struct workspace_reader *r, struct workspace_record *ret);

/* A record of HEAD_N and BODY_N bytes in one writev. 0 or -errno. */
int workspace_write(int fd, uint32_t type, const void *head, size_t head_n, const void *body, size_t body_n);

/* The path at the end of a payload of N bytes, whose first SKIP are something else; in PATH, with a NUL. -EPROTO. */
int workspace_path(const uint8_t *payload, size_t n, size_t skip, char path[WORKSPACE_PATH_MAX + 1]);

/* What tells a file's state from any later one, whatever its clock says: number, size, mode, and when it and its data were changed. */
struct stat;
void workspace_id(const struct stat *st, uint8_t ret[WORKSPACE_ID]);

/* Whether it is one that may go over the wire. */
bool workspace_path_valid(const char *path, size_t n);

#endif
