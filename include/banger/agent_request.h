/*
 * A request on files (AGENT_FS_*, banger/agent_proto.h) as its payload says it: for the guest's agent, and for whoever on the host answers in its
 * place. What came is hostile.
 */
#ifndef BANGER_AGENT_REQUEST_H
#define BANGER_AGENT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "banger/agent_proto.h"

#define REQUEST_NAME_SIZE   256  /* of a component of a path, with its NUL */
#define REQUEST_TARGET_SIZE 4096 /* of a symbolic link, with its NUL */

/* A file as banger/agent_proto.h names it. */
struct file_id {
	uint32_t ino, tag;
};

/* Those that the type doesn't have are 0. */
struct file_request {
	uint16_t type;
	uint16_t flags; /* of the frame, without AGENT_ONCE */
	bool once;      /* it has a TOKEN */
	uint64_t token;
	uint64_t sum; /* of all the payload, where it has one: another request of that number has another */
	struct file_id file;
	struct file_id to; /* the second one: where it is linked, moved or copied to */
	uint32_t
		how; /* flags; of SETATTR what is valid, of LSEEK whence, of FSYNC datasync, of WATCH fresh */
	uint32_t mode, rdev, uid, gid;
	uint64_t offset;    /* at most INT64_MAX, but for LSEEK and READDIR, whose cookie it is */
	uint64_t to_offset; /* at most INT64_MAX */
	uint64_t size;
	struct timespec times[2];     /* as utimensat(2) has them; not checked */
	char name[REQUEST_NAME_SIZE]; /* never "", ".", "..", nothing with '/' */
	char to_name[REQUEST_NAME_SIZE];
	char target[REQUEST_TARGET_SIZE];
	const uint8_t *data; /* of WRITE and SETXATTR: in the payload */
	size_t data_size;
};

/* PAYLOAD has H's length and stays the caller's. -EOPNOTSUPP: no such type of request on files; -EINVAL: it isn't what the type says. */
int request_decode(const struct agent_header *h, const uint8_t *payload, struct file_request *ret);

#endif
