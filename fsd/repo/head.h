/*
 * Where HEAD of a plain checkout is, as its files say (gitrepository-layout(5)). workspace.info is asked for beside each job of a prepared VM, and to start git
 * takes longer than the job: this is read by hand, and git asked for all that is out of the ordinary. Blocks: workers only.
 */
#ifndef BANGER_REPO_HEAD_H
#define BANGER_REPO_HEAD_H

/*
 * DIR: the checkout. *RET: the name of the commit, the caller's. -ENOENT: git has to be asked: no commit yet, a repository that lies elsewhere or isn't the
 * user's, one that doesn't keep its refs in files, links among these, or more of them than are looked through.
 */
int head_read(int dir, char **ret);

#endif
