#!/usr/bin/env bash
# Root disks by device-mapper: made and gone in order, kept over every kind of death, never another's; what happens when one is full, or the kernel has none.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready

vm=$FS/vms/box1
# What device-mapper has of ours, by uuid; what loop devices hold of the state's files.
ours()
{
	dmsetup info -c --noheadings --separator ' ' -o name,uuid 2>/dev/null | awk '$2 ~ /^BANGER-/ {print $1}' | sort
}
our_loops()
{
	losetup -l -n -O BACK-FILE,RO,AUTOCLEAR,DIO | grep -e /var/lib/banger -e banger-zeros | sed 's|/[^ ]*/||' | awk '{$1=$1; print}' | sort
}
in_vm()
{
	as_owner timeout "$PATIENCE" banger vm exec "$1" -- sh -c "$2"
}
ctl()
{
	timeout "$PATIENCE" bash -c "errno=; echo $2 >$FS/vms/$1/ctl" 2>/dev/null && echo OK || cat "$FS/vms/$1/error"
}
none()
{
	[ -z "$(ours)" ] && [ -z "$(our_loops)" ]
}

is "the host has it" "$(cat "$FS/host/storage")" "dm overlay"
none_before=$(ours)
is "nothing of ours is there yet" "$none_before" ""
ok "a VM" as_owner mkdir "$vm"
is "its storage is chosen at the first start" "$(cat "$vm/storage")" auto
is "start" "$(ctl box1 start)" OK
is "the choice" "$(cat "$vm/storage")" dm
is "it stands: what was written is in that form" "$(ctl box1 stop; errno_write "$vm/storage" overlay)" "OK
EINVAL"
is "nothing of a stopped VM is in the kernel" "$(ours; our_loops)" ""
is "start again" "$(ctl box1 start)" OK
name=$(ours | head -n 1)
is "two devices, with our uuids" "$(ours | wc -l) $(ours | sed -n 2p)" "2 $name-base"
like "the table" "$(dmsetup table "$name")" '^0 [0-9]+ snapshot [0-9]+:[0-9]+ [0-9]+:[0-9]+ PO 8 1 discard_zeroes_cow$'
like "loop devices that go by themselves, the cow past the cache" "$(our_loops | paste -sd,)" \
	'^/memfd:banger-zeros \(deleted\) 1 1 0,[^,]*\.ext4 1 1 0,root\.cow 0 1 1$'
is "udev made no name of it" "$(ls /dev/mapper)" control
is "the root is that disk" "$(in_vm box1 'grep " / " /proc/mounts | cut -d" " -f1,3')" "/dev/vda ext4"
is "as large as disk says" "$(in_vm box1 'cat /sys/block/vda/size')" $(($(cat "$vm/disk") / 512))

in_vm box1 'echo kept >/etc/kept; rm /bin/vi; sync'
is "stop, start and its file" "$(ctl box1 stop; ctl box1 start; in_vm box1 'cat /etc/kept; ls /bin/vi 2>/dev/null')" "OK
OK
kept"

pid=$(vm_pid box1)
kill -9 "$(unit banger.service MainPID)" "$(unit banger-helper.service MainPID)"
await test -e "$vm/state"
eventually "the daemons were killed: the disk is as it was" test "$(ours | head -n 1)" = "$name"
is "under the same VM" "$(timeout "$PATIENCE" cat "$vm/pid")" "$pid"
is "which writes to it" "$(in_vm box1 'echo after >/etc/after; sync; cat /etc/after')" after
loops=$(dmsetup table | grep -o ' 7:[0-9]*' | sed 's| 7:|/dev/loop|')
is "its loop devices are let go of by hand: they stay while it runs" \
	"$(losetup -d $loops; ls -d /sys/block/loop*/loop | wc -l; in_vm box1 'echo loops >/etc/loops; sync; cat /etc/loops')" "3
loops"
kill -9 "$pid"
eventually "the VMM was killed: its disk goes" none
eventually "error says that, and no more" grep -q ' run: the VMM was killed by signal 9: echo start > ctl starts it again$' "$vm/error"

# Another's of that name, and one that only looks like ours.
dmsetup create "$name" --table "0 8 zero"
dmsetup create "$name-other" --uuid "BANGER-$name-other" --table "0 8 zero"
like "a name that is taken: the start says so" "$(ctl box1 start)" "device-mapper has a device $name already, and it isn't ours"
is "and doesn't touch it" "$(dmsetup table "$name")" "0 8 zero "
dmsetup remove "$name"
is "start once that has gone" "$(ctl box1 start)" OK
is "what had been flushed is there" "$(in_vm box1 'cat /etc/after')" after
eventually "stats say what is written" grep -q '^root_written [1-9]' "$vm/stats"

# By hand; and somebody holds it open.
dev=/dev/dm-$(dmsetup info -c --noheadings -o minor "$name")
exec 8<"$dev"
dmsetup remove -f "$name" 2>/dev/null
eventually "taken away by hand: error says so" grep -q "something else in its place" "$vm/error"
like "open elsewhere: the kill says so" "$(ctl box1 kill)" "root disk is open.*fuser -v $dev"
is "and it is stopped" "$(cat "$vm/state")" stopped
exec 8<&-
eventually "it goes when it is closed" test "$(ours)" = "$name-other"
dmsetup remove "$name-other"
is "nothing is left" "$(ours; our_loops)" ""

# The guest's kernel hadn't unmounted it: its journal is to be recovered first.
like "promote what was killed: refused, with what helps" "$(as_owner banger vm promote box1 mine 2>&1)" 'not unmounted.*shut it down by stop'
is "start, recovered by the guest, and stop" "$(ctl box1 start; in_vm box1 'cat /etc/kept'; ctl box1 stop)" "OK
kept
OK"
ok "promote" as_owner banger vm promote box1 mine
is "the disk was there only for that" "$(ours; our_loops)" ""

# A VM of what it had written, whose image is larger than what may be written over it.
small=$FS/vms/small
as_owner mkdir "$small"
echo mine >"$small/image"
echo 64M >"$small/disk"
is "a VM of that image" "$(ctl small start; in_vm small 'cat /etc/kept /etc/after; ls /bin/vi 2>/dev/null; echo first >/etc/first; sync')" "OK
kept
after"
# A guest whose root disk takes no more tries the superblock's again with each page that is written, in an emulated host for minutes: nobody waits for that. One
# of the emulated KVM resets itself now and then, and has written nothing.
fill_up()
{
	as_owner timeout "$PATIENCE" banger vm exec -d small -- sh -c 'dd if=/dev/zero of=/fill bs=1M count=70; sync' >/dev/null
}
is_full()
{
	[ "$(cat "$small/state")" = running ] || { ctl small start && fill_up; }
	grep -q 'echo stop > ctl; echo 134217728 > disk; echo start > ctl' "$small/error"
}
ok "write more than it has room for" fill_up
eventually "full: error says what to do" is_full || diag "$(cat "$small/state"): $(cat "$small/error")"
ctl small stop >/dev/null
[ "$(cat "$small/state")" = stopped ] || ctl small kill >/dev/null
is "more" "$(errno_write "$small/disk" 512M)" OK
is "it goes on, with what it had" "$(ctl small start; in_vm small 'cat /etc/first; echo second >/etc/second; sync; cat /etc/second')" "OK
first
second"
is "stop" "$(ctl small stop)" OK

# The helper's own share, and its death at any moment of it: what it had made is gone when it is back.
work=$(mktemp -d /var/tmp/cost.XXXXXX)
chmod 0755 "$work"
install -d -o "$OWNER" "$work/cows"
head -c 64M /dev/zero >"$work/image"
chown "$OWNER" "$work/image"
install -m 0755 "$TOP/bin/helpercost" "$work/"
cost()
{
	as_owner "$work/helpercost" /run/banger/helper.sock "$work/image" "$work/cows" "$1"
}
is "32 VMs' taps, NAT and disks" "$(cost 32 >"$CASE_DIR/cost" 2>&1; echo $?)" 0
diag "microseconds: $(paste -sd' ' "$CASE_DIR/cost")"
is "are gone" "$(ours; our_loops)" ""
began=$(date +%s)
for round in {1..12}; do
	cost 4 >/dev/null 2>&1 &
	nap "0.$(printf %02d $((round * 7)))"
	kill -9 "$(unit banger-helper.service MainPID)"
	wait $!
	systemctl reset-failed banger-helper.service
	systemctl start banger-helper.service
	none || break
done
is "killed while it makes and removes them, $round times: nothing is left" "$round $(ours; our_loops)" "12 "
like "and it had made some" "$(journalctl -u banger-helper.service --since "@$began" | grep -c 'call=disk .*code=0')" '^[1-9]'
rm -rf "$work"

# No device-mapper.
echo 'install dm_snapshot /bin/false' >/etc/modprobe.d/no-dm.conf
rmmod dm_snapshot
like "no snapshots in this kernel: the host says so" "$(cat "$FS/host/storage")" '^overlay: no snapshot target .*modprobe dm_snapshot'
as_owner mkdir "$FS/vms/else"
is "a new VM gets an overlay" "$(ctl else start; cat "$FS/vms/else/storage")" "OK
overlay"
like "and its log the reason" "$(cat "$FS/vms/else/log")" 'storage: overlay: no snapshot target'
like "one whose disk is device-mapper's doesn't start, and says why" "$(ctl box1 start)" 'storage dm: no snapshot target'
rm /etc/modprobe.d/no-dm.conf
is "until there is one again" "$(cat "$FS/host/storage")" "dm overlay"
is "what has an overlay keeps it" "$(ctl else stop; cat "$FS/vms/else/storage")" "OK
overlay"
for name in box1 small else; do
	ok "rm $name" rmdir "$FS/vms/$name"
done
ok "rm the image" rmdir "$FS/images/mine"
is "nothing of ours is in the kernel" "$(ours; our_loops)" ""
host_end
