/*
 * The numbered migrations of the database: store_schema[N] takes it from version N to N + 1 (PRAGMA user_version). Released
 * ones never change; new ones are appended.
 */
#ifndef BANGER_STORE_SCHEMA_H
#define BANGER_STORE_SCHEMA_H

#include <stddef.h>

extern const char *const store_schema[];
extern const size_t store_schema_count;

#endif
