#!/usr/bin/env bash
# banger run: a VM for one command in a checkout, its exit code, its work as a patch, and nothing left, however it ends; jobs that are taken up again.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
SRC=$CASE_DIR/src
mkdir "$SRC"
chown "$OWNER" "$SRC"
as_owner env HOME="$CASE_DIR" sh -e <<END
cd $SRC
git init -q -b main .
git config user.name me
git config user.email me@example.com
echo one > file
printf 'out/\n' > .gitignore
git add .
git commit -q -m first
echo two >> file
END
up
run() { (cd "$SRC" && as_owner "$BANGER_BIN/banger" run "$@"); }
vms() { ls "$FS/vms" | wc -l; }

is "the files as they stand, and the command's output" "$(run --rm . -- cat file 2>/dev/null)" $'one\ntwo'
run --rm --patch-out ../patch . -- sh -c 'exit 1' 2>"$CASE_DIR/err"
is "a patch that can't be written is no success" $? 1
chown "$OWNER" "$CASE_DIR"
run --rm --patch-out "$CASE_DIR/patch" . -- sh -c 'echo three >> file; mkdir out; echo x > out/y; exit 7' 2>"$CASE_DIR/err"
is "the command's exit code" $? 7
ok "the patch is what it changed" as_owner git -C "$SRC" apply --check "$CASE_DIR/patch"
is "and nothing else" "$(grep -c '^diff' "$CASE_DIR/patch")" 1
run --rm . -- sh -c 'echo x > more' 2>"$CASE_DIR/err" </dev/null
like "that work goes is said" "$(cat "$CASE_DIR/err")" '1 file .*--patch-out'
is "no VM is left" "$(vms)" 0
for signal in INT TERM HUP; do
	(cd "$SRC" && exec setpriv --reuid="$OWNER" --regid="$(id -g $OWNER)" --clear-groups -- "$BANGER_BIN/banger" run --rm . -- sleep 1000) 2>/dev/null &
	pid=$!
	await sh -c "cat $FS/vms/*/exec/*/status | grep -q running"
	kill -$signal $pid
	wait $pid
	like "$signal ends it" $? '^(129|130|143)$'
	is "and nothing is left" "$(vms)" 0
done

# Jobs of a VM that stays.
as_owner mkdir "$FS/vms/box"
echo start >"$FS/vms/box/ctl"
ok "vm prepare, by a relative path" sh -c "cd $CASE_DIR && $BANGER_BIN/banger vm prepare box src"
is "exec of what is fresh says nothing" "$(banger vm exec box -- true 2>&1)" ""
as_owner sh -c "cd $SRC && HOME=$CASE_DIR git commit -q -a -m second"
like "of what is stale it warns" "$(banger vm exec box -- true 2>&1)" 'moved on'
is "--auto-prepare brings it" "$(banger vm exec --auto-prepare box -- true 2>&1)" ""
is "so that it is fresh" "$(grep -E '^(stale|dirty)' "$FS/vms/box/workspace.info" | tr '\n' ' ')" "stale 0 dirty 0 "
job=$(banger vm exec -d -i box -- sh -c 'while read -r line; do echo "got $line"; done; echo end >&2; exit 5')
like "a job that was left running" "$(banger job ls box)" "^$job +running +- +sh -c"
exec 9>"$FS/vms/box/exec/$job/stream/stdin"
echo one >&9
eventually "what it writes is kept" sh -c "$BANGER_BIN/banger job logs box $job | grep -q 'got one'"
(printf 'two\n' | banger job attach box "$job" >"$CASE_DIR/out" 2>"$CASE_DIR/err"; echo $? >"$CASE_DIR/code") &
attached=$!
eventually "it is taken up again from its first byte" sh -c "grep -q 'got two' $CASE_DIR/out && grep -q 'got one' $CASE_DIR/out"
exec 9>&-
echo close >"$FS/vms/box/exec/$job/ctl"
wait $attached
is "its exit code" "$(cat "$CASE_DIR/code")" 5
is "its standard error" "$(cat "$CASE_DIR/err")" end
is "it is read tomorrow" "$(banger job logs box "$job" 2>/dev/null)" $'got one\ngot two'
ok "job rm" banger job rm box "$job"
job=$(banger vm exec -d box -- sleep 1000)
ok "job kill" banger job kill box "$job"
is "ends it" "$(timeout $PATIENCE cat "$FS/vms/box/exec/$job/wait/exit")" 143
fails "twice is too late" banger job kill box "$job"

# A guest that has mise: what is run is run by it, and what was prepared it trusts. One that calls what it is given, as it does.
as_owner sh -c "printf '#!/bin/sh\\necho \"mise \$1 \$2 \$# \$MISE_TRUSTED_CONFIG_PATHS\" >&2\\nshift 2\\nexec \"\$@\"\\n' >$FS/vms/box/workspace/mise"
banger vm exec box -- sh -c 'mkdir -p ~/.local/bin && mv mise ~/.local/bin && chmod 755 ~/.local/bin/mise'
is "jobs are run by mise" "$(banger vm exec box -- sh -c 'echo "$1"; exit 7' x 'a  b' 2>"$CASE_DIR/err"; echo $?)" $'a  b\n7'
is "with arguments as they are, in a folder that it trusts" "$(cat "$CASE_DIR/err")" "mise exec -- 7 /root/workspace"
case_end
