#!/usr/bin/env bash
# banger doctor: each thing broken in turn is the one row that fails, and the command that the row names mends it.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"

# Programs that only root can change, in a folder that can be changed here.
mount -t tmpfs -o mode=0755 doctor /mnt
mkdir /mnt/bin /mnt/aside
cp "$BANGER_BIN"/banger{,-fsd,-helper,-guest} /mnt/bin/
BANGER_BIN=/mnt/bin

# doctor [COMMAND...]: its rows go to $CASE_DIR/rows, "ROW<tab>GRADE<tab>MEND<tab>FOUND"; its exit code is $code.
doctor()
{
	"$@" "$BANGER_BIN/banger" doctor --json >"$CASE_DIR/json"
	code=$?
	perl -MJSON::PP -0777 -ne 'print join("\t", @$_{qw(row grade mend found)}), "\n" for @{decode_json($_)}' "$CASE_DIR/json" >"$CASE_DIR/rows"
}

failing()
{
	awk -F '\t' '$2 == "FAIL" { printf "%s%s", n++ ? " " : "", $1 }' "$CASE_DIR/rows"
}

row()
{
	awk -F '\t' -v row="$1" -v field="$2" '$1 == row { print $field }' "$CASE_DIR/rows"
}

rows()
{
	cut -f 1-2 "$CASE_DIR/rows" | tr '\t\n' ': '
}

# healthy WHAT: nothing fails, as soon as a loaded machine has come to it.
is_healthy()
{
	doctor
	[ -z "$(failing)" ] && [ $code = 0 ]
}

healthy()
{
	await is_healthy
	is "$1" "$(failing) $code" " 0" || diag "$(cat "$CASE_DIR/rows")"
}

# fails_alone WHAT ROW PATTERN: it is the one that fails, says what and how to mend it.
fails_alone()
{
	doctor
	is "$1: $2" "$(failing) $code" "$2 1"
	[ "$(failing)" = "$2" ] || diag "$(grep FAIL "$CASE_DIR/rows")"
	like "$1: says what" "$(row "$2" 4)" "$3"
	like "$1: says what mends it" "$(row "$2" 3)" '.'
	mend=$(row "$2" 3)
}

# mends WHAT: the command of the row that failed last does it.
mends()
{
	ok "$1: $mend" eval "$mend"
	healthy "$1: mended"
}

# killed PID: by SIGKILL, and gone: until then its lock and its socket are held.
killed()
{
	kill -9 "$1"
	await sh -c "! kill -0 $1 || grep -q '^State:.Z' /proc/$1/status"
}

doctor
is "down: nothing fails" "$(failing) $code" " 0"
like "down: helper" "$(row helper 2) $(row helper 3)" '^WARN banger up'
doctor setpriv --reuid=12345 --regid=12345 --clear-groups
is "down, as anybody: nothing fails" "$(failing) $code" " 0"
like "as anybody: with sudo" "$(row helper 3)" '^sudo banger up'
ok "another instance" banger --instance other doctor
mount -t tmpfs -o size=500k run "$BANGER_RUN_BASE"
fails_alone "little room in /run" run-space 'free at'
umount "$BANGER_RUN_BASE"
doctor
is "and with room" "$(row run-space 2)" PASS

# Programs that say they are of a release: firecracker's, jailer's.
mount -t tmpfs -o mode=755 local /usr/local/bin
pretend()
{
	printf '#!/bin/sh\necho "Firecracker v%s"\n' "$1" >/usr/local/bin/firecracker
	printf '#!/bin/sh\necho "Jailer v%s"\n' "$2" >/usr/local/bin/jailer
	chmod 0755 /usr/local/bin/firecracker /usr/local/bin/jailer
}
doctor
is "without Firecracker" "$(row firecracker 2) $(row firecracker 4)" "PASS no jailer: VMs run in QEMU"
pretend 1.16.1 1.16.1
doctor
is "with one" "$(row firecracker 2) $(row firecracker 4)" "PASS Firecracker and its jailer, version 1.16.1"
chmod g+w /usr/local/bin/jailer
fails_alone "one that others could change" firecracker 'jailer: refused'
ok "is mended: $mend" eval "$mend"
pretend 1.14.0 1.14.0
fails_alone "a jailer that follows links" firecracker 'CVE-2026-1386'
pretend 1.4.0 1.4.0
fails_alone "one too old" firecracker 'too old'
pretend 1.16.1 1.16.0
fails_alone "two releases" firecracker 'both from one release'
pretend 1.16.1 1.16.1
cp "$(command -v perl)" /usr/local/bin/firecracker
fails_alone "one with shared libraries" firecracker "needs shared libraries, which its jail doesn't have"
pretend 1.99.0 1.99.0
doctor
is "one too new" "$(row firecracker 2) $(failing)" "WARN "
umount /usr/local/bin

up
healthy "up, without a VM"
mkdir "$FS/vms/box"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
healthy "with a VM"
for name in programs binaries qemu fuse tun space run-space helper fsd versions socket folders mount helper-rights children-rights fsd-rights \
	vm-rights units bridge nft kernel image; do
	is "with a VM: $name" "$(row $name 2)" PASS
done
like "a VM was looked at" "$(row vm-rights 4)" '^1 VM'
doctor as_owner
is "as the owner: nothing fails" "$(failing) $code" " 0"
is "as the owner: what only root can see" "$(row nft 2) $(row nft 3)" "WARN sudo banger doctor"
is "as the owner: rights" "$(row helper-rights 2)$(row vm-rights 2)$(row bridge 2)$(row kernel 2)" PASSPASSPASSPASS
doctor setpriv --reuid=12345 --regid=12345 --clear-groups
is "as anybody: nothing fails" "$(failing) $code" " 0"
is "as anybody: the helper" "$(row helper 2) $(row helper 3)" "WARN sudo banger doctor"
audit_picture >"$CASE_DIR/one"
(cd "$STATE" && find . -not -path './log' | sort) >>"$CASE_DIR/one"
doctor
audit_picture >"$CASE_DIR/two"
(cd "$STATE" && find . -not -path './log' | sort) >>"$CASE_DIR/two"
ok "it changes nothing" diff "$CASE_DIR/one" "$CASE_DIR/two"
like "for people" "$(banger doctor)" '^PASS  helper '

# The network.
nft delete table inet banger
fails_alone "no table" nft 'no nft table inet banger'
mends "no table"
nft delete table bridge banger
fails_alone "no table of the bridge" nft 'no nft table bridge banger'
mends "no table of the bridge"
like "the guest may send again" "$(nft list set bridge banger guests)" 'bg0-'
nft flush chain inet banger input
fails_alone "a chain flushed" nft 'lacks: .*bg0'
mends "a chain flushed"
nft insert rule inet banger forward accept
fails_alone "a rule that lets all through" nft 'inet banger'
mends "a rule that lets all through"
ip link set bg0 down
fails_alone "bridge down" bridge 'down'
mends "bridge down"
ip -6 addr flush dev bg0 scope global
fails_alone "bridge without IPv6 address" bridge 'IPv6 address'
mends "bridge without IPv6 address"
ip addr flush dev bg0
fails_alone "bridge without address" bridge 'address'
mends "bridge without address"
echo 0 >/proc/sys/net/ipv4/conf/bg0/forwarding
fails_alone "bridge doesn't forward" forwarding 'bg0'
mends "bridge doesn't forward"
ip link del bg0
fails_alone "no bridge" bridge 'not there'
mends "no bridge"
ip link add up0 type veth peer name inet0
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
ip route add default via 192.0.2.2
fails_alone "the way out doesn't forward" forwarding 'up0'
mends "the way out doesn't forward"
ip link del up0
[ ! -d /run/systemd/resolve ] || mount -t tmpfs resolve /run/systemd/resolve
echo 'nameserver 127.0.0.53' >/mnt/aside/resolv.conf
mount --bind /mnt/aside/resolv.conf /etc/resolv.conf
doctor
is "no resolver for guests" "$(row resolver 2)$code" WARN0
echo 192.0.2.53 >"$FS/config/dns"
doctor
is "one that is set" "$(row resolver 2)" PASS
umount /etc/resolv.conf
[ ! -d /run/systemd/resolve ] || umount /run/systemd/resolve

# Files and folders.
chmod 0777 "$RUN"
fails_alone "runtime folder for all" folders '0777'
mends "runtime folder for all"
chmod 0755 "$RUN/helper"
fails_alone "journal for all" folders '0755'
mends "journal for all"
chmod 0750 "$STATE"
fails_alone "state for a group" folders '0750'
mends "state for a group"
chown 12345 "$RUN/fsd"
fails_alone "another's runtime folder" folders '12345'
mends "another's runtime folder"
chmod 0777 "$BANGER_STATE_BASE"
fails_alone "all may replace the state" folders 'replace'
mends "all may replace the state"
chmod 0666 "$RUN/helper.sock"
fails_alone "socket for all" socket '0666'
mends "socket for all"
chown 12345 "$RUN/helper.sock"
fails_alone "another's socket" socket '12345'
mends "another's socket"

kernel=$(echo "$STATE"/kernels/*/vmlinux)
mv "$kernel" "$kernel.aside"
fails_alone "kernel gone" kernel 'whole'
mv "$kernel.aside" "$kernel"
image=$(echo "$STATE"/images/*.ext4)
mv "$image" "$STATE/images/aside"
fails_alone "image gone" image 'whole'
mv "$STATE/images/aside" "$image"
healthy "kernel and image are back"

mkdir /mnt/state
mount --bind "$STATE" /mnt/state
mount -t tmpfs -o size=1m,mode=0700,uid="$(id -u $OWNER)" state "$STATE"
mkdir "$STATE/kernels" "$STATE/images"
mount --bind /mnt/state/kernels "$STATE/kernels"
mount --bind /mnt/state/images "$STATE/images"
fails_alone "state on a full disk" space 'free at'
mount -o remount,size=4g,nr_inodes=10 "$STATE"
fails_alone "state without inodes" space 'more files'
umount "$STATE/kernels" "$STATE/images" "$STATE" /mnt/state
healthy "with room again"

# Programs and devices.
touch /mnt/aside/empty
chmod 0755 /mnt/aside/empty
mount --bind /mnt/aside/empty /usr/bin/qemu-system-x86_64
fails_alone "no QEMU" qemu "doesn't work"
like "no QEMU: a package" "$mend" 'qemu'
chmod 0777 /mnt/aside/empty
fails_alone "a QEMU that all may change" qemu 'refused'
umount /usr/bin/qemu-system-x86_64
printf '#!/bin/sh\necho "QEMU emulator version 5.2.0 (old)"\n' >/mnt/aside/old
chmod 0755 /mnt/aside/old
mount --bind /mnt/aside/old /usr/bin/qemu-system-x86_64
fails_alone "an old QEMU" qemu 'version 5'
umount /usr/bin/qemu-system-x86_64
mount --bind /dev/null /dev/fuse
fails_alone "no /dev/fuse" fuse 'something else'
umount /dev/fuse
mount --bind /mnt/aside/empty /dev/net/tun
fails_alone "no /dev/net/tun" tun 'something else'
umount /dev/net/tun
mv /mnt/bin/banger-guest /mnt/aside/
fails_alone "no banger-guest" programs 'banger-guest'
mv /mnt/aside/banger-guest /mnt/bin/
mv /mnt/bin/banger-fsd /mnt/aside/
printf '#!/bin/sh\necho banger-fsd 0.0.1\n' >/mnt/bin/banger-fsd
chmod 0755 /mnt/bin/banger-fsd
fails_alone "a daemon of another version" programs 'another version'
mv /mnt/aside/banger-fsd /mnt/bin/
chmod o+w /mnt/bin/banger-helper
fails_alone "a helper that all may change" binaries 'others'
mends "a helper that all may change"
chown "$OWNER" /mnt/bin
doctor
is "programs in a folder of the owner's" "$(row binaries 2)$code" WARN0
chown root /mnt/bin
touch -d '10 days' /mnt/bin/banger
fails_alone "a clock that is behind" clock 'earlier'
touch /mnt/bin/banger
for system in fedora:dnf arch:pacman ubuntu:apt-get rocky:dnf nixos:docs/hosts.md void:docs/hosts.md; do
	printf 'ID=%s\n' "${system%:*}" >/mnt/aside/os-release
	[ "${system%:*}" != rocky ] || printf 'ID_LIKE="rhel centos fedora"\n' >>/mnt/aside/os-release
	mount --bind /mnt/aside/os-release /etc/os-release
	mount --bind /mnt/aside/empty /usr/bin/qemu-system-x86_64
	chmod 0755 /mnt/aside/empty
	doctor
	like "on ${system%:*}" "$(row qemu 3)" "${system#*:}"
	umount /usr/bin/qemu-system-x86_64 /etc/os-release
done
healthy "all is back"

# The processes.
kill -STOP "$(fsd_pid)"
fails_alone "a daemon that hangs" fsd "didn't answer"
kill -CONT "$(fsd_pid)"
healthy "a daemon that goes on"
kill -STOP "$(helper_pid)"
fails_alone "a helper that hangs" helper "doesn't answer"
kill -CONT "$(helper_pid)"
healthy "a helper that goes on"
cat "$RUN/helper.log" >>"$CASE_DIR/helper.log"
killed "$(helper_pid)"
fails_alone "helper killed" helper "doesn't run"
mends "helper killed"
killed "$(fsd_pid)"
fails_alone "daemon killed" fsd "doesn't run"
mends "daemon killed"
eventually "the VM goes on" banger vm exec box -- true

# A daemon with a capability, as no `banger up` starts it.
killed "$(fsd_pid)"
setpriv --reuid="$OWNER" --regid="$(id -g $OWNER)" --clear-groups --inh-caps=+net_raw --ambient-caps=+net_raw \
	/mnt/bin/banger-fsd >>"$STATE/fsd.log" 2>&1 &
await banger status
fails_alone "a daemon with a capability" fsd-rights 'Cap'
mends "a daemon with a capability"

helper=$(helper_pid)
kill -9 "$(pgrep -P "$helper" launcher)"
await sh -c "! kill -0 $helper"
fails_alone "launcher killed: the helper ends" helper "doesn't run"
mends "launcher killed: the helper ends"

# A helper whose seccomp list never came into force, nor what it gave up.
killed "$(helper_pid)"
strace -qq -o /dev/null -e trace=seccomp,prctl -e inject=seccomp,prctl:retval=0 \
	"$BANGER_BIN/banger-helper" --owner "$(id -u $OWNER)" >>"$CASE_DIR/helper.log" 2>&1 &
await sh -c "grep -q helper.sock /proc/net/unix && $BANGER_BIN/banger version | grep -q helper"
fails_alone "a helper without its list" helper-rights 'Seccomp'
mends "a helper without its list"

umount -l "$FS"
fails_alone "tree unmounted" fsd "mounted|doesn't run"
mends "tree unmounted"
case_end
