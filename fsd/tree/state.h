/* What the files of this room share. No other room includes it. */
#ifndef BANGER_TREE_STATE_H
#define BANGER_TREE_STATE_H

#include "banger/io.h"
#include "job/job.h"
#include "job/op.h"
#include "store/store.h"
#include "tree/input.h"
#include "tree/tree.h"
#include "vm/exec.h"

#define ROOT_LOG_ID 5 /* attributes that others than their own table speak of */
#define VM_LOG_ID   15

struct log;

struct tree {
	struct tree_config config;
	const struct tree_listener *listener;
	void *user;
	struct vms *vms;
	FILE *out; /* reused for every rendering */
	char *out_text;
	size_t out_size;
	char *name; /* of the last listed entry, where it had to be made */
	struct store_mode *modes;
	size_t mode_count, mode_room;
	LIST_HEAD(, handle) readers; /* of streams */
	LIST_HEAD(, handle) waiting; /* of wait/ */
	LIST_HEAD(, handle) due;     /* of them, those whose wait is over */
	sd_event_source *waking;
	LIST_HEAD(, handle) jobs; /* of exec's streams */
	struct log *log;
	uint64_t began; /* CLOCK_REALTIME usec */
	uint64_t ops_changed, vms_changed, events;
	uid_t owner;
	gid_t group;
	bool stopping; /* shutdown is at work */
	bool ending;   /* tree_stop() */
};

void tree_target_of(const struct dir_type *dir, const struct attr *attr, uint64_t row, struct target *ret);
void tree_stale(struct tree *t, enum node_kind kind, uint64_t row, uint16_t attr);
/* Every attribute of the directory; and the directory too. */
void tree_stale_files(struct tree *t, enum node_kind kind, uint64_t row);
void tree_stale_all(struct tree *t, enum node_kind kind, uint64_t row);
void tree_modes_load(struct tree *t, struct err *e);
void tree_modes_apply(const struct tree *t, uint64_t node, struct stat *st);
void tree_modes_forget(struct tree *t, uint64_t first, uint64_t last);

/* Bits and pieces of tables. */
bool row_always(struct tree *t, uint64_t row);
uint64_t changed_never(struct tree *t, uint64_t row);
uint64_t parent_root(struct tree *t, uint64_t row);
/* C in what DONE functions get as USER. */
void call_done_err(void *user, int code, const struct err *e);
/* A file's bytes at OFFSET, for a read. */
void call_file(struct call *call, int fd, size_t size, uint64_t offset);
/* What was done by whom and how it ended, into the root's log. */
void log_deed(struct tree *t, const struct call *call, const char *what, int code, const char *text);

/* tree/stream.c: readers that block. */
enum channel {
	CHANNEL_EVENTS,
	CHANNEL_LOG,
	CHANNEL_VM_LOG,
	CHANNEL_VM_CONSOLE,
	CHANNEL_VM_PORTS,
};
void stream_put(struct tree *t, enum channel channel, uint64_t row, const void *data, size_t n);
/* The row is gone: its readers see the end. */
void stream_end(struct tree *t, enum channel channel, uint64_t row);
extern const struct file_ops stream_ops;
/* `seq=N time=S` and the pairs given, as one line of stream/events. */
void stream_event(struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Parks CALL on H; a Ctrl-C takes it off again. */
void handle_park(struct handle *h, struct call *call);
/* Every call parked on H gets CODE. */
void handle_wake(struct handle *h, int code);

/* tree/log.c */
int log_open(int state_fd, struct log **ret, struct err *e);
struct log *log_close(struct log *l);
void log_line(struct log *l, const char *line);
int log_fd(const struct log *l);
uint64_t log_changed(const struct log *l);

/* tree/wait.c */
extern const struct file_ops wait_ops;
void wait_check(struct tree *t, uint32_t vm);

/* tree/jobdir.c */
extern const struct exec_watch tree_exec_watch;

#endif
