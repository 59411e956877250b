/*
 * What VMMs count, under one set of names whichever they are: lines of `stats`. All numbers are a VMM's word. Any thread.
 */
#ifndef BANGER_COUNTERS_H
#define BANGER_COUNTERS_H

#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

/* Of all disks of a VM together, since it began to run. */
struct disk_counters {
	uint64_t read_bytes, write_bytes, reads, writes;
};

/* Adds what the member KEY of O, an object, has under the names of NAMES (read_bytes, write_bytes, reads, writes); what isn't there counts nothing. */
void counters_add(struct disk_counters *c, json_object *o, const char *key, const char *const names[4]);
void counters_print(const struct disk_counters *c, FILE *out);

/*
 * What the guest has told its balloon of its memory: of QEMU's answer or of Firecracker's, O (may be NULL). A guest without the driver tells nothing.
 */
void counters_print_balloon(json_object *o, FILE *out);

#endif
