#!/usr/bin/env bash
# A host whose first process isn't systemd, with cgroup v2: the helper makes each VM's cgroup itself, with the limits that a scope has. Systemd is only hidden
# here, from an instance that is brought up by hand.
. "$(dirname "$0")/../lib/host.sh"
if [ -z "${HIDDEN:-}" ]; then
	host_begin ready
	# What the helper looks at, sd_booted(3), is not there in a mount namespace of this case's own.
	HIDDEN=1 unshare -m bash "$0"
	read -r CASE_COUNT CASE_FAILED <"$CASE_DIR/counts"
	host_end
fi
mount -t tmpfs none /run/systemd
export BANGER_INSTANCE=cg
FS=/run/banger-cg/fs VM=$FS/vms/box1 CG=/sys/fs/cgroup/banger-cg

ok "an instance without systemd" banger up --owner "$OWNER"
host_be_patient
[ -z "$KERNEL" ] || ok "the guests' kernel" as_owner banger kernel import "$KERNEL" debian
as_owner mkdir "$VM"
ok "a VM starts" as_owner sh -c "echo start >$VM/ctl" || diag "$(cat "$VM/error" /run/banger-cg/helper.log)"
pid=$(vm_pid box1)
mine=$(echo $CG/vm-*)
is "in a cgroup of its own" "$(sed -n 's/^0:://p' "/proc/$pid/cgroup")" "${mine#/sys/fs/cgroup}"
# KVM has a thread of the kernel's there.
is "with its reaper, and nobody else" "$(sort -n "$mine/cgroup.procs" | while read -r p; do ! grep -qz . "/proc/$p/cmdline" || echo "$p"; done | tr '\n' ' ')" \
	"$(printf '%s\n' "$pid" "$(awk '/^PPid:/{print $2}' "/proc/$pid/status")" | sort -n | tr '\n' ' ')"
memory=$(cat "$VM/memory")
is "its memory has a limit" "$(cat "$mine/memory.max")" $((memory + memory / 16 + (512 << 20)))
is "and so have its threads" "$(cat "$mine/pids.max")" $(($(cat "$VM/vcpus") + 128))

for helper in $(pgrep -x banger-helper); do
	[ "$(readlink "/proc/$helper/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || break
done
kill -9 "$helper"
ok "with the helper killed, and back" banger up --owner "$OWNER"
is "it runs on" "$(vm_pid box1) $(cat "$VM/state")" "$pid running"
is "in its cgroup" "$(sed -n 's/^0:://p' "/proc/$pid/cgroup")" "${mine#/sys/fs/cgroup}"
ok "it stops" as_owner sh -c "echo stop >$VM/ctl"
fails "its cgroup goes with it" test -e "$mine"

# A VMM that ends by itself, and a folder of the same name that somebody left.
mkdir -p "$mine"
ok "over a cgroup that was left there" as_owner sh -c "echo start >$VM/ctl"
is "its memory is limited in it" "$(cat "$mine/memory.max")" $((memory + memory / 16 + (512 << 20)))
kill -9 "$(vm_pid box1)"
is "a VMM that was killed" "$(timeout "$PATIENCE" cat "$VM/wait/failed")" failed
eventually "its cgroup goes too" test ! -e "$mine"
ok "rm" as_owner rmdir "$VM"
ok "and it is down" banger down
fails "with the cgroup above" test -e $CG
rm -rf /var/lib/banger-cg
echo "$CASE_COUNT $CASE_FAILED" >"$CASE_DIR/counts"
