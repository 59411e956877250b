/* What a test needs of the machine that not each has. Behind cmocka.h. */
#ifndef BANGER_TESTS_NEED_H
#define BANGER_TESTS_NEED_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* KEY is in the list BANGER_MUST_WORK, as skip() of case.sh has it. */
static inline bool must_work(const char *key)
{
	const char *at = getenv("BANGER_MUST_WORK");
	size_t n = strlen(key);

	while (at && *at) {
		size_t word = strcspn(at, ",");

		if (word == n && memcmp(at, key, n) == 0)
			return true;
		at += word + (at[word] == ',');
	}
	return false;
}

/* The test goes on where KEY is THERE; else it is skipped, for the reason LACK, or fails where KEY must work. */
static inline void need(const char *key, bool there, const char *lack)
{
	if (there)
		return;
	if (must_work(key))
		fail_msg("must work here: %s", lack);
	print_message("# %s\n", lack);
	skip();
}

static inline void need_root(void)
{
	need("root", geteuid() == 0, "this is not root");
}

#endif
