/* What mends a row, on this distribution. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/os_release.h"
#include "doctor_rows.h"
#include "service.h"

static const struct {
	const char *id;
	enum family family;
} families[] = {
	{"ubuntu", FAMILY_UBUNTU},
	{"debian", FAMILY_DEBIAN},
	{"fedora", FAMILY_FEDORA},
	{"rhel", FAMILY_FEDORA},
	{"arch", FAMILY_ARCH},
	{"nixos", FAMILY_NIXOS},
};

/* NULL: docs/hosts.md has more to say of it than a command's worth. */
static const char *const packages[][FAMILY_COUNT] = {
	[PACKAGE_QEMU] =
		{
			[FAMILY_DEBIAN] = "qemu-system-x86",
			[FAMILY_UBUNTU] = "qemu-system-x86",
			[FAMILY_FEDORA] = "qemu-system-x86-core",
			[FAMILY_ARCH] = "qemu-system-x86",
		},
	[PACKAGE_BUSYBOX] =
		{
			[FAMILY_DEBIAN] = "busybox-static",
			[FAMILY_UBUNTU] = "busybox-static",
			[FAMILY_FEDORA] = "busybox",
			[FAMILY_ARCH] = "busybox",
		},
	[PACKAGE_DROPBEAR] =
		{
			[FAMILY_DEBIAN] = "dropbear-bin",
			[FAMILY_UBUNTU] = "dropbear-bin",
			[FAMILY_FEDORA] = "dropbear",
			[FAMILY_ARCH] = "dropbear",
		},
	[PACKAGE_SFTP] =
		{
			[FAMILY_DEBIAN] = "openssh-sftp-server",
			[FAMILY_UBUNTU] = "openssh-sftp-server",
			[FAMILY_FEDORA] = "openssh-server",
			[FAMILY_ARCH] = "openssh",
		},
	[PACKAGE_UIDMAP] =
		{
			[FAMILY_DEBIAN] = "uidmap",
			[FAMILY_UBUNTU] = "uidmap",
			[FAMILY_FEDORA] = "shadow-utils",
			[FAMILY_ARCH] = "shadow",
		},
	[PACKAGE_MMDEBSTRAP] =
		{
			[FAMILY_DEBIAN] = "mmdebstrap",
		},
};

static const struct {
	const char *install, *again;
} managers[FAMILY_COUNT] = {
	[FAMILY_DEBIAN] = {"apt-get install", "apt-get install --reinstall"},
	[FAMILY_UBUNTU] = {"apt-get install", "apt-get install --reinstall"},
	[FAMILY_FEDORA] = {"dnf install", "dnf reinstall"},
	[FAMILY_ARCH] = {"pacman -S", "pacman -S"},
};

/* The family of the first of WORDS that is one's. */
static enum family family_of(char *words)
{
	for (char *word; (word = strsep(&words, " "));)
		for (size_t i = 0; i < ELEMENTSOF(families); i++)
			if (strcmp(families[i].id, word) == 0)
				return families[i].family;
	return FAMILY_OTHER;
}

enum family mend_family(void)
{
	static const char *const keys[] = {"ID", "ID_LIKE"};
	enum family family = FAMILY_OTHER;

	for (size_t i = 0; i < ELEMENTSOF(keys) && family == FAMILY_OTHER; i++) {
		_cleanup_free_ char *words = NULL;

		if (os_release_get(keys[i], &words, NULL) == 0)
			family = family_of(words);
	}
	return family;
}

char *mend_text(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	return r < 0 ? NULL : text;
}

char *mend_as_root(const struct doctor *d, const char *fmt, ...)
{
	_cleanup_free_ char *command = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&command, fmt, ap);
	va_end(ap);
	if (r < 0) {
		command = NULL;
		return NULL;
	}
	return mend_text("%s%s", d->root ? "" : "sudo ", command);
}

char *mend_up(const struct doctor *d)
{
	bool named = *d->c->instance;

	/* A service has its owner. */
	if (service_installed(d->c))
		return mend_as_root(d, "banger up");
	return mend_as_root(d, "banger%s%s up%s%s", named ? " --instance " : "", d->c->instance,
		d->owner_name ? " --owner " : "", d->owner_name ? d->owner_name : "");
}

char *mend_restart(const struct doctor *d)
{
	_cleanup_free_ char *up = mend_up(d);
	bool named = *d->c->instance;

	if (service_installed(d->c))
		return mend_as_root(d, "banger system restart");
	return mend_as_root(
		d, "banger%s%s down && %s", named ? " --instance " : "", d->c->instance, up ? up : "");
}

char *mend_package(const struct doctor *d, enum package package, bool again)
{
	const char *name = packages[package][d->family];

	if (!name)
		return mend_text("see " MEND_PAGE ", which says what this host needs");
	return mend_as_root(
		d, "%s %s", again ? managers[d->family].again : managers[d->family].install, name);
}
