/* What the guest knows of itself, as flat keyed text (agent_proto.h, STATS and HEALTH). */
#ifndef BANGER_GUEST_STATS_H
#define BANGER_GUEST_STATS_H

#include <stdbool.h>
#include <stdio.h>

void stats_write(FILE *out, int work_fd);
/* JOBS: how many run. */
void stats_health(FILE *out, bool init_runs, unsigned jobs);

#endif
