/*
 * Numbers, sizes and flags out of text: the only place where banger turns digits into integers.
 *
 * Each takes the whole string: no leading blanks or sign, no trailing junk. -EINVAL what is no number at all,
 * -ERANGE a number outside [MIN, MAX] (also one too large for 64 bits). *RET is untouched on failure. Any thread.
 */
#ifndef BANGER_PARSE_H
#define BANGER_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal. */
int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* Bytes: decimal with an optional K, M, G or T (binary, 1024 each step), in upper or lower case. */
int parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* "0" or "1". */
int parse_bool(const char *s, bool *ret);

/* Exactly N bytes in twice as many hexadecimal digits, lower case. */
int parse_hex(const char *s, uint8_t *ret, size_t n);

/* IPv4 dotted quad to host byte order; inet_pton(3)'s rules. */
int parse_ipv4(const char *s, uint32_t *ret);

#endif
