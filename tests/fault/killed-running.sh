#!/usr/bin/env bash
# fsd killed at each step of a start from when the VMM is there, and of a stop, counted, and the next one while it recovers: the one after that finishes it,
# who waits in the tree gets the answer, and nothing of the user's is lost.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/steps.sh"
case_begin "$@"
steps_begin
ok "has a file" sh -c "echo kept >$VM/workspace/file && sync $VM/workspace/file"
is "and settings" "$(errno_write "$VM/autostop" 9000)" OK
is "and stops" "$(errno_write "$VM/ctl" stop)" OK

down=1
for ((n = 30; ; n++)); do
	what="a start, step $n"
	killed banger-fsd $n errno_write "$VM/ctl" start || break
	recovered banger-fsd
	answered OK
	is "$what: it runs, with its file" "$(shown state workspace/file)" "running kept"
	[ $((n % 2)) = 0 ] && verb=stop || verb=kill
	what="a $verb, step $down"
	if killed banger-fsd $down errno_write "$VM/ctl" $verb; then
		recovered banger-fsd
		down=$((down + 1))
	else
		down=1
	fi
	answered OK
	is "$what: it is stopped" "$(shown state)" stopped
	nothing_left
done
ok "a start was cut off at each of its steps from 30 to $n" test $n -ge 45
is "it runs, with its file and settings" "$(shown state workspace/file autostop)" "running kept 9000"
is "it stops" "$(errno_write "$VM/ctl" stop)" OK
is "and is deleted" "$(errno_call rmdir "$VM")" OK
recoveries
case_end
