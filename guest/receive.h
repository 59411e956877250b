/*
 * A checkout comes in: banger-guest workspace receive FOLDER (banger/workspace_proto.h).
 */
#ifndef BANGER_GUEST_RECEIVE_H
#define BANGER_GUEST_RECEIVE_H

/* Records from standard input, answers to standard output, to the end. An exit code. */
int receive_run(const char *folder);

#endif
