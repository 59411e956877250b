/* The units as they run, against docs/privileges.md: what a drop-in has taken away of it, and files that systemd hasn't read yet. */
#include "banger/cleanup.h"
#include "doctor_rows.h"
#include "service.h"

#define HELPER "banger-helper.service"
#define FSD    "banger.service"
#define DIALER "banger-vsock.service"

static const char *const units[] = {HELPER, FSD, DIALER};

static const struct {
	const char *unit, *property, *value;
} wanted[] = {
	{HELPER, "NoNewPrivileges", "yes"},
	{HELPER, "ProtectSystem", "strict"},
	{HELPER, "ProtectHome", "yes"},
	{HELPER, "PrivateTmp", "yes"},
	{HELPER, "ProtectControlGroups", "yes"},
	{HELPER, "ProtectKernelModules", "yes"},
	{HELPER, "ProtectKernelLogs", "yes"},
	{HELPER, "DevicePolicy", "closed"},
	{HELPER, "RestrictRealtime", "yes"},
	{HELPER, "RestrictSUIDSGID", "yes"},
	{HELPER, "LockPersonality", "yes"},
	{HELPER, "UMask", "0077"},
	{HELPER, "NeedDaemonReload", "no"},
	{FSD, "NoNewPrivileges", "yes"},
	{FSD, "CapabilityBoundingSet", ""},
	{FSD, "ProtectSystem", "strict"},
	{FSD, "ProtectHome", "read-only"},
	{FSD, "PrivateTmp", "yes"},
	{FSD, "PrivateUsers", "yes"},
	{FSD, "PrivateDevices", "yes"},
	{FSD, "MemoryDenyWriteExecute", "yes"},
	{FSD, "WatchdogUSec", "1min"},
	{FSD, "UMask", "0077"},
	{FSD, "NeedDaemonReload", "no"},
	{DIALER, "DynamicUser", "yes"},
	{DIALER, "NoNewPrivileges", "yes"},
	{DIALER, "CapabilityBoundingSet", ""},
	{DIALER, "ProtectSystem", "strict"},
	{DIALER, "ProtectHome", "yes"},
	{DIALER, "PrivateDevices", "yes"},
	{DIALER, "PrivateUsers", "yes"},
	{DIALER, "RestrictAddressFamilies", "AF_VSOCK"},
	{DIALER, "MemoryDenyWriteExecute", "yes"},
	{DIALER, "UMask", "0077"},
	{DIALER, "NeedDaemonReload", "no"},
};

#define PROPERTIES                                                                                           \
	"NoNewPrivileges,CapabilityBoundingSet,ProtectSystem,ProtectHome,PrivateTmp,ProtectControlGroups,"   \
	"ProtectKernelModules,ProtectKernelLogs,DevicePolicy,RestrictRealtime,RestrictSUIDSGID,"             \
	"LockPersonality,UMask,PrivateUsers,PrivateDevices,MemoryDenyWriteExecute,WatchdogUSec,"             \
	"DynamicUser,RestrictAddressFamilies,NeedDaemonReload"

/* Whoever took it away did so by a drop-in, and the last in order of names has its way. */
static char *mend_unit(const struct doctor *d, const char *unit, const char *property, const char *value)
{
	if (strcmp(property, "NeedDaemonReload") == 0)
		return mend_as_root(d, "sh -c 'systemctl daemon-reload && banger system restart'");
	/* org.freedesktop.systemd1(5): times are shown in microseconds, and set in seconds. */
	if (strcmp(property, "WatchdogUSec") == 0)
		property = "WatchdogSec";
	return mend_as_root(d,
		"sh -c 'cd /etc/systemd/system && mkdir -p %s.d && printf \"[Service]\\n%s=%s\\n\" "
		">%s.d/zz-banger-%s.conf && "
		"systemctl daemon-reload && banger system restart'",
		unit, property, value, unit, property);
}

static void check_unit(struct doctor *d, struct finding *f, const char *unit, const char *shown)
{
	for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
		const char *property = wanted[i].property, *value = wanted[i].value;
		char buf[128];
		const char *is = service_property(shown, property, buf, sizeof(buf));

		if (strcmp(wanted[i].unit, unit) == 0 && strcmp(is, value) != 0)
			found_bad(f, GRADE_FAIL, mend_unit(d, unit, property, value), "%s: %s is %s, not %s",
				unit, property, *is ? is : "empty", *value ? value : "empty");
	}
}

static void check_units(struct doctor *d, struct finding *f)
{
	if (!service_installed(d->c)) {
		found_good(f, "banger isn't a service here");
		return;
	}
	for (size_t i = 0; i < ELEMENTSOF(units); i++) {
		_cleanup_free_ char *shown = NULL;

		if (service_show(units[i], PROPERTIES, &shown) != EXIT_OK) {
			found_unknown(d, f);
			return;
		}
		check_unit(d, f, units[i], shown);
	}
	found_good(f, "the units run as docs/privileges.md has them");
}

const struct row doctor_rows_units[] = {
	{"units", check_units},
	{NULL, NULL},
};
