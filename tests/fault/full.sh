#!/usr/bin/env bash
# No space for a disk, an image or the database: ENOSPC, said in `error`, nothing left; and with space again all goes on.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
rm -rf "$STATE"
mount -t tmpfs -o size=400m none "$BANGER_STATE_BASE"
[ ! -d "${BANGER_TEMPLATE:-}" ] || cp -a "$BANGER_TEMPLATE" "$STATE"
rm -f "$STATE"/*log
up
mkdir "$FS/vms/box"
filler=$BANGER_STATE_BASE/filler
fill() { head -c 1G /dev/zero >"$filler" 2>/dev/null; }
images() { ls "$FS/images"; find "$STATE/images" -type f | wc -l; }

before=$(images)
tar -C / -cf "$CASE_DIR/root.tar" bin sbin usr/bin/perl etc/passwd 2>/dev/null
head -c 50000000 /dev/urandom >"$CASE_DIR/weight"
tar -C "$CASE_DIR" -rf "$CASE_DIR/root.tar" weight
chmod a+r "$CASE_DIR/root.tar"
fill
is "import on a full disk" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/root.tar as heavy")" ENOSPC
is "leaves nothing" "$(images)" "$before"
is "mkdir on a full disk" "$(errno_call mkdir "$FS/vms/more" | sed s/OK/ENOSPC/)" ENOSPC
rmdir "$FS/vms/more" 2>/dev/null
is "start on a full disk" "$(errno_write "$FS/vms/box/ctl" start)" ENOSPC
like "error says so" "$(cat "$FS/vms/box/error")" 'o space'
is "nothing runs" "$(cat "$FS/vms/box/pid")" 0
rm "$filler"
is "start with space again" "$(errno_write "$FS/vms/box/ctl" start)" OK
fill
is "stop on a full disk" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ok "delete on a full disk" rm -r "$FS/vms/box"
rm "$filler"
is "the tree goes on" "$(errno_call mkdir "$FS/vms/next")" OK
ok "down" down
umount "$BANGER_STATE_BASE"
case_end
