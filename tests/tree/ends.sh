#!/usr/bin/env bash
# up and down: twice, at once, over a stale mount, beside another instance, after everything was killed.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
ok "down of what isn't up" banger down
up
ok "up of what is up" banger up --owner "$OWNER"
pid=$(fsd_pid)
banger up --owner "$OWNER" >/dev/null 2>&1 & a=$!
banger up --owner "$OWNER" >/dev/null 2>&1 & b=$!
wait $a; ra=$?
wait $b; rb=$?
is "two at once" "$ra$rb" 00
is "still one daemon" "$(fsd_pid)" "$pid"
ok "status" banger status
mkdir "$FS/vms/one"
ok "start" sh -c "echo start > $FS/vms/one/ctl"
ok "another instance beside it" banger --instance other up --owner "$OWNER" -o accel=tcg
is "has VMs of its own" "$(ls "$BANGER_RUN_BASE/banger-other/fs/vms")" ""
ok "the other one goes" banger --instance other down
is "this one is as it was" "$(cat "$FS/vms/one/state")" running
ok "down stops the VM and leaves nothing" down
fails "status says it is down" banger status
is "the VM's disk was left clean" "$(e2fsck -fn "$STATE"/vms/*/work.ext4 >/dev/null 2>&1; echo $?)" 0
rm -rf "$BANGER_STATE_BASE/banger-other"
audit_picture | sed '/^run:/q' >"$CASE_DIR/mid"
is "audit after down" "$(diff <(sed '/^run:/q' "$CASE_DIR/before") "$CASE_DIR/mid" && echo same)" same

up
is "it remembers" "$(cat "$FS/vms/one/state")" stopped
ok "start" sh -c "echo start > $FS/vms/one/ctl"
vmm=$(vm_pid one)
kill -9 "$(fsd_pid)" "$(helper_pid)" "$vmm"
ok "up after everything was killed" banger up --owner "$OWNER"
eventually "the VM is known to be down" grep -qxE 'failed|stopped' "$FS/vms/one/state"
ok "start" sh -c "echo start > $FS/vms/one/ctl"
kill -9 "$(fsd_pid)" "$(helper_pid)"
ok "down after both daemons were killed" down
up
ok "rm -r" rm -r "$FS/vms/one"
case_end
