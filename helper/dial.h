/*
 * banger-helper --dial: connects to guests' vsocks for the daemon (banger/dial_proto.h), as nobody in particular.
 */
#ifndef BANGER_DIAL_H
#define BANGER_DIAL_H

/* Who is one more is hung up on. */
#define DIAL_CLIENTS_MAX 64

/* Serves those who connect to LISTENER, the caller's, until that is shut down: -EINVAL, or another -errno. None of them holds up another. */
int dial_serve(int listener);

#endif
