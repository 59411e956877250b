/*
 * What is said of images and kernels: lists, one of them in full, what a command has made. On standard output; exit codes.
 */
#ifndef BANGER_CTL_IMAGE_H
#define BANGER_CTL_IMAGE_H

#include "ctl.h"

int image_ls(struct ctl *c, int argc, char **argv);
int image_show(struct ctl *c, int argc, char **argv);
int kernel_ls(struct ctl *c, int argc, char **argv);

/* There is none of NAME in KIND, "images" or "kernels": says so. EXIT_FAILED. */
int image_absent(const char *kind, const char *name);

/* "NAME DIGEST" of what isn't among BEFORE, the names there were. */
void image_say_new(struct ctl *c, char *const *before);
/*
 * "NAME DIGEST" of what a pull of REF, as it was typed, has led to, new or not. PLATFORM and NAME: those asked for, or NULL.
 */
void image_say_pulled(
	struct ctl *c, const char *ref, const char *platform, const char *name, char *const *before);
/* Where IMAGE, a name or a reference, was put last, with the digest that it has there. */
void image_say_pushed(struct ctl *c, const char *image);

#endif
