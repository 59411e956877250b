#!/usr/bin/env bash
# From the package to a VM that outlives both services, and back to nothing.
. "$(dirname "$0")/../lib/host.sh"
host_begin
export DEBIAN_FRONTEND=noninteractive

is "systemd is the host's first process" "$(cat /proc/1/comm)" systemd
ok "apt installs the package" apt-get install -y -q "$PACKAGE"
is "nothing runs that nobody asked for" "$(pgrep -c banger)" 0
like "status says how to go on" "$(banger system status)" 'banger system install --owner'
fails "root can't be the owner" banger system install --owner root
fails "nor somebody who isn't there" banger system install --owner nosuchuser
fails "nor does a user install it" as_owner banger system install --owner "$OWNER"
ok "banger system install" banger system install --owner "$OWNER"
ok "again: it is so already" banger system install --owner "$OWNER"
ok "status" banger system status
for unit in banger-helper.socket banger-helper.service banger-vsock.socket banger.service; do
	is "$unit runs" "$(unit $unit ActiveState)" active
done
is "the daemon is the owner" "$(stat -c %U "/proc/$(unit banger.service MainPID)")" "$OWNER"
is "without capabilities, also without ever getting some" "$(awk '/^Cap(Eff|Bnd):/{print $2}' "/proc/$(unit banger.service MainPID)/status" | sort -u)" 0000000000000000
is "the socket is the owner's alone" "$(stat -c '%U %a' /run/banger/helper.sock)" "$OWNER 600"
is "the state is the owner's alone" "$(stat -c '%U %a' /var/lib/banger)" "$OWNER 700"

ok "the emulated KVM is given its time" host_be_patient
ok "the owner imports a kernel" as_owner banger kernel import "$KERNEL" debian
ok "the owner makes a VM" as_owner mkdir "$FS/vms/box1"
ok "echo start" as_owner sh -c "echo start > $FS/vms/box1/ctl"
is "it runs" "$(cat "$FS/vms/box1/state")" running
diag "accelerator: $(cat "$FS/host/accel") ($(cat "$FS/host/kvm"))"
is "a command in it" "$(as_owner banger vm exec box1 -- hostname)" box1
ok "a file in it" as_owner sh -c "echo kept > $FS/vms/box1/workspace/file"

pid=$(vm_pid box1)
boot=$(cat "$FS/vms/box1/boot_id")
# same_vm WHAT: after WHAT it is the same VM, the same guest, and it answers.
same_vm()
{
	is "$1: the same process" "$(timeout "$PATIENCE" cat "$FS/vms/box1/pid")" "$pid"
	is "$1: which lives" "$(stat -c %u "/proc/$pid" | awk '{print ($1 >= 1879113728)}')" 1
	is "$1: running" "$(cat "$FS/vms/box1/state")" running
	is "$1: the same guest answers" "$(as_owner timeout "$PATIENCE" banger vm exec box1 -- cat /proc/sys/kernel/random/boot_id)" "$boot"
	is "$1: its file too" "$(cat "$FS/vms/box1/workspace/file")" kept
}
mount_of()
{
	awk -v at="$FS" '$5 == at {print $1, $3}' /proc/self/mountinfo
}
mounted=$(mount_of)
old_fsd=$(unit banger.service MainPID) old_helper=$(unit banger-helper.service MainPID)
exec 7<"$FS/vms/box1/console"
ok "both are restarted" banger system restart
is "the daemon is another" "$([ "$(unit banger.service MainPID)" != "$old_fsd" ] && echo other)" other
is "the helper is another" "$([ "$(unit banger-helper.service MainPID)" != "$old_helper" ] && echo other)" other
is "the mount is the same" "$(mount_of)" "$mounted"
same_vm "restart of both"
ok "a file that was open stays so" timeout "$PATIENCE" head -c 1 <&7
exec 7<&-

old_fsd=$(unit banger.service MainPID) old_helper=$(unit banger-helper.service MainPID)
kill -9 "$old_fsd" "$old_helper"
another()
{
	local now
	now=$(unit "$1" MainPID)
	[ "$(unit "$1" ActiveState)" = active ] && [ "$now" != 0 ] && [ "$now" != "$2" ]
}
eventually "the killed daemon comes again" another banger.service "$old_fsd"
eventually "the killed helper comes again" another banger-helper.service "$old_helper"
is "the mount is the same" "$(mount_of)" "$mounted"
same_vm "both killed at once"

ok "the same package again: an upgrade" apt-get install -y -q --reinstall "$PACKAGE"
same_vm "upgrade"

ok "the owner stops it" as_owner sh -c "echo stop > $FS/vms/box1/ctl"
ok "and starts it" as_owner sh -c "echo start > $FS/vms/box1/ctl"
ok "banger system uninstall" banger system uninstall
is "the state is kept" "$(ls /var/lib/banger/kernels)" 1
ok "installed again" banger system install --owner "$OWNER"
is "the VM is there, stopped" "$(cat "$FS/vms/box1/state")" stopped
is "with its file" "$(errno_write "$FS/vms/box1/ctl" start) $(cat "$FS/vms/box1/workspace/file")" "OK kept"
ok "uninstall --purge" banger system uninstall --purge
fails "the state has gone" test -e /var/lib/banger
fails "and the lock" test -e /run/banger.lock
ok "apt removes the package" apt-get purge -y -q banger
host_end
