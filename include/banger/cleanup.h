/*
 * Scope cleanup and explicit taking of owned things.
 *
 *   _cleanup_free_ char *p = NULL;      freed when the scope is left
 *   _cleanup_close_ int fd = -EBADF;    closed when the scope is left; errno is kept
 *   return TAKE_PTR(p);                 the value goes out, the variable forgets it
 *   *ret_fd = TAKE_FD(fd);
 *
 * A module with a destructor makes its own with DEFINE_CLEANUP(struct vm *, vm_free), which yields
 * vm_freep() for __attribute__((cleanup)).
 */
#ifndef BANGER_CLEANUP_H
#define BANGER_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>

#define _cleanup_(f)       __attribute__((cleanup(f)))
#define _cleanup_free_     _cleanup_(freep)
#define _cleanup_close_    _cleanup_(closep)
#define _cleanup_fclose_   _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

#define TAKE_PTR(p)                                                                                          \
	({                                                                                                   \
		__typeof__(p) *_pp = &(p);                                                                   \
		__typeof__(p) _v = *_pp;                                                                     \
		*_pp = NULL;                                                                                 \
		_v;                                                                                          \
	})

#define TAKE_FD(fd)                                                                                          \
	({                                                                                                   \
		int *_pf = &(fd);                                                                            \
		int _v = *_pf;                                                                               \
		*_pf = -EBADF;                                                                               \
		_v;                                                                                          \
	})

#define DEFINE_CLEANUP(type, func)                                                                           \
	static inline void func##p(type *p)                                                                  \
	{                                                                                                    \
		if (*p)                                                                                      \
			func(*p);                                                                            \
	}

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Closes FD unless negative, keeps errno, and returns -EBADF for `fd = close_fd(fd)`. */
static inline int close_fd(int fd)
{
	if (fd >= 0) {
		int saved = errno;
		close(fd);
		errno = saved;
	}
	return -EBADF;
}

static inline void closep(int *fd)
{
	close_fd(*fd);
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#endif
