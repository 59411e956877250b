#!/usr/bin/env bash
# The helper, abused by its own owner, while a VM runs.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
is "start" "$(errno_write "$FS/vms/box/ctl" start)" OK
id=$(ls "$STATE/vms" | head -n 1)
helper=$(helper_pid) vmm=$(vm_pid box)
descriptors=$(ls "/proc/$helper/fd" | wc -l)
ok "every attempt ends as it must" setpriv --reuid="$OWNER" --regid=nogroup --clear-groups \
	"$(dirname "$BANGER_BIN")/tree/helperabuse" "$RUN/helper.sock" "$id" "$FS/version"
is "the helper is the same" "$(helper_pid)" "$helper"
eventually "and holds nothing more" sh -c "[ \$(ls /proc/$helper/fd | wc -l) -le $descriptors ]"
ok "its log stays small" test "$(stat -c %s "$RUN/helper.log")" -lt 1100000
is "the VM runs" "$(cat "$FS/vms/box/state") $(vm_pid box)" "running $vmm"
is "no interface came of it" "$(ip -o link show master bg0 | wc -l)" 1
is "it is still obeyed" "$(errno_write "$FS/vms/box/ctl" restart)" OK
is "and stops" "$(errno_write "$FS/vms/box/ctl" stop)" OK
case_end
