/*
 * The user's ~/.ssh/config gets one line at its top, which includes a file of banger's own beside it; that line goes again and leaves the rest
 * byte for byte as it is. The file is replaced in one step, its mode kept; where it is a link, the file behind it is.
 */
#ifndef BANGER_CTL_SSH_FILE_H
#define BANGER_CTL_SSH_FILE_H

#include "banger/err.h"

#define SSH_FILE_OURS "banger.conf"
/* The line: this, HOME, and that. Not relative: ssh looks for its own file in passwd's home, but for what that includes in $HOME. */
#define SSH_FILE_LINE_HEAD "Include \""
#define SSH_FILE_LINE_TAIL "/.ssh/" SSH_FILE_OURS "\""

/*
 * HOME/.ssh/banger.conf becomes TEXT (below two lines that say whose it is, and what there was before), and HOME/.ssh/config includes it. CHECK
 * (may be NULL) looks at the path of banger.conf before anything includes it. Again: banger.conf is renewed. -EEXIST: a banger.conf that isn't
 * ours; -EPERM: files of somebody else; -EINVAL a HOME that ssh can't be given; CHECK's; of the files.
 */
int ssh_file_install(
	const char *home, const char *text, int (*check)(const char *path, struct err *e), struct err *e);

/* Everything as it was; what was added meanwhile stays. *RET: whether there was something to do. */
int ssh_file_uninstall(const char *home, int *ret, struct err *e);

#endif
