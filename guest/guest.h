/*
 * banger-guest: one static program, three parts: the initramfs's /init (boot.h), the agent (agent.h), and what systemd runs
 * last of all at /run/initramfs/shutdown (power.h). Errors go to standard error, which is the console: guest_say().
 */
#ifndef BANGER_GUEST_H
#define BANGER_GUEST_H

/* "banger-guest: TEXT" on the console. */
void guest_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
