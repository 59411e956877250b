#!/usr/bin/env bash
# Others' interfaces, tables, folders and mounts that look like ours: in the way they are said to be, and in no case touched, not at the end either.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
VM=$FS/vms/box
mkdir "$VM"
# No guest is waited for: its VMM can't give it the memory.
echo 1T >"$VM/memory"
is "a VM of number 2" "$(errno_write "$VM/ctl" start) $(ls "$STATE/vms")" "EIO 2"
ip link add bg0-2 type bridge
ip link add bg0-77 type bridge
ip link add bg00 type bridge
nft add table inet banger2
nft add chain inet banger2 c '{ type filter hook forward priority 0; }'
nft add table ip banger
mkdir "$RUN/jails/77" && mount -t tmpfs other "$RUN/jails/77" && touch "$RUN/jails/77/thing"
foreign() { ip -o link | grep -oE ': (bg0-2|bg0-77|bg00):.* [0-9a-f:]{17} '; nft list table inet banger2; nft list table ip banger; ls "$RUN/jails/77"; grep "jails/77 " /proc/self/mountinfo; }
there=$(foreign)
is "an interface of its tap's name is in the way" "$(errno_write "$VM/ctl" start)" EEXIST
like "as it says" "$(cat "$VM/error")" "tap: there is an interface bg0-2 already that banger didn't make"
is "and is untouched" "$(foreign)" "$there"
ip link del bg0-2
there=$(foreign)
is "without it, it is as it was" "$(errno_write "$VM/ctl" start)" EIO
like "and says so" "$(cat "$VM/error")" "cannot set up guest memory"
kill -9 "$(fsd_pid)" "$(helper_pid)"
ok "new daemons" banger up --owner "$OWNER"
is "touch none of it" "$(foreign)" "$there"
is "nor does a deletion" "$(errno_call rmdir "$VM") $(foreign)" "OK $there"
CASE_UP=0
like "nor banger down, which says so" "$(banger down 2>&1)" 'is not empty: look at what is in it'
is "as is seen" "$(foreign)" "$there"
umount "$RUN/jails/77"
rm -rf "$RUN" "$RUN.lock"
ip link del bg0-77
ip link del bg00
nft delete table inet banger2
nft delete table ip banger
case_end
