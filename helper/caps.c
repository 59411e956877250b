#include <errno.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "banger/cleanup.h"
#include "caps.h"

static int keep(const cap_value_t *wanted, int n, struct err *e)
{
	cap_t caps;
	int r = 0;

	/* The bounding set first: afterwards the right to change it is gone. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		int stays = 0;

		for (int i = 0; i < n; i++)
			stays |= wanted[i] == cap;
		if (!stays && cap_drop_bound(cap) < 0 && errno != EINVAL)
			return err_sys(e, -errno, "dropping capability %d", cap);
	}
	/* A change of user or an exec gives nothing back. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED) < 0)
		return err_sys(e, -errno, "securebits");
	caps = cap_init();
	if (!caps ||
		(n > 0 && (cap_set_flag(caps, CAP_PERMITTED, n, wanted, CAP_SET) < 0 ||
				  cap_set_flag(caps, CAP_EFFECTIVE, n, wanted, CAP_SET) < 0)) ||
		cap_set_proc(caps) < 0)
		r = err_sys(e, -errno, "capabilities");
	if (caps)
		cap_free(caps);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_sys(e, -errno, "no_new_privs");
	return r;
}

int caps_helper(struct err *e)
{
	static const cap_value_t wanted[] = {CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_KILL};

	return keep(wanted, ELEMENTSOF(wanted), e);
}

/* SYS_CHROOT lets one into another's mount namespace (setns(2)); DAC_OVERRIDE is the jailer's, into folders that it has given away. */
int caps_launcher(struct err *e)
{
	static const cap_value_t wanted[] = {CAP_SETUID, CAP_SETGID, CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_MKNOD,
		CAP_CHOWN, CAP_DAC_OVERRIDE};

	return keep(wanted, ELEMENTSOF(wanted), e);
}

int caps_jailer(struct err *e)
{
	static const cap_value_t wanted[] = {
		CAP_SETUID, CAP_SETGID, CAP_SYS_ADMIN, CAP_MKNOD, CAP_CHOWN, CAP_DAC_OVERRIDE};
	static const cap_flag_t sets[] = {CAP_PERMITTED, CAP_EFFECTIVE, CAP_INHERITABLE};
	cap_t caps = cap_init();
	int r = caps ? 0 : err_sys(e, -ENOMEM, "capabilities");

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(sets); i++)
		if (cap_set_flag(caps, sets[i], ELEMENTSOF(wanted), wanted, CAP_SET) < 0)
			r = err_sys(e, -errno, "capabilities");
	if (r == 0 && cap_set_proc(caps) < 0)
		r = err_sys(e, -errno, "capabilities");
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(wanted); i++)
		if (cap_set_ambient(wanted[i], CAP_SET) < 0)
			r = err_sys(e, -errno, "capabilities");
	if (caps)
		cap_free(caps);
	return r;
}

int caps_mounter(struct err *e)
{
	static const cap_value_t wanted[] = {CAP_SYS_ADMIN};

	return keep(wanted, ELEMENTSOF(wanted), e);
}

int caps_none(struct err *e)
{
	return keep(NULL, 0, e);
}
