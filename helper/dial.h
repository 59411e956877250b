/*
 * banger-helper --dial: connects to guests' vsocks for the daemon (banger/dial_proto.h), as nobody in particular.
 */
#ifndef BANGER_DIAL_H
#define BANGER_DIAL_H

/* Serves the connection FD until its other end closes it. 0 or -errno. */
int dial_serve(int fd);

#endif
