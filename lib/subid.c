#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/subid.h"

static bool has_range(const char *file, const char *user)
{
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0) {
		line[strcspn(line, ":\n")] = '\0';
		found = strcmp(line, user) == 0;
	}
	return found;
}

int subid_check(const char *user, struct err *e)
{
	static const char *const files[] = {"/etc/subuid", "/etc/subgid"};

	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		if (!has_range(files[i], user))
			return err_set(e, -EPERM,
				"user %s has no range of ids in %s, which mmdebstrap needs: sudo usermod "
				"--add-subuids 165536-231071 --add-subgids 165536-231071 %s (a range that is "
				"free)",
				user, files[i], user);
	return 0;
}
