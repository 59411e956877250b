/*
 * Functions that no banger source may call; the Makefile includes this file ahead of every one (-include).
 * The idea is git's banned.h: a wrong call fails to compile, and the message names the way to do it.
 */
#ifndef BANGER_BANNED_H
#define BANGER_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BANNED(name, instead) banger_banned_##name##_use_##instead

#undef strcpy
#define strcpy(d, s) BANNED(strcpy, memcpy_or_asprintf)
#undef strcat
#define strcat(d, s) BANNED(strcat, asprintf)
#undef strncpy
#define strncpy(d, s, n) BANNED(strncpy, memcpy)
#undef strncat
#define strncat(d, s, n) BANNED(strncat, asprintf)
#undef sprintf
#define sprintf(...) BANNED(sprintf, asprintf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf, vasprintf)
#undef strtok
#define strtok(s, d) BANNED(strtok, strsep)
#undef atoi
#define atoi(s) BANNED(atoi, parse_u64)
#undef atol
#define atol(s) BANNED(atol, parse_u64)
#undef atoll
#define atoll(s) BANNED(atoll, parse_u64)
#undef gmtime
#define gmtime(t) BANNED(gmtime, gmtime_r)
#undef localtime
#define localtime(t) BANNED(localtime, localtime_r)
#undef mktemp
#define mktemp(t) BANNED(mktemp, O_TMPFILE_or_mkostemp)
#undef popen
#define popen(c, m) BANNED(popen, proc_run)
#undef system
#define system(c) BANNED(system, proc_run)

#endif
