/*
 * A daemon's lines with fields, for `journalctl OPERATION=17`: the native protocol of systemd-journald (systemd's JOURNAL_NATIVE_PROTOCOL.md), one datagram a
 * line. By hand, because the helper links no libsystemd. Loop thread.
 */
#ifndef BANGER_JOURNALD_H
#define BANGER_JOURNALD_H

#include <stdbool.h>

/* Whether standard error goes to the journal (JOURNAL_STREAM, systemd.exec(5)); if so a descriptor is kept for good. Before the environment is cleared. */
void journald_open(const char *identifier);
/*
 * MESSAGE with FIELDS: "NAME=value" each, NULL at the end. False where there is no journal, or it can't be reached: then it has been written nowhere. What isn't
 * printable becomes '?'.
 */
bool journald_line(int priority, const char *message, const char *const *fields);

#endif
