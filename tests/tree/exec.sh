#!/usr/bin/env bash
# Jobs in the guest: streams, exit codes, signals, terminals, by the command and by plain files.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
fails "exec in a stopped VM" banger vm exec box -- true
like "says why" "$(banger vm exec box -- true 2>&1)" 'not running|start'
ok "start" sh -c "echo start > $FS/vms/box/ctl"

is "standard output" "$(banger vm exec box -- echo one two)" "one two"
is "standard error is apart" "$(banger vm exec box -- sh -c 'echo out; echo err >&2' 2>"$CASE_DIR/err"; cat "$CASE_DIR/err")" $'out\nerr'
is "standard input" "$(printf 'a\nb\n' | banger vm exec -i box -- wc -l | tr -d ' ')" 2
for code in 0 1 42 255; do
	banger vm exec box -- sh -c "exit $code"
	is "exit code $code" $? $code
done
banger vm exec box -- sh -c 'kill -9 $$'
is "killed by 9 is 137" $? 137
banger vm exec box -- /no/such/program 2>"$CASE_DIR/err"
is "no such program is 127" $? 127
is "arguments as given" "$(banger vm exec box -- printf '<%s>' 'a b' '' '*' '$HOME' $'new\nline' '\')" $'<a b><><*><$HOME><new\nline><\\>'
is "environment" "$(banger vm exec --env A=b box -- sh -c 'echo $A')" b
is "working directory is the workspace" "$(banger vm exec box -- pwd)" /root/workspace
is "another one" "$(banger vm exec --cwd /tmp box -- pwd)" /tmp
is "root" "$(banger vm exec box -- id -u)" 0
[ "${GUESTS:-}" = process ] || is "the agent's protection is its own" "$(banger vm exec box -- sh -c 'cat /proc/self/oom_score_adj /proc/$PPID/oom_score_adj')" $'0\n-1000'
is "no signal is ignored or blocked" "$(banger vm exec box -- grep -cE '^Sig(Ign|Blk):.0+$' /proc/self/status)" 2
is "the last of a name counts" "$(banger vm exec --env A=b --env HOME=/tmp --env A=c box -- sh -c 'echo $A $HOME; env | grep -c ^A=')" $'c /tmp\n1'
# Who somebody is may change from one job to the next.
banger vm exec box -- sh -c 'echo "new:x:1234:1234::/tmp:/bin/sh" >>/etc/passwd'
is "a user made since" "$(banger vm exec --user new box -- id -u)" 1234
banger vm exec box -- sh -c 'sed -i s/1234:1234/4321:4321/ /etc/passwd; echo "more:x:77:new" >>/etc/group'
is "is another one now, in another group" "$(banger vm exec --user new box -- sh -c 'id -u; id -G')" $'4321\n4321 77'
is "and with a group that was given" "$(banger vm exec --user new:77 box -- id -g)" 77
fails "who isn't there runs nothing" banger vm exec --user nobody-is-this box -- true
is "2 MiB each way" "$(head -c 2000000 /dev/urandom | tee "$CASE_DIR/sent" | banger vm exec -i box -- cat | sha256sum)" "$(sha256sum <"$CASE_DIR/sent")"
banger vm exec box -- yes 2>"$CASE_DIR/err" | head -n 1 >/dev/null
is "a closed pipe ends it" "${PIPESTATUS[0]}" 141
# What it had said by then, more than anybody keeps for a reader, holds up no end.
for i in {1..20}; do
	timeout -k 5 "$PATIENCE" "$BANGER_BIN/banger" vm exec box -- yes 2>"$CASE_DIR/err" | head -c 1 >/dev/null
	[ "${PIPESTATUS[0]}" = 141 ] || break
done
is "each time" "$i" 20
timeout -k 5 "$PATIENCE" "$BANGER_BIN/banger" vm exec box -- sh -c 'yes 2>/dev/null | head -c 3000000 >&2; exit 3' 2>/dev/full
is "errors that can't be written hold it up neither" $? 3
banger vm exec box -- sleep 100 &
job=$!
eventually "it runs" sh -c "cat $FS/vms/box/exec/*/status | grep -q running"
kill -TERM $job
wait $job
is "SIGTERM goes through" $? 143
mkfifo "$CASE_DIR/unread"
exec 9<>"$CASE_DIR/unread"
banger vm exec box -- head -c 300000 /dev/zero >"$CASE_DIR/unread" 2>/dev/null 9>&- &
job=$!
eventually "one whose output nobody reads has ended" sh -c "grep -q exited $FS/vms/box/exec/*/status"
ok "it still waits for a reader" kill -0 $job
# It may not have heard of the end yet, as a user who presses Ctrl-C again.
eventually "it can be ended" sh -c "kill -TERM $job; ! grep -q . /proc/$job/cmdline"
wait $job
is "SIGTERM is then its own" $? 143
exec 9<&-

# By hand.
exec 7<>"$FS/vms/box/exec/clone"
read -r n <&7
like "clone gives a number" "$n" '^[0-9]+$'
X=$FS/vms/box/exec/$n
# One write: bash's own printf writes a line at a time.
env printf 'sh\n-c\necho out; echo err >&2; exit 3\n' >"$X/cmd"
ok "start" sh -c "echo start > $X/ctl"
is "wait/exit" "$(timeout $PATIENCE cat "$X/wait/exit")" 3
is "stdout is kept" "$(cat "$X/stdout")" out
is "stderr is kept" "$(cat "$X/stderr")" err
is "and can be read again" "$(cat "$X/stdout")" out
like "status" "$(cat "$X/status")" '^state exited$'
is "cmd cannot be changed now" "$(errno_write "$X/cmd" ls)" EBUSY
exec 7<&-
ok "rmdir" rmdir "$X"
fails "gone" test -e "$X"
like "exec/run" "$(exec 8<>"$FS/vms/box/exec/run"; echo 'echo $((6*7)); uname -s' >&8; timeout $PATIENCE cat <&8)" 42

# Many, and one that nobody reads.
for i in {1..20}; do banger vm exec box -- sh -c "echo $i" >"$CASE_DIR/out.$i" & pids[i]=$!; done
wait "${pids[@]}"
is "20 at once" "$(cat "$CASE_DIR"/out.* | sort -n | tr '\n' ' ')" "$(seq -s ' ' 20) "
exec 7<>"$FS/vms/box/exec/clone"
read -r n <&7
echo yes >"$FS/vms/box/exec/$n/cmd"
echo start >"$FS/vms/box/exec/$n/ctl"
eventually "a flood without a reader flows" sh -c "[ \$(stat -c %s $FS/vms/box/exec/$n/stdout) -gt 1000000 ]"
is "others live on" "$(banger vm exec box -- echo here)" here
like "what is kept is bounded" "$(du -s --apparent-size -B1 "$STATE"/vms/*/exec | awk '{print ($1 < 12000000)}')" 1
exec 7<&-
ok "rmdir kills it" rmdir "$FS/vms/box/exec/$n"
is "gone in the guest" "$(banger vm exec box -- sh -c 'ps | grep -c "[y]es$"')" 0
case_end
