#!/usr/bin/env bash
# workspace/ and root/ of a VM that does not run: from its disks, by a child of the daemon's; a start and a stop in between, killed children, dirty disks.
# Larger, by hand: COUNT=20000 ROUNDS=10 SEED=n.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
programs=$(dirname "$BANGER_BIN")/tree
up
mkdir "$FS/vms/box"
W=$FS/vms/box/workspace R=$FS/vms/box/root
is "before the first start there is nothing" "$(errno_call open "$W/x")" EBUSY
ok "start" sh -c "echo start > $FS/vms/box/ctl"
guest() { banger vm exec box -- sh -c "$1"; }
start() { echo start >"$FS/vms/box/ctl"; }
stop() { echo stop >"$FS/vms/box/ctl"; }
disk() { echo "$STATE"/vms/*/work.ext4; }
checked() { flock -w "$PATIENCE" "$(disk)" e2fsck -fn "$(disk)"; }
child() { pgrep -P "$(fsd_pid)" files-worker; }
idle() { [ -z "$(child)" ]; }
src=$CASE_DIR/src
mkdir -p "$src/dir"
cp "$TOP"/lib/*.c "$src/dir/"
head -c 3000000 /dev/urandom >"$src/big"
truncate -s 5M "$src/sparse"
ln -s ../big "$src/dir/link"
touch -d '2001-02-03 04:05:06.123456789' "$src/dir/io.c"
chown -R "$OWNER" "$src"

# What the guest has written; whiteouts, opaque folders and what is new in them, over the image's.
guest 'mkdir -p d/e && echo hello > d/e/f && ln -s /etc/shadow l && head -c 300000 /dev/urandom > big && mkfifo fifo && ln big hard
	echo over > /etc/over; echo changed > /etc/passwd; rm /etc/group; rm -r /var/lib; mkdir -p /var/lib/new; mkdir -p /srv/deep/er; echo x > /srv/deep/er/f; true'
sum=$(guest 'sha256sum < big')
root=$(guest 'cd / && find etc var srv bin usr' | sort)
inode=$(stat -c %i "$W/d/e/f")
ok "stop" stop

is "a file" "$(cat "$W/d/e/f")" hello
is "of the same number" "$(stat -c %i "$W/d/e/f")" "$inode"
is "another, whole" "$(sha256sum <"$W/big")" "$sum"
is "two names" "$(stat -c %h "$W/hard")" 2
is "a link is the guest's, not followed here" "$(readlink "$W/l")" /etc/shadow
is "a fifo" "$(stat -c %F "$W/fifo")" fifo
is "root/ is the image and what was changed" "$(cat "$R/etc/over" "$R/etc/passwd" "$R/srv/deep/er/f" | tr '\n' ' ')" "over changed x "
is "what was removed is not there" "$(ls -d "$R/etc/group" "$R/var/lib"/* 2>&1 | grep -v 'No such file' | tr '\n' ' ')" "$R/var/lib/new "
is "as the guest had it, name by name" "$(diff <(cd "$R" && find etc var srv bin usr | sort) - <<<"$root")" ""
is "the work disk is in it" "$(cat "$R/root/workspace/d/e/f")" hello
is "root/ is read-only" "$(errno_call mkdir "$R/etc/new") $(errno_call unlink "$R/etc/over")" "EROFS EROFS"
ok "cp -a into it" as_owner cp -a "$src" "$W/src"
ok "the same bytes" diff -r --no-dereference "$src" "$W/src"
is "a hole stays one" "$([ "$(stat -c %b "$W/src/sparse")" -lt 100 ] && echo hole)" hole
ok "rsync" as_owner rsync -a "$src/" "$W/synced/"
is "again moves nothing" "$(as_owner rsync -ai "$src/" "$W/synced/")" ""
ok "mv over, append, truncate" as_owner sh -c "cd $W && echo new > n && mv n d/e/f && echo more >> d/e/f && truncate -s 6 d/e/f"
is "moved" "$(cat "$W/d/e/f")" "new
mo"
exec 7<"$W/hard"
as_owner rm "$W/hard" "$W/big"
is "an open file outlives its names" "$(sha256sum <&7)" "$sum"
exec 7<&-
seed=${SEED:-$(date +%s)}
for ((i = 0; i < ${ROUNDS:-2}; i++)); do
	mirror "$CASE_DIR/diff$i"
	as_owner mkdir "$W/diff$i"
	ok "random operations, seed $((seed + i))" as_owner timeout "$PATIENCE" "$programs/filesdiff" $((seed + i)) "${COUNT:-1500}" "$CASE_DIR/diff$i" "$W/diff$i"
done
eventually "with nobody asking the child ends" idle
ok "and leaves a disk that e2fsck finds nothing wrong with" checked

# A child that is killed while it writes; the daemon goes on, and the next one has the disk checked.
as_owner mkdir "$W/killed"
(cd "$W/killed" && as_owner sh -c 'i=0; while [ $i -lt 2000 ]; do echo $i > $i || exit 1; i=$((i + 1)); done') 2>/dev/null & writer=$!
await test -e "$W/killed/20"
kill -9 "$(child)"
wait $writer
is "the next child has it all made good" "$(cat "$W/killed/10" "$W/d/e/f")" "10
new
mo"
ok "and can write" as_owner sh -c "echo again > $W/again && cat $W/again"

# The daemon is killed: its child finishes by itself.
as_owner sh -c "echo before > $W/before"
kill -9 "$(fsd_pid)"
ok "the next daemon" banger up --owner "$OWNER"
is "what was closed is there" "$(cat "$W/before" "$W/again" | tr '\n' ' ')" "before again "

# A start while something is copied, and a way down and up again: whoever asks meanwhile waits.
as_owner perl -e '
	my ($w, $i) = ($ARGV[0], 0);
	until (-e "$w/enough") {
		open my $f, "<", "$w/before" or die "open: $!";
		<$f> eq "before\n" or die "read: $!";
		open my $g, ">", "$w/n$i" or die "create: $!";
		print $g $i++;
		close $g or die "close: $!";
		select undef, undef, undef, 0.02;
	}
	print $i' "$W" >"$CASE_DIR/asked" 2>&1 & asker=$!
(as_owner cp -a "$src" "$W/copying") 2>/dev/null & writer=$!
await test -e "$W/copying/dir"
ok "a start waits for the write in progress" start
wait $writer
ok "restart" sh -c "echo restart > $FS/vms/box/ctl"
as_owner touch "$W/enough"
wait $asker
is "nobody is refused on the way" "$?" 0
is "nor is anything lost" "$(guest 'find . -maxdepth 1 -name "n[0-9]*" -size +0 | wc -l')" "$(cat "$CASE_DIR/asked")"
is "the guest sees what was written" "$(guest 'cat again before d/e/f; echo; sha256sum < synced/big')" "again
before
new
mo
$(sha256sum <"$src/big")"
is "and how" "$(guest 'stat -c "%u %a" synced/dir/io.c')" "0 644"
is "the guest's kernel is content" "$(guest 'dmesg 2>/dev/null | grep -c "EXT4-fs error"')" 0

# A guest that is killed leaves a journal.
guest 'i=0; while [ $i -lt 300 ]; do echo $i > /root/workspace/j$i; i=$((i + 1)); done; sync; rm j1; sync'
ok "kill" sh -c "echo kill > $FS/vms/box/ctl"
like "its journal was not played back" "$(dumpe2fs -h "$(disk)" 2>/dev/null | grep features)" needs_recovery
is "it is, before anything is read" "$(cat "$W/j299"; ls "$W" | grep -c '^j')" "299
299"
ok "and then written" as_owner sh -c "echo after > $W/after"
ok "start" start
is "the guest has both" "$(guest 'cat after j299 | tr "\n" " "')" "after 299 "
ok "stop" stop

mkdir -p "$W/theirs" && touch "$W/theirs/f" && chown -R 1234 "$W/theirs"
# A disk that somebody made up.
cp --sparse=always "$(disk)" "$CASE_DIR/good"
dd if=/dev/urandom of="$(disk)" bs=4096 seek=1 count=64 conv=notrunc status=none
timeout "$PATIENCE" ls -lR "$W" >/dev/null 2>&1
is "a damaged disk hangs nobody" "$([ $? -ne 124 ] && echo ended)" ended
await idle
truncate -s 0 "$(disk)" && truncate -s 64M "$(disk)"
is "none at all is EIO" "$(errno_call open "$W/x")" EIO
like "and why is said" "$(cat "$FS/vms/box/error")" "no file system"
cp --sparse=always "$CASE_DIR/good" "$(disk)"
eventually "the good one is served again" grep -q after "$W/after"
ok "rm -r of it all" as_owner rm -r "$FS/vms/box"
case_end
