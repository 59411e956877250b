/*
 * What people read: tables, sizes, ages; and the JSON that scripts read.
 */
#ifndef BANGER_CTL_SHOW_H
#define BANGER_CTL_SHOW_H

#include <json-c/json.h>
#include <stdint.h>

/* "1.2 GiB", in a buffer of the call's own of 16 bytes. */
const char *show_size(uint64_t bytes, char buf[16]);

struct table;
struct table *table_new(const char *const *heads);  /* ended by NULL */
void table_cell(struct table *t, const char *text); /* row by row, copied */
/* Prints aligned and frees. */
void table_end(struct table *t);

/* A value as JSON: a number where it is all digits, else a string. */
json_object *show_json_value(const char *text);
/* Prints with a newline and frees. */
int show_json(json_object *o);

#endif
