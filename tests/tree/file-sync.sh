#!/usr/bin/env bash
# Files of the owner's home in the guest, at the start and by `sync`: what has changed alone; nothing from outside the home.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
home=$CASE_DIR/home
mkdir -p "$home/etc/deep" "$CASE_DIR/outside"
cp -a /etc "$CASE_DIR/etc"
awk -F: -v OFS=: -v owner="$OWNER" -v home="$home" '$1 == owner { $6 = home } { print }' /etc/passwd >"$CASE_DIR/etc/passwd"
mount --bind "$CASE_DIR/etc" /etc
export HOME=$home
audit_picture >"$CASE_DIR/before"
echo secret >"$CASE_DIR/outside/secret"
echo one >"$home/vimrc"
echo 'echo hello' >"$home/etc/tool"
chmod 0755 "$home/etc/tool"
touch -d @1000000000 "$home/etc/tool"
echo deep >"$home/etc/deep/file"
ln -s "$CASE_DIR/outside/secret" "$home/etc/link"
ln -s vimrc "$home/rc"
ln -s "$CASE_DIR/outside" "$home/out"
mkfifo "$home/etc/fifo"
printf '[user]\n\tname = A "B" C\n\temail = a@b\n' >"$home/.gitconfig"
chown -hR "$OWNER" "$home"
up
BOX=$FS/vms/box
for bad in 'one' '/etc/passwd /x' 'a b/c' 'a /x/../y'; do
	is "file_sync '$bad'" "$(errno_write "$FS/config/file_sync" "$bad")" EINVAL
done
is "three entries" "$(errno_write "$FS/config/file_sync" $'rc ~/.vimrc\n~/etc /opt/etc\nout /opt/out\n')" OK
is "as lines" "$(cat "$FS/config/file_sync")" $'rc ~/.vimrc\n~/etc /opt/etc\nout /opt/out'
mkdir "$BOX"
is "start" "$(errno_write "$BOX/ctl" start)" OK
look() { banger vm exec box -- "$@"; }
is "an entry that is a link, and a folder" "$(look sh -c 'cat /root/.vimrc /opt/etc/deep/file; /opt/etc/tool')" $'one\ndeep\nhello'
is "its mode and time" "$(look stat -c '%a %Y' /opt/etc/tool)" "755 1000000000"
is "no link, no pipe, nothing from outside" "$(look sh -c 'ls /opt/etc; ls /opt/out 2>/dev/null; grep -r secret /opt')" $'deep\ntool'
like "which its log says" "$(cat "$BOX/log")" 'file_sync: opt/etc/link is a link: left out'
like "all of it" "$(cat "$BOX/log")" 'file_sync: ~/out: it leads out of the home: left out'
like "git knows the owner, and the login is quiet" "$(look sh -c 'cat /root/.gitconfig; ls -A /root')" 'name = "A .."B.." C"|\.hushlogin'
lines() { grep -c 'files brought' "$BOX/log"; }
before=$(lines)
is "sync" "$(errno_write "$BOX/ctl" sync)" OK
is "brings nothing" "$(lines)" "$before"
echo two >"$home/vimrc"
is "sync" "$(errno_write "$BOX/ctl" sync)" OK
is "brings what has changed" "$(look cat /root/.vimrc)" two
like "alone" "$(tail -n 1 "$BOX/log")" 'file_sync: 1 files brought, 4 bytes'
look sh -c 'echo mine >/root/.vimrc'
is "sync" "$(errno_write "$BOX/ctl" sync)" OK
is "and what the guest has changed of it" "$(look cat /root/.vimrc)" two
is "stop" "$(errno_write "$BOX/ctl" stop)" OK
is "not of one that is stopped" "$(errno_write "$BOX/ctl" sync)" EBUSY
umount /etc
case_end
