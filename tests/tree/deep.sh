#!/usr/bin/env bash
# What programs do with files: mmap, git, poll, tail -f, a VM's directory mounted elsewhere, a guest that is paused.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
W=$FS/vms/box/workspace

if command -v git >/dev/null; then
	ok "git" as_owner env HOME="$CASE_DIR" sh -c "cd $W && git init -q r && cd r && git config user.email a@b && git config user.name n &&
		cp -r $TOP/lib . && git add . && git commit -qm x && git fsck && test -z \"\$(git status --porcelain)\""
fi
ok "50 MB in" dd if=/dev/zero of="$W/big" bs=1M count=50 status=none
is "50 MB out" "$(sha256sum <"$W/big")" "$(head -c 52428800 /dev/zero | sha256sum)"

timeout 20 tail -n 0 -f "$FS/vms/box/log" >"$CASE_DIR/tail" &
tailer=$!
sleep 1
echo pause >"$FS/vms/box/ctl"
eventually "tail -f sees a log grow" grep -q pause "$CASE_DIR/tail"
kill $tailer
wait $tailer 2>/dev/null
is "the files of a paused guest are EBUSY" "$(errno_call open "$W/big")" EBUSY
like "its stats are the host's" "$(timeout 20 cat "$FS/vms/box/stats")" '^vmm_'
is "resume" "$(errno_write "$FS/vms/box/ctl" resume)" OK

mkdir "$CASE_DIR/bind" "$FS/vms/gone"
mount --bind "$FS/vms/gone" "$CASE_DIR/bind"
is "a directory is a capability" "$(cat "$CASE_DIR/bind/state")" created
ok "rmdir" rmdir "$FS/vms/gone"
ok "the name again" mkdir "$FS/vms/gone"
for call in "cat $CASE_DIR/bind/state" "stat $CASE_DIR/bind" "ls $CASE_DIR/bind"; do
	like "ESTALE for $call" "$($call 2>&1)" 'Stale'
done
umount "$CASE_DIR/bind"

like "poll of events" "$(timeout 60 perl -MIO::Poll -e '
	open my $f, "<", "$ARGV[0]/stream/events" or die;
	my $p = IO::Poll->new;
	$p->mask($f => POLLIN);
	print "before ", $p->poll(0.3), "\n";
	if (!fork) { sleep 1; mkdir "$ARGV[0]/vms/polled"; exit }
	print "after ", $p->poll(30), "\n";
	sysread $f, my $line, 4096;
	print $line' "$FS" | tr '\n' ' ')" '^before 0 after 1 .*event=created vm=polled'
is "poll of a plain file" "$(perl -MIO::Poll -e 'open my $f, "<", $ARGV[0] or die; my $p = IO::Poll->new; $p->mask($f => POLLIN); print $p->poll(5)' "$FS/vms/box/state")" 1
is "O_NONBLOCK of a stream" "$(perl -MFcntl -MErrno -e 'sysopen my $f, $ARGV[0], O_RDONLY | O_NONBLOCK or die; sysread $f, my $b, 10; print $!{EAGAIN} ? "EAGAIN" : "$!"' "$FS/stream/events")" EAGAIN
case_end
