#!/usr/bin/env bash
# Jobs, and what is copied beside them, of a guest that is paused, full, out of memory, or killed: errors that say what, nothing hangs, the next start
# is clean. And two hundred jobs at once.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
BOX=$FS/vms/box
W=$BOX/workspace
mkdir "$BOX"
echo 256M >"$BOX/memory"
echo 64M >"$BOX/disk"
ok "start" sh -c "echo start >$BOX/ctl"
# soon FILE COMMAND...: its output to FILE, within PATIENCE; how it ended.
soon()
{
	local out=$1
	shift
	timeout -k 5 "$PATIENCE" "$@" >"$CASE_DIR/$out" 2>&1
	echo $?
}
run() { soon "$1" "$BANGER_BIN/banger" vm exec "${@:2}"; }

# Each begins, says its number when it is told it, and ends with it.
is "200 jobs at once" "$(timeout "$PATIENCE" perl -e '
	my ($exec) = @ARGV;
	my @jobs = map { open my $f, "+<", "$exec/clone" or die "clone $_: $!"; chomp(my $n = <$f>); [$f, $n, $_] } 1 .. 200;
	for (@jobs) {
		my ($x, $i) = ("$exec/$$_[1]", $$_[2]);
		say_to("$x/cmd", "sh\n-c\nread n; echo \$n; echo err\$n >&2; exit \$n\n");
		open $$_[3], ">", "$x/stream/stdin" or die "stdin $i: $!";
		say_to("$x/ctl", "start\n");
	}
	my $running = grep { -e "$exec/$$_[1]" && `cat $exec/$$_[1]/status` =~ /^state running$/m } @jobs;
	for (@jobs) { syswrite $$_[3], "$$_[2]\n" or die "input: $!"; close $$_[3] }
	my $right = 0;
	for (@jobs) {
		my ($x, $i) = ("$exec/$$_[1]", $$_[2]);
		$right++ if text("$x/wait/exit") eq "$i\n" && text("$x/stdout") eq "$i\n" && text("$x/stderr") eq "err$i\n";
		rmdir $x or die "rmdir: $!";
	}
	print "$running run, $right are right";
	sub say_to { open my $f, ">", $_[0] or die "$_[0]: $!"; syswrite $f, $_[1] or die "$_[0]: $!" }
	sub text { open my $f, "<", $_[0] or die "$_[0]: $!"; join "", <$f> }' "$BOX/exec" 2>&1)" "200 run, 200 are right"
is "and gone" "$(ls "$BOX/exec" | grep -c '^[0-9]')" 0

# Nobody is there to take it: said to who writes, and nobody is held up.
exec 7<>"$BOX/exec/clone"
read -r n <&7
echo true >"$BOX/exec/$n/cmd"
exec 8>"$BOX/exec/$n/stream/stdin"
echo start >"$BOX/exec/$n/ctl"
is "a job ends" "$(timeout "$PATIENCE" cat "$BOX/exec/$n/wait/exit")" 0
is "input of one that has ended" "$(errno_write "$BOX/exec/$n/stream/stdin" late)" EPIPE
exec 8>&- 7>&-
is "input that nobody reads" "$(head -c 3000000 /dev/zero | run unread -i box -- sh -c 'exec <&-; echo on')" 0
is "does not hold up the job" "$(cat "$CASE_DIR/unread")" on

# Paused.
head -c 20000000 /dev/urandom >"$CASE_DIR/big"
"$BANGER_BIN/banger" vm exec box -- sh -c 'echo begun; sleep 1; echo over' >"$CASE_DIR/through" 2>&1 & through=$!
"$BANGER_BIN/banger" vm exec box -- sleep 1000 >"$CASE_DIR/told" 2>&1 & told=$!
eventually "two run" sh -c "[ \$(cat $BOX/exec/*/status | grep -c running) = 2 ]"
cp "$CASE_DIR/big" "$W/big" 2>"$CASE_DIR/copied" & copier=$!
await test -s "$W/big"
is "pause" "$(errno_write "$BOX/ctl" pause)" OK
is "a job of a paused VM" "$(run paused box -- true)" 1
like "is refused, and why" "$(cat "$CASE_DIR/paused")" 'paused: resume'
kill -TERM $told
wait $told
is "Ctrl-C of one that can't hear it" $? 143
like "says why" "$(cat "$CASE_DIR/told")" 'paused'
timeout "$PATIENCE" tail --pid=$copier -f /dev/null
is "a copy ends" "$?" 0
is "resume" "$(errno_write "$BOX/ctl" resume)" OK
wait $through
is "and a job goes on" "$?$(tr '\n' ' ' <"$CASE_DIR/through")" "0begun over "
wait $copier || like "the copy was told why it did not" "$(cat "$CASE_DIR/copied")" 'busy|timed out'
asleep() { run asleep box -- sh -c 'ps | grep -c "[s]leep 1000"' >/dev/null; cat "$CASE_DIR/asleep"; }
none() { [ "$(asleep)" = 0 ]; }
eventually "who was left has gone too" none
ok "a copy in its place" cp "$CASE_DIR/big" "$W/big"
ok "is whole" cmp "$CASE_DIR/big" "$W/big"
is "a folder into itself" "$(mkdir -p "$W/a/b"; errno_call rename "$W/a" "$W/a/b/c")" EINVAL

# Full, and out of memory: the job is told, the next one runs.
is "a full disk" "$(run full box -- dd if=/dev/zero of=fill bs=1M)" 1
like "is said" "$(cat "$CASE_DIR/full")" 'No space left'
is "jobs run in it" "$(run said box -- sh -c 'rm fill; echo here')$(cat "$CASE_DIR/said")" 0here
is "no memory" "$(run oom box -- sh -c 'x=xxxxxxxx; while :; do x=$x$x; done')" 137
is "the next one has it" "$(run said box -- echo here)$(cat "$CASE_DIR/said")" 0here

# Told to end, and deaf.
"$BANGER_BIN/banger" vm exec box -- sh -c 'trap "" TERM; echo deaf; while :; do sleep 1; done' >"$CASE_DIR/deaf" 2>&1 & deaf=$!
await grep -q deaf "$CASE_DIR/deaf"
await sh -c "kill -TERM $deaf; grep -q alone $CASE_DIR/deaf"
wait $deaf
is "who says so three times is let go" $? 143
like "and it is said" "$(cat "$CASE_DIR/deaf")" 'told to end 3 times'

# The agent is killed: what it was at is lost, and another one takes its place.
"$BANGER_BIN/banger" vm exec box -- sh -c 'echo begun; sleep 1000' >"$CASE_DIR/agent" 2>&1 & job=$!
cp "$CASE_DIR/big" "$W/big2" 2>/dev/null & copier=$!
await grep -q begun "$CASE_DIR/agent"
boot=$(cat "$BOX/boot_id")
# shellcheck disable=SC2016
"$BANGER_BIN/banger" vm exec -d box -- sh -c 'sleep 1; for p in /proc/[0-9]*; do case "$(tr "\\0" " " <"$p/cmdline" 2>/dev/null)" in @*) agent=${p#/proc/} ;; esac; done; kill -9 "$agent"' >/dev/null
wait $job
is "a job whose agent is killed" "$?" 255
like "is told so" "$(cat "$CASE_DIR/agent")" 'the job was lost'
timeout "$PATIENCE" tail --pid=$copier -f /dev/null
is "and a copy ends" $? 0
await sh -c "[ \$(cat $BOX/state) != running ] || grep -q '^agent [0-9]' $BOX/health"
is "start, where it is not running any more" "$(errno_write "$BOX/ctl" start)" OK
is "jobs run" "$(run said box -- echo here)$(cat "$CASE_DIR/said")" 0here
# On a port that was in the middle of a word no other can go on.
[ "$(cat "$BOX/boot_id")" != "$boot" ] || is "and what the agent had begun has ended with it" "$(asleep)" 0
ok "copies are made" cp "$CASE_DIR/big" "$W/big2"

# Killed in the middle of it all.
"$BANGER_BIN/banger" vm exec -i box -- sh -c 'echo begun; sleep 1000' >"$CASE_DIR/killed" 2>&1 </dev/null & killed=$!
exec 8<>"$BOX/exec/run"
echo 'echo begun; sleep 1000' >&8
read -r begun <&8
await grep -q begun "$CASE_DIR/killed"
kill -9 "$(vm_pid box)"
wait $killed
is "a job of a killed guest" "$?$begun" 255begun
like "is told so" "$(cat "$CASE_DIR/killed")" 'the job was lost'
is "its output ends" "$(timeout "$PATIENCE" cat <&8)" ""
exec 8>&-
eventually "it is seen" grep -q failed "$BOX/state"
is "no job then" "$(run said box -- true)" 1
like "and why" "$(cat "$CASE_DIR/said")" 'not running: banger vm start'
is "the next start" "$(errno_write "$BOX/ctl" start)" OK
is "is clean" "$(run said box -- sh -c 'dmesg | grep -c "EXT4-fs error"; sha256sum <big')$(cat "$CASE_DIR/said")" "00
$(sha256sum <"$CASE_DIR/big")"
case_end
