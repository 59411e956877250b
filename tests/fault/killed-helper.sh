#!/usr/bin/env bash
# The helper killed at its system calls, one after the other, in the middle of a start: after `banger up` the start works, and
# nothing is left behind. Each round must really have reached its kill.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
echo start >"$FS/vms/box/ctl" || { fail "start"; case_logs; exit 1; }
echo stop >"$FS/vms/box/ctl"
reached=0
for syscall in ${SYSCALLS:-pwrite64 sendmsg ioctl recvmsg sendto}; do
	for nth in ${NTH:-1 3}; do
		helper=$(helper_pid)
		cat "$RUN/helper.log" >>"$CASE_DIR/helper.log" 2>/dev/null
		strace -qq -o "$CASE_DIR/strace" -p "$helper" -e trace="$syscall" -e inject="$syscall:signal=KILL:when=$nth" 2>/dev/null &
		tracer=$!
		await sh -c "grep -q 'TracerPid:[[:space:]]*[1-9]' /proc/$helper/status"
		echo start >"$FS/vms/box/ctl" 2>/dev/null
		kill $tracer 2>/dev/null
		wait $tracer 2>/dev/null
		banger up --owner "$OWNER" >"$CASE_DIR/up.log" 2>&1 || fail "up after a kill at $syscall $nth"
		[ "$(helper_pid)" = "$helper" ] || reached=$((reached + 1))
		await sh -c "grep -Eqx 'running|stopped|failed|created' $FS/vms/box/state"
		is "$syscall $nth: start" "$(errno_write "$FS/vms/box/ctl" start)" OK
		is "$syscall $nth: stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
		is "$syscall $nth: no tap is left" "$(ip -o link | grep -c 'bg0-')" 0
	done
done
ok "$reached kills were reached" test $reached -ge 6
case_end
