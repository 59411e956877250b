/*
 * Whole reads and writes, whole files, and descriptors over sockets.
 */
#ifndef BANGER_IO_H
#define BANGER_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "banger/err.h"

/* Reads exactly N bytes. 0, or -errno; -ENODATA when the file ended before. EINTR is retried. */
int io_read_full(int fd, void *buf, size_t n);

/* Writes exactly N bytes. 0 or -errno. EINTR is retried; a SIGPIPE is the caller's business. */
int io_write_full(int fd, const void *buf, size_t n);
int io_pwrite_full(int fd, const void *buf, size_t n, off_t off);

/* The rest of FD, at most MAX bytes: as io_read_file(). 0, -EFBIG or -errno. */
int io_read_fd(int fd, size_t max, char **ret, size_t *ret_len);

/*
 * Reads the whole file NAME below DIRFD (AT_FDCWD and an absolute NAME are fine), at most MAX bytes (-EFBIG if it
 * is longer). *RET is NUL-terminated and the caller's to free; *RET_LEN (may be NULL) leaves the NUL out.
 */
int io_read_file(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len, struct err *e);

/*
 * Opens PATH below DIRFD, following no link, not on the way either (but O_PATH | O_NOFOLLOW opens a link that is its last component). FLAGS that
 * make nothing. A descriptor or -errno: -ELOOP a link, -EXDEV it leads out.
 */
int io_open_beneath(int dirfd, const char *path, int flags);

/*
 * Replaces NAME below DIRFD by N bytes of BUF in one step: sibling temporary file, fsync, rename, fsync of the
 * directory. Readers see the old file or the new one; a crash leaves at most a ".NAME.tmp", which the next call
 * overwrites. MODE is the new file's. The threads of a process may replace one file at once; processes may not.
 */
int io_replace_file(int dirfd, const char *name, const void *buf, size_t n, mode_t mode, struct err *e);

/*
 * One message of N bytes with NFDS descriptors (0 to IO_FDS_MAX) over a unix socket. 0 or -errno. MSG_NOSIGNAL.
 */
#define IO_FDS_MAX 16
int io_send_fds(int sock, const void *buf, size_t n, const int *fds, size_t nfds);

/*
 * Receives one message and its descriptors, all close-on-exec. Returns the length of the message (0: the peer has
 * closed) or -errno; -EMSGSIZE when message or descriptors were more than fit, and then all of them are closed.
 * *RET_NFDS is set to the number received; those are the caller's. FLAGS are recvmsg(2)'s (MSG_DONTWAIT, ...).
 */
ssize_t io_recv_fds(int sock, void *buf, size_t n, int *fds, size_t max_fds, size_t *ret_nfds, int flags);

/*
 * Locks the file FD for a daemon (flock(2), exclusive). One that was killed holds its lock until its last thread and child have seen that, and who looks whether
 * there is one holds it for a moment: tried for USEC microseconds, then -EWOULDBLOCK.
 */
int io_lock(int fd, uint64_t usec);
#define IO_LOCK_USEC 5000000

/* CLOCK_MONOTONIC and CLOCK_REALTIME in microseconds. */
uint64_t io_now_usec(void);
uint64_t io_wall_usec(void);

#endif
