#!/usr/bin/env bash
# fsd killed at its system calls in the middle of creating, starting, stopping and deleting: the next daemon finishes or undoes it,
# and who waits in the tree gets an answer.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
reached=0
# round SYSCALL NTH ACTION...: ACTION is done while the daemon dies at its NTH SYSCALL.
round()
{
	local syscall=$1 nth=$2 fsd tracer
	shift 2
	fsd=$(fsd_pid)
	strace -f -qq -o "$CASE_DIR/strace" -p "$fsd" -e trace="$syscall" -e inject="$syscall:signal=KILL:when=$nth" 2>/dev/null &
	tracer=$!
	await sh -c "grep -q 'TracerPid:[[:space:]]*[1-9]' /proc/$fsd/status"
	timeout "$PATIENCE" sh -c "$*" >/dev/null 2>&1 &
	local actor=$!
	local end=$((SECONDS + 20))
	while [ -d "/proc/$fsd" ] && ! grep -q 'State:[[:space:]]*[ZX]' "/proc/$fsd/status" && kill -0 $actor 2>/dev/null && [ $SECONDS -lt $end ]; do
		read -r -t 0.05 <> <(:)
	done
	if [ -d "/proc/$fsd" ] && ! grep -q 'State:[[:space:]]*[ZX]' "/proc/$fsd/status"; then
		kill $tracer
		wait $tracer 2>/dev/null
	else
		reached=$((reached + 1))
		banger up --owner "$OWNER" >"$CASE_DIR/up.log" 2>&1 || { fail "up after a kill at $syscall $nth of: $*"; diag "$(cat "$CASE_DIR/up.log")"; }
	fi
	wait $actor 2>/dev/null
	[ $? != 124 ] || fail "$syscall $nth: who waited for '$*' got an answer"
	await sh -c "grep -Eqx 'running|stopped|failed|created' $FS/vms/box/state"
}
for nth in 1 2; do
	for syscall in fdatasync pwrite64 mkdirat; do
		round $syscall $nth "mkdir $FS/vms/new"
		rmdir "$FS/vms/new" 2>/dev/null
		is "$syscall $nth in mkdir: whole or absent, and can be made" "$(errno_call mkdir "$FS/vms/new")" OK
		is "and removed" "$(errno_call rmdir "$FS/vms/new")" OK
	done
done
for spot in "sendmsg 1" "sendmsg 2" "sendmsg 4" "sendmsg 6" "memfd_create 1" "connect 1" "connect 2"; do
	round $spot "echo start > $FS/vms/box/ctl"
	is "$spot in start: start works" "$(errno_write "$FS/vms/box/ctl" start)" OK
	round $spot "echo stop > $FS/vms/box/ctl"
	is "$spot in stop: stop works" "$(errno_write "$FS/vms/box/ctl" stop)" OK
	is "$spot: no tap is left" "$(ip -o link | grep -c 'bg0-')" 0
done
ok "$reached kills were reached" test $reached -ge 5
is "state folders are those of the VMs" "$(ls "$STATE/vms" | wc -l)" "$(ls "$FS/vms" | wc -l)"
case_end
