/* What a start needs, row by row. */
#ifndef BANGER_CTL_DOCTOR_H
#define BANGER_CTL_DOCTOR_H

#include "ctl.h"

/* Prints the rows; EXIT_FAILED when one is FAIL. */
int doctor_run(struct ctl *c, bool json);

#endif
