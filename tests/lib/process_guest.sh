#!/usr/bin/env bash
# process_guest.sh FOLDER VM DOOR TOKEN AGENT: a guest that is processes: AGENT at the listening socket DOOR, in a root of its own. What would be the whole
# machine's in a guest (its clock, devices, modules, settings, its end) isn't to be reached from in there.
if [ "$$" != 1 ]; then
	exec unshare --fork --mount --pid --ipc --uts --kill-child --propagation private bash "$0" "$@"
fi
set -e
cd "$1"
vm=$2 door=$3 token=$4 agent=$5
if [ ! -e "$vm.home" ]; then
	mkdir "$vm"
	cp --sparse=always image "$vm.disk"
	truncate -s 3G "$vm.disk" "$vm.home"
	# It asks for a check first, which changes nothing of a clean one.
	e2fsck -fp "$vm.disk" >/dev/null
	resize2fs "$vm.disk" >/dev/null 2>&1
	mount -o loop "$vm.disk" "$vm"
	mkfs.ext4 -q -d "$vm/root" "$vm.home"
	umount "$vm"
fi
mount -o loop "$vm.disk" "$vm"
cd "$vm"
mkdir -p dev proc run sys tmp root
mount -o loop "../$vm.home" root
mount -t tmpfs dev dev
for device in full null random tty urandom zero; do
	touch "dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 pts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
[ ! -e proc/sysrq-trigger ] || mount --bind dev/null proc/sysrq-trigger
mount -t sysfs -o ro sys sys
mount -t tmpfs tmp tmp
mount -t tmpfs run run
if [ -d root/lost+found ]; then
	rmdir root/lost+found
fi
mkdir run/banger
cp "$agent" run/banger/guest
exec setpriv --bounding-set=-sys_time,-sys_boot,-sys_module,-sys_rawio chroot . /run/banger/guest agent \
	--root /root --tree / --fd "$door" --listen "$token"
