#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "banger/name.h"
#include "banger/place.h"

static const struct {
	const char *variable, *base, *below;
} places[] = {
	[PLACE_RUN] = {"BANGER_RUN_BASE", "/run", ""},
	[PLACE_MOUNT] = {"BANGER_RUN_BASE", "/run", "/fs"},
	[PLACE_HELPER_SOCKET] = {"BANGER_RUN_BASE", "/run", "/helper.sock"},
	[PLACE_HELPER_DIR] = {"BANGER_RUN_BASE", "/run", "/helper"},
	[PLACE_FSD_DIR] = {"BANGER_RUN_BASE", "/run", "/fsd"},
	[PLACE_JAILS] = {"BANGER_RUN_BASE", "/run", "/jails"},
	[PLACE_STATE] = {"BANGER_STATE_BASE", "/var/lib", ""},
};

const char *place_instance_default(void)
{
	const char *s = getenv("BANGER_INSTANCE");

	return s ? s : "";
}

int place_path(const char *instance, enum place which, char **ret, struct err *e)
{
	const char *base = getenv(places[which].variable);
	char *path = NULL;
	int n;

	if (!base || base[0] != '/')
		base = places[which].base;
	if (instance && *instance && !name_instance_valid(instance))
		return err_set(e, -EINVAL, "'%s' is no instance name: 1 to %d of a-z 0-9, a letter first",
			instance, NAME_INSTANCE_MAX);
	if (instance && *instance)
		n = asprintf(&path, "%s/banger-%s%s", base, instance, places[which].below);
	else
		n = asprintf(&path, "%s/banger%s", base, places[which].below);
	if (n < 0)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = path;
	return 0;
}

void place_bridge(const char *instance, char ret[PLACE_BRIDGE_MAX])
{
	snprintf(ret, PLACE_BRIDGE_MAX, "bg%s", instance && *instance ? instance : "0");
}
