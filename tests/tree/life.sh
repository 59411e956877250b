#!/usr/bin/env bash
# A VM's whole life through the tree, twice: nothing but mkdir, echo, cat, mv and rmdir.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
tap() { ip -o link show master bg0 | awk -F'[:@ ]+' '{print $2; exit}'; }
# Whether this kernel has what net_rate takes of it in QEMU (helper/rate.h).
net_rate_here()
{
	unshare --net sh -c 'ip tuntap add t0 mode tap && tc qdisc add dev t0 root tbf rate 8mbit burst 64k latency 1s && tc qdisc add dev t0 clsact &&
		tc filter add dev t0 ingress protocol all u32 match u32 0 0 action police rate 8mbit burst 64k drop' 2>/dev/null
}

ok "mkdir makes a VM" as_owner mkdir "$FS/vms/box1"
is "it is created" "$(cat "$FS/vms/box1/state")" created
is "default vcpus" "$(cat "$FS/vms/box1/vcpus")" 1
is "default memory, in bytes" "$(cat "$FS/vms/box1/memory")" 268435456
is "default image" "$(cat "$FS/vms/box1/image")" busybox
is "default kernel" "$(cat "$FS/vms/box1/kernel")" debian
is "error is empty" "$(cat "$FS/vms/box1/error")" ""
is "no pid yet" "$(cat "$FS/vms/box1/pid")" 0
like "ctl lists start" "$(cat "$FS/vms/box1/ctl")" '^start$'
is "a second mkdir is EEXIST" "$(errno_call mkdir "$FS/vms/box1")" EEXIST

is "vcpus written" "$(errno_write "$FS/vms/box1/vcpus" 2)" OK
is "vcpus read back" "$(cat "$FS/vms/box1/vcpus")" 2
is "memory with a unit" "$(errno_write "$FS/vms/box1/memory" 320M)" OK
is "memory in bytes" "$(cat "$FS/vms/box1/memory")" 335544320

ok "echo start returns when the guest answers" as_owner sh -c "echo start > $FS/vms/box1/ctl"
is "it runs" "$(cat "$FS/vms/box1/state")" running
like "a pid" "$(cat "$FS/vms/box1/pid")" '^[1-9][0-9]*$'
like "its agent's channel" "$(cat "$FS/vms/box1/channel")" '^(vsock [0-9]+|virtio-serial)$'
like "the guest's boot_id" "$(cat "$FS/vms/box1/boot_id")" '^[0-9a-f-]{36}$'
like "an address" "$(cat "$FS/vms/box1/ip")" '^10\.66\.[0-9]+\.[0-9]+$'
like "a mac" "$(cat "$FS/vms/box1/mac")" '^52:54:00(:[0-9a-f]{2}){3}$'
is "wait/ready returns at once" "$(timeout 20 cat "$FS/vms/box1/wait/ready")" ready
is "wait/running returns at once" "$(timeout 20 cat "$FS/vms/box1/wait/running")" running
like "the guest's counters" "$(cat "$FS/vms/box1/stats")" '^memory_total [1-9][0-9]+$'
like "what its VMM counts" "$(cat "$FS/vms/box1/stats")" '^vmm_read_bytes [1-9][0-9]+$'
eventually "what its balloon was told" grep -q '^balloon_memory_available [1-9]' "$FS/vms/box1/stats"
like "health" "$(cat "$FS/vms/box1/health")" '^agent '
is "the guest sees its vcpus" "$(banger vm exec box1 -- nproc)" 2
is "its name" "$(banger vm exec box1 -- hostname)" box1
is "its address" "$(banger vm exec box1 -- sh -c 'ip -4 addr show eth0 | sed -n "s/.*inet \([0-9.]*\).*/\1/p"')" "$(cat "$FS/vms/box1/ip")"
pid=$(vm_pid box1)
is "the VMM is nobody that we know" "$(awk '/^Uid:/{print ($2 >= 1879113728)}' "/proc/$pid/status")" 1
is "without capabilities" "$(awk '/^CapEff:/{print $2}' "/proc/$pid/status")" 0000000000000000
is "with no_new_privs" "$(awk '/^NoNewPrivs:/{print $2}' "/proc/$pid/status")" 1
is "in seccomp" "$(awk '/^Seccomp:/{print $2}' "/proc/$pid/status")" 2
is "a session for all VMs together, as the scheduler divides by them" "$(cat "/proc/$(ps -o sid= -p "$pid" | tr -d ' ')/comm")" banger-launcher
# Its files: libraries, firmware and itself, read-only, and a /proc without anybody else.
for there in usr/bin/qemu-system-x86_64 etc/ld.so.cache proc/1; do
	ok "it sees /$there" test -e "/proc/$pid/root/$there"
done
for there in etc/shadow etc/passwd home root tmp var "${STATE#/}" run sys dev/fuse proc/sys usr/bin/env; do
	fails "but not /$there" test -e "/proc/$pid/root/$there"
done
is "nothing of it can be written but /proc" "$(awk '$6 !~ /^ro,/ { print $5 }' "/proc/$pid/mountinfo")" /proc
is "and its processes are its own" "$(ls "/proc/$pid/root/proc" | grep -c '^[0-9]')" 1

ok "start of a running VM does nothing" as_owner sh -c "echo start > $FS/vms/box1/ctl"
is "same process" "$(vm_pid box1)" "$pid"
is "vcpus are frozen while it runs" "$(errno_write "$FS/vms/box1/vcpus" 1)" EBUSY
like "and error says so" "$(cat "$FS/vms/box1/error")" 'vcpus'
is "rmdir of a running VM is EBUSY" "$(errno_call rmdir "$FS/vms/box1")" EBUSY
is "mv of a running VM is EBUSY" "$(errno_call rename "$FS/vms/box1" "$FS/vms/box2")" EBUSY

is "pause" "$(errno_write "$FS/vms/box1/ctl" pause)" OK
is "paused" "$(cat "$FS/vms/box1/state")" paused
is "resume" "$(errno_write "$FS/vms/box1/ctl" resume)" OK
is "running again" "$(cat "$FS/vms/box1/state")" running
is "same guest" "$(vm_pid box1)" "$pid"

boot=$(cat "$FS/vms/box1/boot_id")
ok "a file on the work disk" as_owner sh -c "echo kept > $FS/vms/box1/workspace/file"
is "restart" "$(errno_write "$FS/vms/box1/ctl" restart)" OK
is "runs after restart" "$(cat "$FS/vms/box1/state")" running
is "another guest" "$([ "$(cat "$FS/vms/box1/boot_id")" != "$boot" ] && echo other)" other
is "the work disk is as it was" "$(cat "$FS/vms/box1/workspace/file")" kept

is "stop" "$(errno_write "$FS/vms/box1/ctl" stop)" OK
is "stopped" "$(cat "$FS/vms/box1/state")" stopped
is "no pid" "$(cat "$FS/vms/box1/pid")" 0
is "stop of a stopped VM does nothing" "$(errno_write "$FS/vms/box1/ctl" stop)" OK
is "pause of a stopped VM is EBUSY" "$(errno_write "$FS/vms/box1/ctl" pause)" EBUSY
like "and error says why" "$(cat "$FS/vms/box1/error")" 'pause'
# Where the host has device-mapper there is no overlay.
for disk in "$STATE"/vms/*/*.ext4; do
	ok "${disk##*/} was left clean" e2fsck -fn "$disk"
done

ok "mv renames a stopped VM" as_owner mv "$FS/vms/box1" "$FS/vms/box2"
fails "the old name is gone" test -e "$FS/vms/box1"
is "settings came along" "$(cat "$FS/vms/box2/vcpus")" 2
is "start under the new name" "$(errno_write "$FS/vms/box2/ctl" start)" OK
is "its host name is the new one" "$(banger vm exec box2 -- hostname)" box2
is "and the files are there" "$(cat "$FS/vms/box2/workspace/file")" kept
is "kill" "$(errno_write "$FS/vms/box2/ctl" kill)" OK
is "stopped by kill" "$(cat "$FS/vms/box2/state")" stopped
is "start after kill" "$(errno_write "$FS/vms/box2/ctl" start)" OK
before=$(date +%s%N)
is "stop again" "$(errno_write "$FS/vms/box2/ctl" stop)" OK
at_once=$(($(date +%s%N) - before))
is "nothing limits its disks" "$(cat "$FS/vms/box2/disk_rate" "$FS/vms/box2/disk_ops" "$FS/vms/box2/net_rate" | tr '\n' ' ')" "max max max "
is "a limit" "$(errno_write "$FS/vms/box2/disk_rate" 2M) $(cat "$FS/vms/box2/disk_rate")" "OK 2097152"
is "one too low" "$(errno_write "$FS/vms/box2/disk_rate" 1000)" ERANGE
is "one of operations" "$(errno_write "$FS/vms/box2/disk_ops" 5000)" OK
is "one of the network" "$(errno_write "$FS/vms/box2/net_rate" 1M)" OK
# What comes of it is the kernel's: one without is named, and QEMU doesn't start in it.
if net_rate_here; then
	is "it starts with it" "$(errno_write "$FS/vms/box2/ctl" start)" OK
	# 300 echoes of 20 KB are 6 MB each way; the bucket and the first second's are let through.
	before=$(date +%s%N)
	ok "6 MB over the network" timeout "$PATIENCE" banger vm exec box2 -- ping -q -c 300 -A -s 20000 "$(cat "$FS/host/gateway")"
	ok "take their time" test $(($(date +%s%N) - before)) -gt 3000000000
	is "no limit any more" "$(errno_write "$FS/vms/box2/net_rate" max) $(tc qdisc show dev "$(tap)" | grep -Ec 'tbf|clsact')" "OK 0"
else
	skip_part police "its rate is held" "this kernel has no police action"
	is "it doesn't start with it" "$(errno_write "$FS/vms/box2/ctl" start)" ENOTSUP
	like "and says why" "$(cat "$FS/vms/box2/error")" 'net_rate: .* kernel lacks .* modprobe .* echo max > net_rate'
	is "without it, it does" "$(errno_write "$FS/vms/box2/net_rate" max) $(errno_write "$FS/vms/box2/ctl" start)" "OK OK"
	is "nor does it take it while it runs" "$(errno_write "$FS/vms/box2/net_rate" 1M) $(cat "$FS/vms/box2/net_rate")" "ENOTSUP max"
	like "in words" "$(cat "$FS/vms/box2/error")" '^[0-9]+ net_rate: the host.s kernel lacks .* modprobe'
	is "and nothing of it is left" "$(tc qdisc show dev "$(tap)" | grep -Ec 'tbf|clsact')" 0
fi
before=$(date +%s%N)
ok "6 MiB to a disk" banger vm exec box2 -- dd if=/dev/zero of=/root/zeros bs=64k count=96 conv=fsync
ok "take their time" test $(($(date +%s%N) - before)) -gt 2000000000
is "less while it runs" "$(errno_write "$FS/vms/box2/disk_rate" 1M) $(cat "$FS/vms/box2/disk_rate")" "OK 1048576"
before=$(date +%s%N)
ok "4 MiB to a disk" banger vm exec box2 -- dd if=/dev/zero of=/root/zeros bs=64k count=64 conv=fsync
ok "take more" test $(($(date +%s%N) - before)) -gt 3000000000
is "no limit any more" "$(errno_write "$FS/vms/box2/disk_rate" max) $(errno_write "$FS/vms/box2/disk_ops" max)" "OK OK"
# What is in the workspace is listed before: the kernel has it in its pages.
as_owner mkdir "$FS/vms/box2/workspace/kept" && as_owner touch "$FS/vms/box2/workspace/kept/file" "$FS/vms/box2/workspace/beside"
for i in 1 2 3; do ls "$FS/vms/box2/workspace" "$FS/vms/box2/workspace/kept" >/dev/null; done
kept=$(banger vm exec box2 -- sh -c 'find /etc/passwd /root/zeros /root/workspace | sort; ls /bin | wc -l')
fails "rm -r of a running VM" as_owner rm -r "$FS/vms/box2"
is "takes nothing of the guest's" "$(banger vm exec box2 -- sh -c 'find /etc/passwd /root/zeros /root/workspace | sort; ls /bin | wc -l')" "$kept"
is "and who didn't try sees it all" "$(ls "$FS/vms/box2/root/etc/passwd")" "$FS/vms/box2/root/etc/passwd"
ok "a job that SIGTERM doesn't end" banger vm exec -d box2 -- sh -c 'trap "" TERM; touch /tmp/deaf; exec sleep 1000'
eventually "runs" banger vm exec box2 -- test -e /tmp/deaf
before=$(date +%s%N)
is "stop" "$(errno_write "$FS/vms/box2/ctl" stop)" OK
ok "waits for it, as it doesn't where nobody runs" test $(($(date +%s%N) - before)) -gt $((at_once + 1000000000))
ok "rm -r of a stopped VM" as_owner rm -r "$FS/vms/box2"
fails "it is gone" test -e "$FS/vms/box2"
is "its folder too" "$(ls "$STATE/vms")" ""
case_end
