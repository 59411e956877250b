#!/usr/bin/env bash
# The helper killed in the middle of a start and of a stop: at each write of its journal, one after the other, until there are no more; and at other system
# calls. After `banger up` the start works, and nothing is left behind. Each round must really have reached its kill.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
echo start >"$FS/vms/box/ctl" || { fail "start"; case_logs; exit 1; }
echo stop >"$FS/vms/box/ctl"
reached=0
# killed SYSCALL NTH VERB: the helper dies at its NTH SYSCALL of VERB; fails where it doesn't come to that many.
killed()
{
	local syscall=$1 nth=$2 helper tracer
	helper=$(helper_pid)
	cat "$RUN/helper.log" >>"$CASE_DIR/helper.log" 2>/dev/null
	strace -qq -o "$CASE_DIR/strace" -p "$helper" -e trace="$syscall" -e inject="$syscall:signal=KILL:when=$nth" 2>/dev/null &
	tracer=$!
	await sh -c "grep -q 'TracerPid:[[:space:]]*[1-9]' /proc/$helper/status"
	echo "$3" >"$FS/vms/box/ctl" 2>/dev/null
	kill $tracer 2>/dev/null
	wait $tracer 2>/dev/null
	banger up --owner "$OWNER" >"$CASE_DIR/up.log" 2>&1 || fail "up after a kill at $syscall $nth"
	await sh -c "grep -Eqx 'running|stopped|failed|created' $FS/vms/box/state"
	[ "$(helper_pid)" != "$helper" ] && reached=$((reached + 1))
}
# works WHAT: after WHAT it starts and stops.
works()
{
	is "$1: start" "$(errno_write "$FS/vms/box/ctl" start)" OK
	is "$1: stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
	is "$1: no tap is left" "$(ip -o link | grep -c 'bg0-')" 0
}
for verb in start stop; do
	for ((nth = 1; ; nth++)); do
		[ $verb = start ] || is "it runs" "$(errno_write "$FS/vms/box/ctl" start)" OK
		killed pwrite64 $nth $verb || break
		works "write $nth of the journal in $verb"
	done
	ok "$verb writes it $((nth - 1)) times" test $((nth - 1)) -ge 3
	[ $verb = stop ] || is "undisturbed, it runs" "$(cat "$FS/vms/box/state")" running
	echo stop >"$FS/vms/box/ctl"
done
for syscall in sendmsg ioctl recvmsg sendto; do
	for nth in 1 3; do
		killed $syscall $nth start
		works "$syscall $nth"
	done
done
ok "$reached kills were reached" test $reached -ge 11
case_end
