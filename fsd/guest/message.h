/*
 * A request on a file under way, and what is done with its answer: the insides of files.c and attributes.c. No other file
 * includes this.
 */
#ifndef BANGER_GUEST_MESSAGE_H
#define BANGER_GUEST_MESSAGE_H

#include "guest/files.h"

#define MESSAGE_PARTS    12
#define MESSAGE_NAME_MAX 255

/* A payload: little values are copied into ROOM, large ones are pointed at. */
struct message {
	struct agent_part parts[MESSAGE_PARTS];
	size_t n;
	uint8_t room[128];
	size_t used;
	int error;
};

void put(struct message *m, const void *data, size_t size);
void put_copy(struct message *m, const void *value, size_t size);
void put_u32(struct message *m, uint32_t v);
void put_u64(struct message *m, uint64_t v);
void put_file(struct message *m, struct file_ref file);
/* u16 length and the bytes; -ENAMETOOLONG, kept for message_send(). */
void put_text(struct message *m, const char *text, size_t max);
void put_name(struct message *m, const char *name);

/* What is to be done with an answer. */
struct call {
	enum { CALL_ATTR, CALL_DONE, CALL_DATA, CALL_TEXT, CALL_COUNT, CALL_STATFS, CALL_OFFSET } kind;
	union {
		files_attr_fn attr;
		files_done_fn done;
		files_data_fn data;
		files_count_fn count;
		files_statfs_fn statfs;
		files_offset_fn offset;
	} fn;
	void *user;
	size_t max; /* DATA, TEXT: bytes; COUNT: the number; more is -EPROTO */
};

#define CALL_FOR_ATTR(f, u) ((struct call){.kind = CALL_ATTR, .fn.attr = (f), .user = (u)})
#define CALL_FOR_DONE(f, u) ((struct call){.kind = CALL_DONE, .fn.done = (f), .user = (u)})
#define CALL_FOR_DATA(f, u, most)                                                                            \
	((struct call){.kind = CALL_DATA, .fn.data = (f), .user = (u), .max = (most)})
/* Bytes without a NUL, at least one: a path. */
#define CALL_FOR_TEXT(f, u, most)                                                                            \
	((struct call){.kind = CALL_TEXT, .fn.data = (f), .user = (u), .max = (most)})
#define CALL_FOR_COUNT(f, u, most)                                                                           \
	((struct call){.kind = CALL_COUNT, .fn.count = (f), .user = (u), .max = (most)})
#define CALL_FOR_STATFS(f, u) ((struct call){.kind = CALL_STATFS, .fn.statfs = (f), .user = (u)})
#define CALL_FOR_OFFSET(f, u) ((struct call){.kind = CALL_OFFSET, .fn.offset = (f), .user = (u)})

/* 0: sent, WHAT's function will be called once; -errno: not sent. */
int message_send(struct agent *a, enum agent_type type, uint16_t flags, const struct message *m,
	struct call what, uint32_t *ret_id);

/* What stat says can be. */
bool attr_valid(const struct agent_attr *attr);

#endif
