/* The helper's seccomp filter. */
#ifndef BANGER_FILTER_H
#define BANGER_FILTER_H

#include "banger/err.h"

/* From here on only the system calls of the list in filter.c; others fail with EPERM. */
int filter_install(struct err *e);

#endif
