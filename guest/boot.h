/*
 * The boot: from the kernel's first process to the image's own init with the agent beside it.
 */
#ifndef BANGER_GUEST_BOOT_H
#define BANGER_GUEST_BOOT_H

/* NAME is argv[0], which the agent changes. Never comes back: becomes the image's init, or stays as one that reaps, or says why it can't and powers off. */
void boot_run(char *name) __attribute__((noreturn));

#endif
