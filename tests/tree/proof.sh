#!/usr/bin/env bash
# Firecracker where it runs no guest: what is told of the proof that failed has the VMM's last words, also where the answer was kept.
. "$(dirname "$0")/../lib/case.sh"
[ -n "${CASE_INSIDE:-}" ] || [ -c /dev/kvm ] || skip kvm "no /dev/kvm: nothing is proven"
case_begin "$@"
mount -t tmpfs -o mode=755 local /usr/local/bin
for name in firecracker jailer; do
	install -m 0755 "$(dirname "$BANGER_BIN")/tree/falsejailer" "/usr/local/bin/$name"
done
up
echo auto >"$FS/config/accel"
VM=$FS/vms/box
as_owner mkdir "$VM"
echo firecracker >"$VM/engine"
launches() { grep -c call=launch "$RUN/helper.log"; }
for time in "a proof that fails" "once more, by the answer that is kept"; do
	before=${after:-}
	is "$time" "$(errno_write "$VM/ctl" start)" ENODEV
	after=$(launches)
	like "$time: error has the VMM's last words" "$(cat "$VM/error")" \
		"engine: firecracker: a guest didn't come up with KVM: Firecracker ended before it opened its API socket; the moon is in the wrong house"
done
is "one VMM was launched in all" "$before $after" "1 1"
is "nothing of it is left" "$(ls "$RUN/jails" 2>/dev/null)" ""
ok "the VM goes" as_owner rmdir "$VM"
case_end
