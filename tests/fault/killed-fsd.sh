#!/usr/bin/env bash
# fsd killed at each step of creating a VM, of a start that fails and of deleting it, counted, and the next one while it recovers: the one after that
# finishes it or undoes it, and who waits in the tree gets the answer (killed-running.sh: of one that comes up).
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/steps.sh"
case_begin "$@"
steps_begin
is "and stops" "$(errno_write "$VM/ctl" stop)" OK

# A start that fails when all is made: each of its steps, and of what undoes them.
undone()
{
	nothing_left
	is "$what: it has failed" "$(cat "$VM/state")" failed
}
echo 1T >"$VM/memory"
each banger-fsd 1 1 "a start that fails" EIO undone errno_write "$VM/ctl" start

# A VM comes and goes, with disks; where they are made, a start has some 30 steps more.
NEW=$FS/vms/new
# A VM's folder is made when it is needed.
folders() { [ "$(ls -A "$STATE/vms" | wc -l)" -le "$(ls "$FS/vms" | wc -l)" ] || { fail "$what: state folders are those of VMs"; diag "$(ls -A "$STATE/vms")"; }; }
made()
{
	folders
	is "$what: it is there, and can go" "$(cat "$NEW/state") $(errno_call rmdir "$NEW")" "created OK"
}
each banger-fsd 1 1 "mkdir" OK made errno_call mkdir "$NEW"
errno_call rmdir "$NEW" >/dev/null
again()
{
	folders
	mkdir "$NEW" && echo 1T >"$NEW/memory"
	is "$what: it is gone, and can be made" "$(errno_write "$NEW/ctl" start) $(cat "$NEW/state")" "EIO failed"
}
what="the first"
again
each banger-fsd 1 1 "rmdir" OK again errno_call rmdir "$NEW"
disks()
{
	nothing_left
	is "$what: it has failed" "$(cat "$NEW/state")" failed
	rmdir "$NEW" && mkdir "$NEW" && echo 1T >"$NEW/memory"
}
mkdir "$NEW" && echo 1T >"$NEW/memory"
each banger-fsd 3 7 "a first start that fails" EIO disks errno_write "$NEW/ctl" start
rmdir "$NEW"

recoveries
case_end
