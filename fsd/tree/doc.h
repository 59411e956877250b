/*
 * docs/tree.md, from the tables.
 */
#ifndef BANGER_TREE_DOC_H
#define BANGER_TREE_DOC_H

#include <stdio.h>

/* 0 or -errno of the writing. */
int tree_print_doc(FILE *out);

#endif
