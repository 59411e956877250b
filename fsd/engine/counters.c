#include <inttypes.h>

#include "banger/cleanup.h"
#include "engine/counters.h"
#include "engine/vmm_json.h"

void counters_add(struct disk_counters *c, json_object *o, const char *key, const char *const names[4])
{
	uint64_t *const fields[] = {&c->read_bytes, &c->write_bytes, &c->reads, &c->writes}, v;
	json_object *inner;

	if (!json_object_object_get_ex(o, key, &inner) || !json_object_is_type(inner, json_type_object))
		return;
	for (size_t i = 0; i < ELEMENTSOF(fields); i++)
		if (vmm_json_number(inner, names[i], &v))
			*fields[i] += v;
}

void counters_print(const struct disk_counters *c, FILE *out)
{
	fprintf(out,
		"vmm_read_bytes %" PRIu64 "\nvmm_write_bytes %" PRIu64 "\nvmm_reads %" PRIu64
		"\nvmm_writes %" PRIu64 "\n",
		c->read_bytes, c->write_bytes, c->reads, c->writes);
}

void counters_print_balloon(json_object *o, FILE *out)
{
	static const struct {
		const char *name, *qemu, *firecracker;
	} rows[] = {
		{"balloon_memory_total", "stat-total-memory", "total_memory"},
		{"balloon_memory_free", "stat-free-memory", "free_memory"},
		{"balloon_memory_available", "stat-available-memory", "available_memory"},
		{"balloon_disk_caches", "stat-disk-caches", "disk_caches"},
		{"balloon_swap_in", "stat-swap-in", "swap_in"},
		{"balloon_swap_out", "stat-swap-out", "swap_out"},
		{"balloon_major_faults", "stat-major-faults", "major_faults"},
		{"balloon_minor_faults", "stat-minor-faults", "minor_faults"},
	};
	uint64_t v;

	for (size_t i = 0; o && i < ELEMENTSOF(rows); i++)
		if (vmm_json_number(o, rows[i].qemu, &v) || vmm_json_number(o, rows[i].firecracker, &v))
			fprintf(out, "%s %" PRIu64 "\n", rows[i].name, v);
}
