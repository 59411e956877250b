#!/usr/bin/env bash
# The helper killed at each step of its work in a start, and in what undoes it, counted; and the next one while it recovers. After `banger up` a start
# does what it did, and nothing is left behind.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/steps.sh"
case_begin "$@"
steps_begin
is "and stops" "$(errno_write "$VM/ctl" stop)" OK

# No guest is waited for in one that its VMM can't give the memory.
again()
{
	is "$what: the next fails by itself" "$(errno_write "$VM/ctl" start) $(cat "$VM/state")" "EIO failed"
	nothing_left
}
echo 1T >"$VM/memory"
each banger-helper 1 1 "a start that fails" "" again errno_write "$VM/ctl" start

# A stop, of which the VMM's end is a part.
stopped()
{
	is "$what: it can be stopped" "$(errno_write "$VM/ctl" stop) $(cat "$VM/state")" "OK stopped"
	nothing_left
	is "$what: it starts" "$(errno_write "$VM/ctl" start)" OK
}
echo 256M >"$VM/memory"
is "it starts" "$(errno_write "$VM/ctl" start)" OK
each banger-helper 1 2 "a kill" "" stopped errno_write "$VM/ctl" kill
recoveries
case_end
