/* What jobsdir.c, jobdir.c and jobfile.c share: the files of jobs. */
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

extern const struct file_ops job_kept_ops, job_live_ops, job_stdin_ops, job_exit_ops, job_clone_ops,
	job_run_ops;

#endif
