#!/usr/bin/env bash
# Daemons come and go; the guest doesn't notice, and neither does who uses the tree.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box" "$FS/vms/idle"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
pid=$(vm_pid box) boot=$(cat "$FS/vms/box/boot_id") node=$(stat -c %i "$FS/vms/box/state")

fsd=$(fsd_pid)
exec 7<"$FS/vms/box/state"
kill -9 "$fsd"
(timeout $PATIENCE cat "$FS/vms/idle/state" >"$CASE_DIR/meanwhile") &
ok "banger up after kill -9 of fsd" banger up --owner "$OWNER"
wait $!
is "who read meanwhile got the answer" "$(cat "$CASE_DIR/meanwhile")" created
is "a file opened before still reads" "$(cat <&7)" running
exec 7<&-
is "another daemon" "$([ "$(fsd_pid)" != "$fsd" ] && echo other)" other
is "the VM runs" "$(cat "$FS/vms/box/state")" running
is "same VMM" "$(vm_pid box)" "$pid"
is "same guest" "$(cat "$FS/vms/box/boot_id")" "$boot"
is "same node number" "$(stat -c %i "$FS/vms/box/state")" "$node"
eventually "its agent answers again" sh -c "timeout 20 cat $FS/vms/box/wait/ready"
is "exec works" "$(banger vm exec box -- echo alive)" alive

helper=$(helper_pid)
cat "$RUN/helper.log" >>"$CASE_DIR/helper.log" 2>/dev/null
kill -9 "$helper"
ok "banger up after kill -9 of the helper" banger up --owner "$OWNER"
is "another helper" "$([ "$(helper_pid)" != "$helper" ] && echo other)" other
is "same VMM still" "$(vm_pid box)" "$pid"
ok "a new VM starts" sh -c "echo start > $FS/vms/idle/ctl"
is "stop of the old one" "$(errno_write "$FS/vms/box/ctl" stop)" OK
is "start again" "$(errno_write "$FS/vms/box/ctl" start)" OK

kill -9 "$(fsd_pid)" "$(helper_pid)"
like "a command doesn't hang where nobody answers" "$(timeout $PATIENCE "$BANGER_BIN/banger" vm ls 2>&1)" "doesn.t answer.*banger.*up"
is "status says down" "$(timeout $PATIENCE "$BANGER_BIN/banger" status >/dev/null; echo $?)" 3
ok "banger up after kill -9 of both" banger up --owner "$OWNER"
is "the VM runs" "$(cat "$FS/vms/box/state")" running
eventually "its agent answers" sh -c "timeout 20 cat $FS/vms/box/wait/ready"

kill -9 "$(vm_pid box)"
eventually "kill -9 of QEMU is seen" grep -q 'failed\|stopped' "$FS/vms/box/state"
like "and its reason told" "$(cat "$FS/vms/box/error")" 'signal 9|killed'
is "start after it" "$(errno_write "$FS/vms/box/ctl" start)" OK
pid=$(vm_pid box)
kill -9 "$(fsd_pid)"
kill -9 "$pid"
ok "QEMU dies while fsd is away" banger up --owner "$OWNER"
# A process that was killed is a while dying, and a daemon that comes up meanwhile finds it alive.
eventually "is known afterwards" grep -qx 'failed\|stopped' "$FS/vms/box/state"
is "and it starts again" "$(errno_write "$FS/vms/box/ctl" start)" OK

# In the middle of a start.
echo stop >"$FS/vms/box/ctl"
for when in 0.05 0.3 1; do
	(echo start >"$FS/vms/box/ctl") 2>/dev/null &
	starter=$!
	sleep $when
	kill -9 "$(fsd_pid)"
	ok "up after a kill $when s into a start" banger up --owner "$OWNER"
	wait $starter
	eventually "it settles" grep -Eqx 'running|stopped|failed|created' "$FS/vms/box/state"
	is "start works" "$(errno_write "$FS/vms/box/ctl" start)" OK
	is "stop works" "$(errno_write "$FS/vms/box/ctl" stop)" OK
done
case_end
