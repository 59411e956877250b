/* The kernel's modules that the initramfs brought. */
#ifndef BANGER_GUEST_MODULES_H
#define BANGER_GUEST_MODULES_H

/* Loads the files of GUEST_MODULES_PATH in the order of their names. One that can't be loaded is said on the console and passed over: the step that needs
   it says what is missing. */
void modules_load(void);

#endif
