#!/usr/bin/env bash
# Files of a guest that is killed, held up, full or out of memory, and of a daemon that is killed: errors at once, nothing hangs, nothing that was
# told to be written is lost.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
programs=$(dirname "$BANGER_BIN")/tree
up
mkdir "$FS/vms/box"
echo 400M >"$FS/vms/box/disk"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
W=$FS/vms/box/workspace
src=$CASE_DIR/src
mkdir -p "$src/d"
head -c 60000000 /dev/urandom >"$src/big"
for i in {1..300}; do echo "$i" >"$src/d/$i"; done
chown -R "$OWNER" "$src"
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1000'; }
# ends WHAT COMMAND...: within PATIENCE, however.
ends()
{
	local what=$1
	shift
	timeout -k 5 "$PATIENCE" "$@" >/dev/null 2>&1
	[ $? -lt 124 ] && pass "$what" || fail "$what"
}

# The daemon goes in the middle, twice.
mirror "$CASE_DIR/diff"
as_owner mkdir "$W/diff"
as_owner timeout "$PATIENCE" "$programs/filesdiff" "${SEED:-7}" 4000 "$CASE_DIR/diff" "$W/diff" >"$CASE_DIR/filesdiff" 2>&1 & differ=$!
as_owner cp -a "$src/d" "$W/killed" & copier=$!
for i in 1 2; do
	await sh -c "[ \$(ls $W/killed 2>/dev/null | wc -l) -gt $((i * 20)) ]"
	kill -9 "$(fsd_pid)"
	banger up --owner "$OWNER" -o accel=tcg >/dev/null 2>&1 || fail "up again"
done
wait $copier
is "cp over two ends of the daemon" $? 0
wait $differ
is "random operations too" "$?$(grep -v '^seed' "$CASE_DIR/filesdiff")" 0
ok "the same bytes" diff -r "$src/d" "$W/killed"
# Whoever starts a daemon must not have the file: what it inherits it closes, and a close waits for the daemon.
perl -e '
	open my $f, "+>", "$ARGV[0]/open" or die; syswrite $f, "before\n"; unlink "$ARGV[0]/open";
	close STDOUT; open STDOUT, ">", "$ARGV[1]/opened";
	select undef, undef, undef, 0.05 until -e "$ARGV[1]/go";
	syswrite $f, "after\n" or die; sysseek $f, 0, 0; sysread $f, my $text, 100; print $text' "$W" "$CASE_DIR" & holder=$!
await test -e "$CASE_DIR/opened"
kill -9 "$(fsd_pid)"
ok "up" banger up --owner "$OWNER" -o accel=tcg
touch "$CASE_DIR/go"
wait $holder
is "a file without a name, open over the daemon's end" "$(cat "$CASE_DIR/opened")" "$(printf 'before\nafter')"

# A guest that answers nobody: what was listed is listed again without it, and Ctrl-C works at once.
listed=$(ls "$W/killed" | md5sum)
kill -STOP "$(vm_pid box)"
is "a folder that was listed is again" "$(timeout 20 ls "$W/killed" | md5sum)" "$listed"
cat "$W/killed/299" >/dev/null 2>&1 & reader=$!
mkdir "$W/never" 2>/dev/null & maker=$!
for i in 1 2 3; do nap 0.3; done
began=$(clock)
kill -INT $reader $maker 2>/dev/null
kill -TERM $reader $maker
wait $reader $maker
ok "interrupted in $(($(clock) - began)) ms" test $(($(clock) - began)) -lt 10000
kill -CONT "$(vm_pid box)"
is "and goes on" "$(cat "$W/killed/299")" 299

is "pause" "$(errno_write "$FS/vms/box/ctl" pause)" OK
began=$(clock)
is "a paused guest's files: EBUSY" "$(errno_call open "$W/killed/300")" EBUSY
ok "at once" test $(($(clock) - began)) -lt 5000
is "resume" "$(errno_write "$FS/vms/box/ctl" resume)" OK

# Full: said no later than by close; what was there stays.
dd if=/dev/zero of="$W/fill" bs=1M 2>"$CASE_DIR/dd"
like "a full disk is said" "$(cat "$CASE_DIR/dd")" 'No space left'
is "what was there is" "$(cat "$W/killed/7")" 7
ok "small files too" sh -c "! cp -a $src/d $W/toomuch || test \$(ls $W/toomuch | wc -l) = 300"
rm -rf "$W/fill" "$W/toomuch"
ok "room again" as_owner cp "$src/big" "$W/big"
cmp "$src/big" "$W/big" && pass "whole" || fail "whole"

# Out of memory: the agent stays.
timeout "$PATIENCE" "$BANGER_BIN/banger" vm exec -d box -- sh -c 'x=x; while :; do x=$x$x; done' >/dev/null
ok "cp while the guest has no memory" as_owner cp -a "$src/d" "$W/oom"
ok "the same" diff -r "$src/d" "$W/oom"

# Its clock is the host's, to a second; what a busy host or a pause takes of it is made good, and what somebody in the guest makes of it is his.
ok "the guest's clock is the host's" guest_on_time box
pause()
{
	is "pause" "$(errno_write "$FS/vms/box/ctl" pause)" OK
	nap 3
	is "resume" "$(errno_write "$FS/vms/box/ctl" resume)" OK
}
pause
ok "it is right again when the VM goes on" guest_on_time box
[ "$(cat "$FS/host/accel")" != tcg ] ||
	is "it goes by the processor's counter" "$(banger vm exec box -- cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" tsc

# A clock that somebody has set wrong by a year: it stays so, and what was copied is the same, seen from here and from there.
banger vm exec box -- sh -c 'date -s @$(($(date +%s) + 31536000))' >/dev/null
pause
ok "a clock that was set in the guest is left alone" test "$(banger vm exec box -- date +%s)" -gt $(($(date +%s) + 30000000))
ok "rsync to a guest of next year" as_owner rsync -a "$src/d/" "$W/year/"
is "again moves nothing" "$(as_owner rsync -ai "$src/d/" "$W/year/")" ""
as_owner sh -c "echo late > $W/year/late"
is "one time for both sides" "$(stat -c %Y "$W/year/late")" "$(banger vm exec box -- stat -c %Y year/late)"
banger vm exec box -- sh -c 'date -s @$(($(date +%s) - 31536000))' >/dev/null

# Two that write a file, one on each side: what is there is one's or the other's, and both sides see the same.
banger vm exec box -- sh -c 'i=0; while [ $i -lt 60 ]; do echo "guest $i" > both; i=$((i + 1)); done' & writer=$!
for i in {1..60}; do echo "host $i" >"$W/both"; done
wait $writer
like "two writers" "$(cat "$W/both")" '^(guest|host) [0-9]+$'
is "both sides agree" "$(banger vm exec box -- cat both)" "$(cat "$W/both")"

# Stop while rsync writes.
as_owner rsync -a "$src/" "$W/rsync/" >/dev/null 2>&1 & rsync=$!
await test -e "$W/rsync"
is "stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ends "rsync ends" tail --pid=$rsync -f /dev/null
wait $rsync
is "start" "$(errno_write "$FS/vms/box/ctl" start)" OK
ok "rsync goes on where it was" as_owner rsync -a --delete "$src/" "$W/rsync/"
ok "it is the same" diff -r "$src" "$W/rsync"

# Killed in the middle of a copy out and a copy in.
(as_owner cp "$W/big" "$CASE_DIR/diff/out"; as_owner cp -a "$src/d" "$W/late") >/dev/null 2>&1 & copier=$!
as_owner cp "$src/big" "$W/big2" >/dev/null 2>&1 & copier2=$!
await test -s "$W/big2"
kill -9 "$(vm_pid box)"
ends "copies end when the guest is killed" tail --pid=$copier -f /dev/null
ends "both" tail --pid=$copier2 -f /dev/null
wait
eventually "it is seen" grep -q failed "$FS/vms/box/state"
is "its disk has what it had" "$(cat "$W/killed/7")" 7
is "the next start" "$(errno_write "$FS/vms/box/ctl" start)" OK
is "is clean" "$(cat "$W/killed/7")" 7
# The agent in the middle of a copy out and a copy in; what is kept of "big" here is read anew.
banger vm exec box -- sh -c 'printf x | dd of=big conv=notrunc status=none' 2>/dev/null
as_owner cp "$W/big" "$CASE_DIR/diff/out" >/dev/null 2>&1 & copier=$!
as_owner cp "$src/big" "$W/big3" >/dev/null 2>&1 & copier2=$!
await test -s "$W/big3"
banger vm exec box -- sh -c 'for p in /proc/[0-9]*; do case "$(tr "\0" " " <$p/cmdline)" in @nit*|@*|*banger-guest*) kill -9 ${p#/proc/};; esac; done' >/dev/null 2>&1
ends "an agent that was killed: errors, no hanging" cat "$W/killed/8"
ends "nor in the middle of a copy" tail --pid=$copier -f /dev/null
ends "out and in" tail --pid=$copier2 -f /dev/null
echo kill >"$FS/vms/box/ctl"
case_end
