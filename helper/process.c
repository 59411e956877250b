#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "process.h"

#define STAT_MAX        4096
#define FIELD_PARENT    4
#define FIELD_STARTTIME 22

int process_read(int pid, struct process_stat *ret)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	uint64_t parent = 0;
	char *at, *field;

	if (asprintf(&path, "/proc/%d/stat", pid) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (io_read_file(AT_FDCWD, path, STAT_MAX, &text, NULL, NULL) < 0)
		return -ESRCH;
	/* The name, field 2, is in brackets and may hold anything: what follows its last one is field 3. */
	at = strrchr(text, ')');
	if (!at || strsep(&at, " ") == NULL)
		return -ESRCH;
	for (int i = 3; (field = strsep(&at, " ")); i++) {
		if (i == FIELD_PARENT && parse_u64(field, 0, INT32_MAX, &parent) < 0)
			return -ESRCH;
		if (i == FIELD_STARTTIME) {
			ret->parent = (int)parent;
			return parse_u64(field, 0, UINT64_MAX, &ret->starttime) < 0 ? -ESRCH : 0;
		}
	}
	return -ESRCH;
}
