#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "engine/engines.h"

static const struct engine *const engines[] = {&engine_firecracker, &engine_qemu};

const struct engine *engine_each(size_t i)
{
	return i < ELEMENTSOF(engines) ? engines[i] : NULL;
}

const struct engine *engine_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(engines); i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}

const struct engine *engine_of(int vm_dir_fd)
{
	struct stat st;
	bool jailed = fstatat(vm_dir_fd, ENGINE_JAIL, &st, AT_SYMLINK_NOFOLLOW) == 0;

	for (size_t i = 0; i < ELEMENTSOF(engines) - 1; i++)
		if (engines[i]->jailed == jailed)
			return engines[i];
	return engines[ELEMENTSOF(engines) - 1];
}

int engine_identify(int program_fd, const char *before, char **ret, struct err *e)
{
	struct stat st;

	if (fstat(program_fd, &st) < 0)
		return err_sys(e, -errno, "program");
	if (asprintf(ret, "%s%llu:%llu:%lld.%09ld", before, (unsigned long long)st.st_dev,
		    (unsigned long long)st.st_ino, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec) < 0)
		return err_sys(e, -ENOMEM, "program");
	return 0;
}
