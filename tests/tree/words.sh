#!/usr/bin/env bash
# Names, values and verbs that are wrong: each with its errno, its line in `error`, and nothing left behind.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
before=$(ls -a "$FS/vms" "$STATE/vms")

long=$(printf 'a%.0s' {1..64})
for name in Box box_1 -box box- .box 'bo x' $'bo\nx' "$long" 'böx' 'box;' .Trash .git 4913~; do
	is "mkdir $(printf %q "$name")" "$(errno_call mkdir "$FS/vms/$name")" EINVAL
done
is "mkdir ..: the kernel's own answer" "$(errno_call mkdir "$FS/vms/..")" EEXIST
is "63 characters are fine" "$(errno_call mkdir "$FS/vms/${long:1}")" OK
is "and can go" "$(errno_call rmdir "$FS/vms/${long:1}")" OK
is "nothing was left" "$(ls -a "$FS/vms" "$STATE/vms")" "$before"

mkdir "$FS/vms/box"
write()
{
	is "$1 <- '$(head -c 30 <<<"$2")' is $3" "$(errno_write "$FS/vms/box/$1" "$2")" "$3"
	case $1:$3 in
	ctl:* | *:OK) ;;
	*) is "and error names $1 once" "$(grep -o "$1: " "$FS/vms/box/error" | wc -l)" 1 ;;
	esac
}
write ctl jump EINVAL
like "error says what it is" "$(cat "$FS/vms/box/error")" 'jump'
write ctl $'start\njump\n' EINVAL
is "nothing of the two was done" "$(cat "$FS/vms/box/state")" created
write ctl "" OK
write ctl $'st\0art' EINVAL
write ctl pause EBUSY
write ctl resume EBUSY
write memory 0 ERANGE
write memory -1 EINVAL
write memory 1e99 EINVAL
write memory 10T ERANGE
write memory 99999999999999999999999 ERANGE
write memory "256M junk" EINVAL
write memory $'\n' EINVAL
is "memory is what it was" "$(cat "$FS/vms/box/memory")" 268435456
write vcpus 0 ERANGE
write vcpus 65 ERANGE
write vcpus two EINVAL
write disk 1 ERANGE
write image "no such" EINVAL
write kernel nosuch ENOENT
write engine xen EINVAL
write storage tape EINVAL
write nat 2 EINVAL
write autostop 1s EINVAL
like "autostop says what is wanted" "$(cat "$FS/vms/box/error")" "'1s': seconds, .*max"
write publish "80 x" EINVAL
write nat 0 OK
is "the next success empties error" "$(cat "$FS/vms/box/error")" ""
is "state cannot be written" "$(errno_write "$FS/vms/box/state" running 2>/dev/null)" EACCES

head -c 3145728 /dev/zero | tr '\0' 'x' >"$CASE_DIR/big"
fails "3 MiB to ctl" sh -c "cat $CASE_DIR/big > $FS/vms/box/ctl"
is "4097 bytes are E2BIG" "$(errno_write "$FS/vms/box/ctl" "$(head -c 4097 "$CASE_DIR/big")")" E2BIG
ok "bytewise writes are verbs of one letter each, never joined" sh -c "! printf 'stop\n' | dd bs=2 of=$FS/vms/box/ctl 2>/dev/null"

is "create in a VM" "$(as_owner sh -c "echo x > $FS/vms/box/new" 2>&1 | grep -o 'Operation not permitted\|Permission denied' | head -n1)" "Operation not permitted"
is "mkdir in a VM" "$(errno_call mkdir "$FS/vms/box/new")" EPERM
is "rename of an attribute" "$(errno_call rename "$FS/vms/box/vcpus" "$FS/vms/box/cpus")" EPERM
is "a VM into images" "$(errno_call rename "$FS/vms/box" "$FS/images/box")" EPERM
is "rmdir of what isn't there" "$(errno_call rmdir "$FS/vms/none")" ENOENT
is "another user may look" "$(setpriv --reuid=12345 --regid=12345 --clear-groups cat "$FS/vms/box/state")" created
is "another user may not write" "$(setpriv --reuid=12345 --regid=12345 --clear-groups sh -c "echo start > $FS/vms/box/ctl" 2>&1 | grep -o 'Permission denied')" "Permission denied"
ok "rmdir" rmdir "$FS/vms/box"
is "nothing is left" "$(ls -a "$FS/vms" "$STATE/vms")" "$before"
case_end
