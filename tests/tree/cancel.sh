#!/usr/bin/env bash
# A start that waits for its kernel is cancelled: through ops/, by Ctrl-C, by the end of the pull. Nothing of it stays, what it waited for neither.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
# An apt that takes for ever, in this case's view of the machine only.
printf '#!/bin/sh\nexec sleep 1000\n' >"$CASE_DIR/apt"
chmod 0755 "$CASE_DIR/apt"
mount --bind "$CASE_DIR/apt" "$(command -v apt-get)"
mount --bind "$CASE_DIR/apt" "$(command -v apt-cache)"
rmdir "$FS"/kernels/* 2>/dev/null
mkdir "$FS/vms/box"

op_of() { grep -lx "$1" "$FS"/ops/*/kind | head -n 1 | xargs -r dirname; }
begin()
{
	(echo start >"$FS/vms/box/ctl") 2>"$CASE_DIR/said" &
	starter=$!
	await sh -c "grep -qx pull $FS/ops/*/kind"
}
ended()
{
	eventually "$1: nothing is at work" sh -c "[ -z \"\$(ls $FS/ops)\" ]"
	is "$1: the VM is as it was" "$(cat "$FS/vms/box/state")" created
	is "$1: nothing was made" "$(find "$STATE/kernels" -mindepth 1)" ""
	is "$1: no apt is left" "$(pgrep -u "$OWNER" --ns $$ --nslist mnt -f 'sleep 1000')" ""
}

begin
op=$(op_of start)
is "it waits for the kernel" "$(cat "$op/stage")" kernel
is "all goes well so far" "$(cat "$op/error")" ""
is "cancel through ops/" "$(errno_write "$op/ctl" cancel)" OK
wait $starter
like "the start says so" "$(cat "$CASE_DIR/said")" Interrupted
like "error names the step" "$(cat "$FS/vms/box/error")" '^[0-9]+ kernel: .*cancelled'
ended "cancel"

begin
kill -TERM $starter
wait $starter
ended "a signal"

# A child of the writer's that ends, or its window's size, is no reason; a signal that comes after that is one.
perl -e '$SIG{CHLD} = $SIG{WINCH} = sub { }; my $child = fork // die; if (!$child) { sleep 1000; exit }
	print "$child\n"; close STDOUT; open my $f, ">", $ARGV[0] or die; syswrite $f, "start\n"' "$FS/vms/box/ctl" >"$CASE_DIR/child" 2>/dev/null &
starter=$!
await sh -c "grep -qx pull $FS/ops/*/kind"
kill -9 "$(cat "$CASE_DIR/child")"
kill -WINCH $starter
await grep -q 'ShdPnd:.*0000000008010000' "/proc/$starter/status"
is "what is asked of the daemon meanwhile" "$(mkdir "$FS/vms/other" && rmdir "$FS/vms/other" && echo done)" done
is "the end of a child cancels nothing" "$(cat "$(op_of start)/stage")" kernel
kill -TERM $starter
wait $starter
ended "a signal behind others"

begin
is "cancel of the pull itself" "$(errno_write "$(op_of pull)/ctl" cancel)" OK
wait $starter
like "ends the start as well" "$(cat "$CASE_DIR/said")" Interrupted
ended "the pull"

# Writers of one ctl don't wait for each other.
begin
is "a stop beside it" "$(errno_write "$FS/vms/box/ctl" stop)" OK
wait $starter
like "ends the start" "$(cat "$CASE_DIR/said")" Interrupted
ended "a stop"

umount "$(command -v apt-get)" "$(command -v apt-cache)"
case_end
