/*
 * The error object: a number that says what kind, and one line that says what happened and what to do.
 *
 * Every function that can fail is `int f(..., T *ret_x, struct err *e)`: 0 or -errno, outputs untouched on
 * failure. The message is made once, with err_set(), where the cause is known, and given context on the way
 * up with err_wrap(). The same text becomes the tree's `error` file, the command's message and the log line.
 * Any function here takes a NULL `e` and then does nothing but return the code.
 *
 *   r = disk_make(..., e);
 *   if (r < 0) {
 *           err_wrap(e, "work disk");
 *           return r;
 *   }
 *
 * No function here can fail: where memory is short the text is a constant that says so. Not shared between threads.
 */
#ifndef BANGER_ERR_H
#define BANGER_ERR_H

#include <stdarg.h>

struct err {
	int code;   /* negative errno; 0 while nothing has been set */
	char *text; /* owned; one line without a newline; NULL while nothing has been set */
};

#define _cleanup_err_ __attribute__((cleanup(err_clear)))

/* Sets E to CODE (negative errno) and the formatted text, replacing what was there. Returns CODE. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_setv(struct err *e, int code, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* As err_set(), with ": " and strerror(-CODE) appended: for a failed system call. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "CONTEXT: " before the text E has already (or strerror of its code). The code is the caller's to keep: there may be no E. */
void err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends "; TEXT" : an undo that failed joins the first error and never hides it. */
void err_join(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Moves FROM into TO (TO may be NULL: FROM is dropped). Returns FROM's code. */
int err_move(struct err *to, struct err *from);

/* Copies FROM into TO, which must be empty. Returns FROM's code. */
int err_copy(struct err *to, const struct err *from);

/* The text to show: E's, or strerror of its code, or "unknown error"; never NULL. Valid until E changes. */
const char *err_text(const struct err *e);

/* Frees what E holds and makes it empty. NULL is allowed. */
void err_clear(struct err *e);

#endif
