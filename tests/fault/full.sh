#!/usr/bin/env bash
# No space for a disk, an image or the database: ENOSPC, said in `error`, nothing left; and with space again all goes on.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
rm -rf "$STATE"
mount -t tmpfs -o size=400m none "$BANGER_STATE_BASE"
[ ! -d "${BANGER_TEMPLATE:-}" ] || cp -a "$BANGER_TEMPLATE" "$STATE"
rm -f "$STATE"/*log
mount -t tmpfs -o size=64m,mode=0755 none "$BANGER_RUN_BASE"
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
# What outlives the daemon is kept in memory: there is none.
W=$FS/vms/box/workspace
fsd=$(fsd_pid)
head -c 1G /dev/zero >"$BANGER_RUN_BASE/filler" 2>/dev/null
head -c 3000000 /dev/urandom >"$CASE_DIR/data"
chmod a+r "$CASE_DIR/data"
ok "a file into the guest without room in /run" as_owner cp "$CASE_DIR/data" "$W/data"
is "it is there" "$(banger vm exec box -- sha256sum /root/workspace/data | cut -c1-64)" "$(sha256sum <"$CASE_DIR/data" | cut -c1-64)"
is "by the same daemon" "$(fsd_pid)" "$fsd"
rm "$BANGER_RUN_BASE/filler"
fill
is "stop on a full disk" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ok "delete on a full disk" rm -r "$FS/vms/box"
rm "$filler"
is "the tree goes on" "$(errno_call mkdir "$FS/vms/next")" OK
ok "down" down
umount "$BANGER_STATE_BASE" "$BANGER_RUN_BASE"
case_end
