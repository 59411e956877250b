/* The guest's clock, which is the host's until somebody in the guest sets it. */
#ifndef BANGER_GUEST_CLOCK_H
#define BANGER_GUEST_CLOCK_H

#include <stdint.h>

/*
 * The host's time was HOST_USEC (CLOCK_REALTIME) not long ago: a clock that is well behind it, or far ahead, is set. Not once another has set it since the first
 * word: then it is his. -errno
 */
int clock_follow(uint64_t host_usec);

#endif
