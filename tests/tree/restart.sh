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
# One that somebody has stopped would get a SIGHUP, were it of a process group that is an orphan's only now (_exit(2)).
kill -STOP "$pid"
kill -9 "$helper"
ok "banger up after kill -9 of the helper" banger up --owner "$OWNER"
is "another helper" "$([ "$(helper_pid)" != "$helper" ] && echo other)" other
kill -CONT "$pid"
is "same VMM still" "$(vm_pid box)" "$pid"
is "which answers" "$(banger vm exec box -- echo alive)" alive
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

# What a daemon did and had no time to answer is done, not done again, nor an error.
cut=0
for i in 1 3; do
	mkdir "$FS/vms/cut$i" & maker=$!
	perl -e 'select undef, undef, undef, $ARGV[0] / 1000' "$((i * 2))"
	kill -9 "$(fsd_pid)"
	banger up --owner "$OWNER" >/dev/null || fail "up"
	wait $maker || cut="mkdir $i"
	mv "$FS/vms/cut$i" "$FS/vms/moved$i" & mover=$!
	perl -e 'select undef, undef, undef, $ARGV[0] / 1000' "$((i * 2))"
	kill -9 "$(fsd_pid)"
	banger up --owner "$OWNER" >/dev/null || fail "up"
	wait $mover || cut="mv $i"
	rmdir "$FS/vms/moved$i" & remover=$!
	perl -e 'select undef, undef, undef, $ARGV[0] / 1000' "$((i * 4))"
	kill -9 "$(fsd_pid)"
	banger up --owner "$OWNER" >/dev/null || fail "up"
	wait $remover || cut="rmdir $i"
done
is "mkdir, mv and rmdir over a daemon's end" "$cut$(ls -d "$FS"/vms/{cut,moved}* 2>/dev/null)" 0

# Jobs, and what is written to them before their agent is found again.
eventually "the agent answers" sh -c "timeout 20 cat $FS/vms/box/wait/ready"
exec 8<>"$FS/vms/box/exec/run"
echo 'echo x >> /tmp/ran; for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.2; done; cat /tmp/ran' >&8
read -r first <&8
(sleep 1; head -c 3000000 /dev/zero) | "$BANGER_BIN/banger" vm exec -i box -- sh -c 'sleep 3; wc -c' >"$CASE_DIR/counted" & counter=$!
eventually "a job waits for input" sh -c "cat $FS/vms/box/exec/*/cmd | grep -q wc"
sleep 1.5
kill -9 "$(fsd_pid)"
ok "up" banger up --owner "$OWNER"
fsd=$(fsd_pid)
is "a job of exec/run goes on" "$first $(timeout $PATIENCE cat <&8 | tr '\n' ' ')" "1 2 3 4 5 6 7 8 9 x "
exec 8<&-
wait $counter
is "who writes to a job goes on" $? 0
is "with the same daemon" "$(fsd_pid)" "$fsd"
is "no job is left" "$(ls "$FS/vms/box/exec" | grep -c '^[0-9]')" 0
perl -e 'open my $f, "+<", $ARGV[0] or die; my $l = "sleep 1; echo y >> /tmp/ran; cat /tmp/ran\n"; syswrite $f, $l or die "write: $!"; print while sysread $f, $_, 100' "$FS/vms/box/exec/run" >"$CASE_DIR/runs" & runner=$!
perl -e 'select undef, undef, undef, 0.02'
kill -9 "$(fsd_pid)"
ok "up" banger up --owner "$OWNER"
wait $runner
is "a command is run once" "$(tr '\n' ' ' <"$CASE_DIR/runs")" "x y "

# In the middle of a start.
echo stop >"$FS/vms/box/ctl"
for when in 0.05 0.3 1; do
	(echo start >"$FS/vms/box/ctl") 2>/dev/null &
	starter=$!
	sleep $when
	kill -9 "$(fsd_pid)"
	ok "up after a kill $when s into a start" banger up --owner "$OWNER"
	wait $starter
	is "who started it is told that it runs" $? 0
	eventually "it settles" grep -Eqx 'running|stopped|failed|created' "$FS/vms/box/state"
	is "start works" "$(errno_write "$FS/vms/box/ctl" start)" OK
	is "stop works" "$(errno_write "$FS/vms/box/ctl" stop)" OK
done
case_end
