#!/usr/bin/env bash
# Recursive readers, copiers and editors may go anywhere, and the tree is what docs/tree.md says.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
for name in README version ctl log config host metrics images kernels ops vms; do
	ok "$name is there" test -e "$FS/$name"
	like "$name is listed" "$(ls "$FS")" "^$name\$"
done
for name in ctl state error image kernel engine storage vcpus memory disk nat ip mac pid boot_id created started uptime hostname stats \
	health log console exec workspace; do
	like "vms/box/$name is listed" "$(ls "$FS/vms/box")" "^$name\$"
done
ok "stream is reachable" test -d "$FS/stream"
is "and not listed" "$(ls -a "$FS" | grep -c '^stream$')" 0
ok "wait is reachable" test -d "$FS/vms/box/wait"
is "what blocks is not listed" "$(ls "$FS/vms/box/wait" "$FS/stream" | grep -c 'ready\|events$')" 0
# The files of a stopped VM say that they are busy: that such a walk ends is what counts.
timeout 60 grep -r nosuchstring "$FS" >/dev/null 2>&1
ok "grep -r finishes" test $? -ne 124
timeout 60 find "$FS" -type f -exec cat {} + >"$CASE_DIR/all" 2>/dev/null
ok "find -exec cat finishes" test $? -ne 124
like "and read something" "$(wc -c <"$CASE_DIR/all")" '^[0-9]{4,}$'
ok "tar finishes" timeout 60 sh -c "tar -C $FS -cf /dev/null --exclude=workspace --exclude=root ."
ok "cp -a of config" cp -a --no-preserve=ownership "$FS/config" "$CASE_DIR/config"
ok "is exact" diff -r "$FS/config" "$CASE_DIR/config"
is "settings have their exact size" "$(stat -c %s "$FS/vms/box/vcpus")" 2
like "the mount's type" "$(awk -v m="$FS" '$5 == m {print $(NF-2)}' /proc/self/mountinfo)" '^fuse.banger$'
is "statfs is zeros" "$(stat -f -c '%b %f' "$FS")" "0 0"
is "node numbers last" "$(stat -c %i "$FS/vms/box/state")" "$(stat -c %i "$FS/vms/box/state")"
is "log grows" "$(stat -c %s "$FS/vms/box/log")" "$(wc -c <"$FS/vms/box/log")"
ok "interrupted at once" sh -c "timeout -s INT 1 cat $FS/vms/box/wait/ready; [ \$? -eq 124 ]"
ok "killed at once" sh -c "timeout -s KILL 1 cat $FS/vms/box/wait/ready; [ \$? -eq 137 ]"
ok "an event is seen" sh -c "timeout 30 head -n 1 $FS/stream/events > $CASE_DIR/event & sleep 1; mkdir $FS/vms/other; wait; grep other $CASE_DIR/event"
ok "dash" dash -c "echo 2 > $FS/vms/box/vcpus"
ok "busybox" busybox sh -c "echo 3 > $FS/vms/box/vcpus"
ok "bash, two lines" bash -c "printf '4\n' > $FS/vms/box/vcpus"
is "the last one counts" "$(cat "$FS/vms/box/vcpus")" 4
ok "cp onto a setting" sh -c "echo 5 > $CASE_DIR/v; cp $CASE_DIR/v $FS/vms/box/vcpus"
ok "vim on a setting" as_owner env HOME="$CASE_DIR" vim.tiny -N -u NONE -es -c '%s/5/6/' -c wq "$FS/vms/box/vcpus"
is "took" "$(cat "$FS/vms/box/vcpus")" 6
is "chmod stays" "$(chmod 0440 "$FS/vms/box/stats"; stat -c %a "$FS/vms/box/stats")" 440
exec 7<"$FS/vms/box/state"
rmdir "$FS/vms/box"
mkdir "$FS/vms/box"
is "a new VM of the name has other numbers" "$([ "$(stat -c %i /proc/self/fd/7)" != "$(stat -c %i "$FS/vms/box/state")" ] && echo other)" other
exec 7<&-
is "the reference page is the tables'" "$(diff "$TOP/docs/tree.md" <("$BANGER_BIN/banger-fsd" --print-tree-doc) && echo same)" same
# Every node of a VM and of the root that is listed has a row in the reference page.
for name in $(ls "$FS" "$FS/vms/box" | grep -v :); do
	ok "docs/tree.md has $name" grep -qw -- "$name" "$TOP/docs/tree.md"
done
case_end
