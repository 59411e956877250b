#!/usr/bin/env bash
# The helper, abused by its own owner, while a VM runs.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
# As few as a shell gives: the helper asks for more.
ulimit -Sn 1024
up
mkdir "$FS/vms/box"
is "start" "$(errno_write "$FS/vms/box/ctl" start)" OK
id=$(ls "$STATE/vms" | head -n 1)
helper=$(helper_pid) vmm=$(vm_pid box)
descriptors=$(ls "/proc/$helper/fd" | wc -l)
ok "every attempt ends as it must" setpriv --reuid="$OWNER" --regid=nogroup --clear-groups \
	"$(dirname "$BANGER_BIN")/tree/helperabuse" "$RUN/helper.sock" "$id" "$FS/version"
is "the helper is the same" "$(helper_pid)" "$helper"
eventually "and holds nothing more but a jail's mount namespace" sh -c "[ \$(ls /proc/$helper/fd | wc -l) -le $((descriptors + 1)) ]"
ok "it may hold all that it can be made to" test "$(awk '/^Max open files/ {print $4}' "/proc/$helper/limits")" -ge $((3 * 1023 + 128))
ok "its log stays small" test "$(stat -c %s "$RUN/helper.log")" -lt 1100000
is "the VM runs" "$(cat "$FS/vms/box/state") $(vm_pid box)" "running $vmm"
is "no interface came of it" "$(ip -o link show master bg0 | wc -l)" 1
is "it is still obeyed" "$(errno_write "$FS/vms/box/ctl" restart)" OK
is "and stops" "$(errno_write "$FS/vms/box/ctl" stop)" OK

# What a helper finds and can't undo is no reason for it not to serve: a jail's mount point in which root has put something.
jail=$RUN/jails/$((id + 1000)) below=$CASE_DIR/below
ok "the jail is there" mountpoint -q "$jail"
mkdir "$below"
mount --bind "$RUN/jails" "$below"
mkdir "$below/${jail##*/}/thing"
umount "$below"
kill -9 "$(helper_pid)"
await sh -c "! [ -e /proc/$helper ]"
ok "a helper that can't undo what was left begins all the same" banger up --owner "$OWNER"
like "and says so" "$(cat "$RUN/helper.log")" "jails/${jail##*/}: Directory not empty"
is "a VM starts" "$(errno_write "$FS/vms/box/ctl" start)" OK
is "and stops" "$(errno_write "$FS/vms/box/ctl" stop)" OK
rmdir "$jail/thing"
helper=$(helper_pid)
kill -9 "$helper"
await sh -c "! [ -e /proc/$helper ]"
ok "one that can" banger up --owner "$OWNER"
ok "does" test ! -e "$jail"
case_end
