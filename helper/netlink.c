#include <errno.h>
#include <netlink/errno.h>

#include "banger/cleanup.h"
#include "netlink.h"

static int code_of(int r)
{
	static const int codes[][2] = {{NLE_EXIST, EEXIST}, {NLE_NODEV, ENODEV}, {NLE_OBJ_NOTFOUND, ENODEV},
		{NLE_NOMEM, ENOMEM}, {NLE_PERM, EPERM}, {NLE_NOACCESS, EACCES}, {NLE_BUSY, EBUSY},
		{NLE_INVAL, EINVAL}, {NLE_RANGE, EXFULL}};

	for (size_t i = 0; i < ELEMENTSOF(codes); i++)
		if (-r == codes[i][0])
			return -codes[i][1];
	return -EIO;
}

int netlink_error(struct err *e, int r, const char *what, const char *name)
{
	return err_set(e, code_of(r), "%s %s: %s", what, name, nl_geterror(r));
}
