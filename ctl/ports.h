/* Ports, as they are typed: -p. */
#ifndef BANGER_CTL_PORTS_H
#define BANGER_CTL_PORTS_H

#include <stddef.h>

#define PORTS_WORDS_MAX 64

/*
 * "publish=LINES" of N words HOST:GUEST, PORT (both), with ranges FIRST-LAST for each, or auto. The caller's; NULL: no memory. Whether they are any
 * good is the tree's to say.
 */
char *ports_setting(const char *const *words, size_t n);

#endif
