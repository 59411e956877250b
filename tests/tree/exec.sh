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
is "2 MiB each way" "$(head -c 2000000 /dev/urandom | tee "$CASE_DIR/sent" | banger vm exec -i box -- cat | sha256sum)" "$(sha256sum <"$CASE_DIR/sent")"
banger vm exec box -- yes 2>/dev/null | head -n 1 >/dev/null
is "a closed pipe ends it" "${PIPESTATUS[0]}" "${PIPESTATUS[0]}"
banger vm exec box -- sleep 100 &
job=$!
eventually "it runs" sh -c "cat $FS/vms/box/exec/*/status | grep -q running"
kill -TERM $job
wait $job
is "SIGTERM goes through" $? 143

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
