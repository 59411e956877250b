#!/usr/bin/env bash
# vms/NAME/root/: the whole tree of a running guest, other file systems too.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
is "root/ of a stopped VM is EBUSY" "$(errno_call open "$FS/vms/box/root/x")" EBUSY
ok "start" sh -c "echo start > $FS/vms/box/ctl"
R=$FS/vms/box/root W=$FS/vms/box/workspace
guest() { banger vm exec box -- sh -c "$1"; }

like "grep -r through it" "$(grep -rl root "$FS"/vms/*/root/etc)" '/etc/passwd$'
is "the same list as the guest's" "$(ls -A "$R/etc")" "$(guest 'ls -A /etc')"
is "the same bytes" "$(sha256sum <"$R/bin/busybox")" "$(guest 'sha256sum < /bin/busybox')"
is "/proc is an empty folder" "$(ls -A "$R/proc")" ""
is "in which nothing can be made" "$(errno_call mkdir "$R/proc/x")" EROFS
guest 'mkdir /mnt/t && mount -t tmpfs t /mnt/t && echo inside > /mnt/t/f && ln -s /etc/shadow /mnt/t/link'
is "mounts are crossed" "$(cat "$R/mnt/t/f")" inside
is "statfs is that mount's" "$(stat -f -c %b "$R/mnt/t")" "$(guest 'stat -f -c %b /mnt/t')"
is "a link is shown" "$(readlink "$R/mnt/t/link")" /etc/shadow
is "and not followed" "$(cat "$R/mnt/t/link" 2>&1 | sed 's/.*: //')" "Too many levels of symbolic links"
is "nor written through" "$(sh -c 'echo x >"$1"' - "$R/mnt/t/link" 2>&1 | grep -c 'Too many levels\|nonexistent')" 1
ok "made on the overlay" as_owner sh -c "mkdir -p $R/opt/d && echo one > $R/opt/d/f && ln $R/opt/d/f $R/opt/d/g && ln -s f $R/opt/d/s"
is "the guest has it" "$(guest 'cat /opt/d/f; readlink /opt/d/s; stat -c %h /opt/d/g')" "$(printf 'one\nf\n2')"
ok "renamed with what is below" as_owner mv "$R/opt/d" "$R/opt/e"
is "is read by the new name" "$(cat "$R/opt/e/f")" one
guest 'mv /opt/e /opt/moved; echo two > /opt/moved/f'
is "the guest's rename is seen" "$(cat "$R/opt/moved/f")" two
is "the old name is gone" "$(errno_call open "$R/opt/e/f")" ENOENT
ok "a change of what the image has" as_owner sh -c "echo line >> $R/etc/profile"
is "is there" "$(guest 'tail -n 1 /etc/profile')" line
exec 7<"$R/opt/moved/f"
ok "rm" as_owner rm "$R/opt/moved/f"
is "an open file outlives its name" "$(cat <&7)" two
exec 7<&-
guest 'umount /mnt/t'
is "nothing of the host's holds a mount" "$?" 0
is "what was under it is seen" "$(ls -A "$R/mnt/t")" ""
ok "the workspace by two ways" as_owner sh -c "mkdir $W/a && echo same > $W/a/f && cmp $W/a/f $R/root/workspace/a/f"
is "is the same file" "$(stat -c %i "$W/a/f")" "$(stat -c %i "$R/root/workspace/a/f")"
fails "no such name" test -e "$W/a/new"
ok "made by the one" as_owner sh -c "echo new > $R/root/workspace/a/new"
is "is there in the other" "$(cat "$W/a/new")" new
rm "$W/a/new"
ok "changed by the one" as_owner sh -c "mv $R/root/workspace/a/f $R/root/workspace/a/g && echo more >> $R/root/workspace/a/g"
is "is changed in the other" "$(ls "$W/a"; tail -n 1 "$W/a/g")" "$(printf 'g\nmore')"
cd "$W/a" || exit 1
ls "$R/root/workspace/a" >/dev/null
is "a working directory stays where it is" "$(/bin/pwd)" "$W/a"
cd / || exit 1
is "from one file system to the other: EXDEV" "$(errno_call rename "$W/a/g" "$R/opt/g")" EXDEV
exec 7<"$R/etc/passwd"
number=$(stat -c %i "$R/etc/passwd")
kill -9 "$(fsd_pid)"
ok "up again" banger up --owner "$OWNER" -o accel=tcg
eventually "the guest is back" cat "$R/etc/hostname"
is "a file open over the daemon's end" "$(head -n 1 <&7)" "$(guest 'head -n 1 /etc/passwd')"
is "has its number" "$(stat -c %i "$R/etc/passwd")" "$number"
exec 7<&-
timeout 120 grep -rs nosuchstring "$R" >/dev/null
ok "grep -r of everything ends" test $? -ne 124
case_end
