#include "fuse/signals.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"

#define STATUS_MAX 16384
#define DIGITS     16
#define BIT(sig)   (1ull << ((sig)-1))

/* The set that the line KEY (proc_pid_status(5)) has. */
static int set_of(const char *status, const char *key, uint64_t *ret)
{
	const char *at = strstr(status, key);
	char digits[DIGITS + 1] = "";
	uint64_t set;

	if (at)
		memcpy(digits, at + strlen(key), strnlen(at + strlen(key), DIGITS));
	if (parse_hex(digits, (uint8_t *)&set, sizeof(set)) < 0)
		return -1;
	*ret = be64toh(set);
	return 0;
}

bool signals_in_status(const char *status)
{
	const uint64_t by_the_way = BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH);
	uint64_t own, shared, blocked;

	if (set_of(status, "\nSigPnd:\t", &own) < 0 || set_of(status, "\nShdPnd:\t", &shared) < 0 ||
		set_of(status, "\nSigBlk:\t", &blocked) < 0)
		return true;
	own = (own | shared) & ~blocked;
	/* None at all: it is over already, or it was no signal. */
	return own == 0 || (own & ~by_the_way);
}

bool signals_mean_it(uint32_t tid)
{
	_cleanup_free_ char *status = NULL;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	return tid == 0 || io_read_file(AT_FDCWD, path, STATUS_MAX, &status, NULL, NULL) < 0 ||
	       signals_in_status(status);
}
