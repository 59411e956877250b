/* What jobsdir.c, jobdir.c, jobfile.c and jobmake.c share: the files of jobs. */
#ifndef BANGER_TREE_JOBS_H
#define BANGER_TREE_JOBS_H

#include "tree/state.h"

struct job_start {
	struct tree *t;
	struct call *call;
	uint64_t row;
};

/* NULL: gone. */
struct exec *job_of(struct tree *t, uint64_t row);
/* As a shell tells it. */
int job_exit_code(const struct exec_view *v);
bool job_over(const struct exec_view *v);
/* Does somebody have its stream/stdin open? */
bool job_wants_stdin(struct tree *t, uint64_t row);
void job_start(struct tree *t, uint64_t row, struct call *call);

/* State of a handle: what of it is used depends on the file. */
struct job_file {
	uint64_t row; /* of the job; 0: none was made */
	int stream;   /* 1, 2: output that is read */
	bool made_it; /* run: the job is this handle's */
	bool reading; /* READER is good */
	bool begun;   /* something was read */
	uint64_t reader;
	uint64_t offset;
	uint64_t written; /* run: bytes of the file before those that are read */
	uint64_t shift;   /* kept: where in the stream the file's first byte is */
	char *pending;    /* stdin: what was not taken yet */
	size_t pending_at, pending_n;
};
/* Of the file that H has opened, whose row is a job's: -ENOMEM. */
int job_file_new(struct tree *t, struct handle *h);
void job_file_release(struct tree *t, struct handle *h);
/* Live output, from the handle's reader on. */
void job_live_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call);
unsigned job_live_poll(struct tree *t, struct handle *h);

extern const struct file_ops job_kept_ops, job_live_ops, job_stdin_ops, job_exit_ops, job_clone_ops,
	job_run_ops;

#endif
