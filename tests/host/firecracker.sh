#!/usr/bin/env bash
# A VM's life in Firecracker and its jail, and its ends; what a hostile one makes of the jail; and that nothing of it outlives it.
. "$(dirname "$0")/../lib/host.sh"
[ -x "$TOP/bin/firecracker" ] && [ -x "$TOP/bin/jailer" ] || skip firecracker "no firecracker and jailer: BANGER_FIRECRACKER_DIR, or PATH"
host_begin ready
VM=$FS/vms/box1
state=/var/lib/banger/vms

is "without its programs there" "$(as_owner mkdir "$VM"; errno_write "$VM/engine" firecracker; errno_write "$VM/ctl" start)" "OK
ENOENT"
like "it says what is missing" "$(cat "$VM/error")" 'no jailer in /usr/bin or /usr/local/bin'
install -m 0755 "$TOP/bin/firecracker" "$TOP/bin/jailer" /usr/local/bin/
chmod g+w /usr/local/bin/jailer
is "one that others could change" "$(errno_write "$VM/ctl" start)" EPERM
like "is refused" "$(cat "$VM/error")" 'jailer: refused'
chmod g-w /usr/local/bin/jailer
is "with both, the best engine is" "$(cat "$FS/host/engines")" "firecracker qemu"
is "to be chosen by the host" "$(errno_write "$VM/engine" auto) $(cat "$VM/engine")" "OK auto"

ok "it starts" as_owner sh -c "echo start >$VM/ctl"
is "in Firecracker" "$(cat "$VM/engine")" firecracker
is "a command in it" "$(as_owner banger vm exec box1 -- hostname)" box1
ok "a file in it" as_owner sh -c "echo kept >$VM/workspace/file"
pid=$(vm_pid box1) boot=$(cat "$VM/boot_id") id=$(ls /run/banger/jails)
user=$(stat -c %u "/proc/$pid")
is "the process is Firecracker's" "$(cat "/proc/$pid/comm")" firecracker
is "of a user of its own" "$((user >= 1879113728))" 1
is "in all ways" "$(awk '/^(Uid|Gid):/{print $2, $3, $4, $5}' "/proc/$pid/status" | tr ' ' '\n' | sort -u)" "$user"
is "in no group" "$(awk '/^Groups:/{print NF}' "/proc/$pid/status")" 1
is "without capabilities" "$(awk '/^Cap(Prm|Eff|Amb):/{print $2}' "/proc/$pid/status" | sort -u)" 0000000000000000
is "with no_new_privs" "$(awk '/^NoNewPrivs:/{print $2}' "/proc/$pid/status")" 1
is "alone among its processes" "$(awk '/^NSpid:/{print $3}' "/proc/$pid/status")" 1
is "its environment is empty" "$(wc -c <"/proc/$pid/environ")" 0
is "its root has what it needs" "$(cd "/proc/$pid/root" && echo *)" "dev firecracker firecracker.pid initrd kernel root run sockets work"
is "its devices" "$(cd "/proc/$pid/root/dev" && find . -type c | sort | tr '\n' ' ')" "./kvm ./net/tun ./urandom ./userfaultfd "
is "no other mount is in its namespace" "$(awk '{print $5}' "/proc/$pid/mountinfo" | sort | tr '\n' ' ')" "/ /kernel /sockets /work "
is "the kernel is there to be read" "$(awk '$5 == "/kernel" {print substr($6, 1, 2)}' "/proc/$pid/mountinfo")" ro
is "the disk is the user's in there" "$(stat -c '%u %a' "/proc/$pid/root/work")" "$user 600"
is "and the owner's outside" "$(stat -c '%U %a' $state/*/work.ext4)" "$OWNER 600"
is "the sockets' folder" "$(stat -c '%u %G %a %F' "/run/banger/jails/$id")" "$user $OWNER 2770 directory"
is "lies in one of root's" "$(stat -c '%U %G' /run/banger/jails)" "root root"
is "where nobody gets through by the owner's group" "$(setpriv --reuid=nobody --regid="$OWNER" --clear-groups ls "/run/banger/jails/$id" 2>&1 | grep -c 'Permission denied')" 1
is "where the chroot was made nothing is" "$(ls /run/banger/helper/jail)" ""
is "its tap is its user's" "$(cat "/sys/class/net/bg0-$id/owner")" "$user"

# What it tells of itself, by its API and two fifos.
as_owner banger vm exec box1 -- sh -c 'dd if=/dev/zero of=/root/zeros bs=1M count=8 2>/dev/null; sync; rm /root/zeros'
written=$(awk '$1 == "vmm_write_bytes" {print $2}' "$VM/stats")
ok "it counts what the guest writes" test "$written" -ge 8388608
like "the host what it takes" "$(cat "$VM/stats")" '^vmm_cpu_usec [1-9]'
eventually "its balloon what memory the guest has" grep -q '^balloon_memory_available [1-9]' "$VM/stats"

pause=$(errno_write "$VM/ctl" pause)
case $(/usr/local/bin/firecracker --version | head -n 1) in
'Firecracker v1.16.'*)
	like "no pause by a release that loses the agent over it" "$pause" '^E(OP)?NOTSUPP?$'
	like "as it says" "$(cat "$VM/error")" 'install another release'
	;;
*)
	is "pause" "$pause $(cat "$VM/state")" "OK paused"
	is "resume" "$(errno_write "$VM/ctl" resume)" OK
	;;
esac
is "it runs" "$(cat "$VM/state")" running

same_vm()
{
	is "$1: the same process" "$(timeout "$PATIENCE" cat "$VM/pid")" "$pid"
	is "$1: running" "$(cat "$VM/state")" running
	is "$1: the same guest answers" "$(as_owner timeout "$PATIENCE" banger vm exec box1 -- cat /proc/sys/kernel/random/boot_id)" "$boot"
}
another()
{
	local now
	now=$(unit "$1" MainPID)
	[ "$(unit "$1" ActiveState)" = active ] && [ "$now" != 0 ] && [ "$now" != "$2" ]
}
# killed UNIT...: at once, and there again.
killed()
{
	local unit
	local -A old
	for unit in "$@"; do old[$unit]=$(unit "$unit" MainPID); done
	kill -9 "${old[@]}"
	for unit in "$@"; do await another "$unit" "${old[$unit]}"; done
}
ok "both are restarted" banger system restart
ok "the new daemon goes on counting" test "$(awk '$1 == "vmm_write_bytes" {print $2}' "$VM/stats")" -ge "$written"
same_vm "restart of both"
killed banger.service banger-helper.service
same_vm "both killed at once"

# gone WHAT: nothing of the VM's is left.
nothing()
{
	[ ! -e "/proc/$pid" ] && [ -z "$(ls /run/banger/jails)" ] && ! grep -q banger-jail /proc/self/mountinfo && ! ip -o link | grep -q "bg0-$id:" &&
		[ -z "$(dmsetup ls 2>/dev/null | grep bg0)" ]
}
is "restart" "$(errno_write "$VM/ctl" restart)" OK
is "another guest" "$([ "$(cat "$VM/boot_id")" != "$boot" ] && echo other)" other
is "with its file" "$(cat "$VM/workspace/file")" kept
pid=$(vm_pid box1) boot=$(cat "$VM/boot_id")
start=$SECONDS
is "stop" "$(errno_write "$VM/ctl" stop) $(cat "$VM/state")" "OK stopped"
ok "by the guest itself, within its time" test $((SECONDS - start)) -lt 40
eventually "nothing is left" nothing

# A hostile one has its folder of sockets and what is left of its root, and no more.
is "start" "$(errno_write "$VM/ctl" start)" OK
pid=$(vm_pid box1) boot=$(cat "$VM/boot_id")
cat >"$CASE_DIR/fill" <<'END'
for ((i = 0; i < 2000; i++)); do mkdir "m$i" || break; done 2>/dev/null
ln -s /etc/passwd link 2>/dev/null
head -c 64M /dev/zero >large 2>/dev/null
echo $i
END
as_vm()
{
	(cd "$1" && shift && setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@")
}
ok "a hostile VMM fills its root" test "$(as_vm "/proc/$pid/root" bash <"$CASE_DIR/fill")" -lt 64
ok "and its sockets' folder" test "$(as_vm "/run/banger/jails/$id" bash <"$CASE_DIR/fill")" -lt 16
ok "it makes no device" test ! -e "$(as_vm "/run/banger/jails/$id" sh -c 'rmdir m0; mknod device c 1 3 2>/dev/null; echo device')"
ok "a false pid file" as_vm "/proc/$pid/root" sh -c 'mv firecracker.pid was; rmdir m0; echo 1 >firecracker.pid'
said=$(grep -c 'the VMM: ' "$VM/log")
ok "a flood in its log and in its metrics" as_vm "/run/banger/jails/$id" sh -c 'seq 1 200000 >log; yes "" | head -c 1000000 >metrics; head -c 300000 /dev/zero >metrics; echo "{\"block\":7}" >metrics'
is "of which the VM's log has a hundred lines" "$(($(grep -c 'the VMM: ' "$VM/log") - said))" 100
ok "and stats what it had" grep -q '^vmm_write_bytes' "$VM/stats"
ok "a link in its API's place" as_vm "/run/banger/jails/$id" sh -c 'rm api.sock && ln -s /run/banger/helper.sock api.sock'
is "which nobody follows" "$(errno_write "$VM/ctl" pause)" ENOTSOCK
same_vm "the host goes on"
start=$SECONDS
is "kill" "$(errno_write "$VM/ctl" kill)" OK
ok "takes no time over it" test $((SECONDS - start)) -lt 20
eventually "nothing is left of it" nothing
is "what the link led to is there" "$(stat -c '%U %a' /run/banger/helper.sock)" "$OWNER 600"
like "init lives" "$(cat /proc/1/comm)" systemd

# Its ends.
# ends SIGNAL TEXT: of a VMM that runs.
ends()
{
	is "start" "$(errno_write "$VM/ctl" start)" OK
	pid=$(vm_pid box1)
	kill "-$1" "$pid"
	eventually "after SIG$1 it has failed" grep -q failed "$VM/state"
	like "and says why" "$(cat "$VM/error")" "$2"
	eventually "nothing is left" nothing
}
ends KILL 'killed by signal 9'
ends SEGV 'exit code 150 .an error of memory'
like "its own log is in the VM's" "$(cat "$VM/log")" 'the VMM: .*intercepting signal 11'
ends ILL 'exit code 157 .an instruction that this processor'
# A system call that its filter forbids, by the signal that tells it so: none but the kernel can send that, or who traces it. The 59th is execve.
# bad_syscall PID: of its first thread.
bad_syscall()
{
	perl -e '
		my $pid = $ARGV[0] + 0;
		sub trace { syscall(101, $_[0], $pid, 0, $_[1]) >= 0 or die "ptrace $_[0]: $!\n" }
		sub stopped { waitpid($pid, 0x40000000) == $pid or die "waitpid: $!\n" } # __WALL
		trace(16, 0); # PTRACE_ATTACH
		stopped();
		syscall(234, $pid, $pid, 31); # tgkill, SIGSYS
		trace(7, 0); # PTRACE_CONT
		stopped();
		trace(0x4203, pack("l3 x4 Q l L x96", 31, 0, 1, 0, 59, 0xc000003e)); # PTRACE_SETSIGINFO: SYS_SECCOMP
		trace(17, 31); # PTRACE_DETACH
	' "$1"
}
is "start" "$(errno_write "$VM/ctl" start)" OK
pid=$(vm_pid box1)
ok "a bad system call" bad_syscall "$pid"
eventually "after it, it has failed" grep -q failed "$VM/state"
like "and says why" "$(cat "$VM/error")" 'exit code 148 .it made a system call that its filter forbids'
like "and which" "$(cat "$VM/log")" 'the VMM: .*intercepting a bad syscall .59.'
eventually "nothing is left" nothing
is "start" "$(errno_write "$VM/ctl" start)" OK
pid=$(vm_pid box1)
as_owner banger vm exec box1 -- sh -c 'echo c >/proc/sysrq-trigger' >/dev/null 2>&1 &
eventually "a guest that panics has failed" grep -q failed "$VM/state"
like "and says so" "$(cat "$VM/error")" panicked
wait
is "start" "$(errno_write "$VM/ctl" start)" OK
pid=$(vm_pid box1)
kill -STOP "$pid"
start=$SECONDS
is "one that is held still stops too" "$(errno_write "$VM/ctl" stop)" OK
ok "within the limits" test $((SECONDS - start)) -lt 90
eventually "nothing is left" nothing

# Held still before it has been told what to run.
limit=$(cat "$FS/config/start_timeout_usec")
echo 60000000 >"$FS/config/start_timeout_usec"
errno_write "$VM/ctl" start >"$CASE_DIR/start" &
await pgrep -x firecracker
pid=$(pgrep -x firecracker)
kill -STOP "$pid"
wait $!
is "one that hangs while it is told what to run" "$(cat "$CASE_DIR/start") $(cat "$VM/state")" "ETIMEDOUT failed"
like "and says so" "$(cat "$VM/error")" "Firecracker doesn't|no answer from the guest's agent"
eventually "nothing is left" nothing
echo "$limit" >"$FS/config/start_timeout_usec"

# A jail that was left, mounted twice, with something in it.
mkdir "/run/banger/jails/$id"
for round in 1 2; do mount -t tmpfs left "/run/banger/jails/$id" && touch "/run/banger/jails/$id/$round"; done
is "start over a jail that was left" "$(errno_write "$VM/ctl" start)" OK
pid=$(vm_pid box1)
is "its own has nothing of that" "$(stat -c '%u %a' "/run/banger/jails/$id") $(ls "/run/banger/jails/$id" | grep -cx '[12]')" "$user 2770 0"
is "kill" "$(errno_write "$VM/ctl" kill)" OK
eventually "nothing is left" nothing

# All at once, and nobody there to clear up.
is "start" "$(errno_write "$VM/ctl" start)" OK
pid=$(vm_pid box1)
kill -9 "$pid" &
killed banger.service banger-helper.service
wait
eventually "killed with both daemons, it has failed" grep -q failed "$VM/state"
eventually "and nothing is left" nothing
is "it starts again, with the file" "$(errno_write "$VM/ctl" start) $(cat "$VM/workspace/file")" "OK kept"
like "doctor finds no fault" "$(banger doctor)" 'rights'
is "stop" "$(errno_write "$VM/ctl" stop)" OK
is "limits" "$(errno_write "$VM/disk_rate" 2M) $(errno_write "$VM/net_rate" 1M) $(errno_write "$VM/ctl" start)" "OK OK OK"
before=$(date +%s%N)
ok "6 MiB to a disk" as_owner banger vm exec box1 -- dd if=/dev/zero of=/root/zeros bs=64k count=96 conv=fsync
ok "take their time" test $(($(date +%s%N) - before)) -gt 2000000000
before=$(date +%s%N)
# The host answers echoes alone: 300 of 20 KB are 6 MB each way.
as_owner banger vm exec box1 -- ping -q -c 300 -A -s 20000 "$(ip -4 -o addr show bg0 | awk '{sub("/.*", "", $4); print $4}')" >/dev/null
ok "and 3 MB over the network" test $(($(date +%s%N) - before)) -gt 2000000000
is "others while it runs" "$(errno_write "$VM/disk_rate" 1M) $(errno_write "$VM/net_rate" max)" "OK OK"
before=$(date +%s%N)
ok "4 MiB to a disk" as_owner banger vm exec box1 -- dd if=/dev/zero of=/root/zeros bs=64k count=64 conv=fsync
ok "take more of it" test $(($(date +%s%N) - before)) -gt 3000000000
is "stop" "$(errno_write "$VM/ctl" stop)" OK
ok "rmdir" as_owner rmdir "$VM"
rm -f /usr/local/bin/firecracker /usr/local/bin/jailer
host_end
