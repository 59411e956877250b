#!/usr/bin/env bash
# QEMU's guests by the kernel's vsock, which every user of the host can knock at: the agent knows its host, its host knows the guest's number.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready
VM=$FS/vms/box

# knock CID WHAT: another user of the host connects to the agent, and says WHAT ("": nothing). "closed" or what was answered, within PATIENCE; "open" is of
# one who is let wait.
knocking=$(cat <<'PERL'
use IO::Select;
my ($cid, $say, $many) = @ARGV;
my @all;
for (1 .. $many // 1) {
	socket(my $s, 40, 1, 0) or die "socket: $!";
	connect($s, pack("S S L L x4", 40, 0, 1000, $cid)) or do { print "$!\n"; exit };
	push @all, $s;
}
if ($many) {
	$| = 1;
	print "$many wait\n";
	sleep 600;
}
my $s = $all[0];
syswrite($s, pack("H*", $say)) if $say;
IO::Select->new($s)->can_read($say ? $ENV{PATIENCE} : 1) or do { print "open\n"; exit };
my $n = sysread($s, my $said, 4096);
print defined $n && $n > 0 ? unpack("H*", $said) : "closed", "\n";
PERL
)
export PATIENCE
knocker=(setpriv --reuid=65534 --regid=65534 --clear-groups perl -e "$knocking")
knock() { "${knocker[@]}" "$@"; }
# A HELLO with TOKEN, in hexadecimal digits.
hello() { perl -e 'my $t = pack("H*", shift); print unpack("H*", pack("V v v V V", 20 + length $t, 1, 0, 0, 1) . "c" x 16 . $t)' "$1"; }
cid() { sed -n 's/^vsock //p' "$VM/channel"; }
answers() { [ "$(say 2>/dev/null)" = here ]; }
say() { as_owner timeout "$PATIENCE" banger vm exec box -- echo here; }

ok "a VM of QEMU's" as_owner sh -c "mkdir $VM && echo qemu >$VM/engine && echo 128M >$VM/memory"
is "starts" "$(errno_write "$VM/ctl" start)" OK
like "it has a vsock" "$(cat "$VM/channel")" '^vsock [0-9]+$'
first=$(cid) vmm=$(vm_pid box) run=$(echo /run/banger/fsd/vm/*)
ok "and no port" sh -c "tr '\0' ' ' </proc/$vmm/cmdline | grep -q 'vhost-vsock-device,guest-cid=$first,' && ! grep -q virtserialport /proc/$vmm/cmdline"
is "its agent answers" "$(say)" here
like "doctor knows" "$(banger doctor)" 'PASS +vsock '
is "QEMU has no path to the device" "$(ls "/proc/$vmm/root/dev" | xargs)" kvm

token=$(perl -e 'local $/; print unpack "H*", <>' "$run/token")
like "a token of 32 bytes" "$token" '^[0-9a-f]{64}$'
is "the owner's alone" "$(stat -c '%a %U' "$run/token")" "600 $OWNER"
fails "others don't read the guest's initramfs" setpriv --reuid=65534 --regid=65534 --clear-groups cat "/proc/$vmm/fd/9"
fails "it is on no command line" grep -rqs "$token" /proc/[0-9]*/cmdline

is "who says nothing may wait" "$(knock "$first" "")" open
is "without a token: hung up on" "$(knock "$first" "$(hello "")$(printf '0%.0s' {1..64})")" closed
is "with a wrong one: hung up on" "$(knock "$first" "$(hello "${token%?}$([ "${token: -1}" = 0 ] && echo 1 || echo 0)")")" closed
is "another frame first: hung up on" "$(knock "$first" "000000000300000001000000$(hello "$token")")" closed
is "the host is still served" "$(say)" here
like "with the right one, which nobody else has, one would be it" "$(knock "$first" "$(hello "$token")")" '^[0-9a-f]{8}01'
eventually "the daemon comes back" answers

"${knocker[@]}" "$first" "" 1000 >"$CASE_DIR/crowd" &
crowd=$!
eventually "a thousand wait" grep -q '1000 wait' "$CASE_DIR/crowd"
is "the host is served among them" "$(say)" here
dialer=$(unit banger-vsock.service MainPID)
kill -9 "$(unit banger.service MainPID)"
eventually "the next daemon gets through" answers
is "through who made sockets for the one before" "$(unit banger-vsock.service MainPID)" "$dialer"
is "by the same number" "$(cid)" "$first"
is "to the same VM" "$(vm_pid box) $(say)" "$vmm here"
kill "$crowd"
wait "$crowd" 2>/dev/null

# Nobody but the owner, and nothing but sockets of vsocks.
dial() { setpriv --reuid="$1" --regid="$1" --clear-groups perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0); connect($s, pack_sockaddr_un("/run/banger/vsock.sock")) ? print "yes" : print "$!"'; }
is "who makes them listens to the owner" "$(dial "$(id -u "$OWNER")")" yes
is "and to no other" "$(dial 65534)" "Permission denied"
kill -9 "$dialer" "$(unit banger.service MainPID)"
eventually "both gone: the next get through" answers
ok "it is another one" test "$(unit banger-vsock.service MainPID)" != "$dialer"

# A number is a VM's until its end, then anybody's; the next start takes one that is nobody's.
perl -e 'open my $f, "+<", "/dev/vhost-vsock" or die; ioctl($f, 0x4008af60, pack("Q", shift)) and print "taken\n" or print "$!\n"' "$first" >"$CASE_DIR/taken"
is "nobody else gets it" "$(cat "$CASE_DIR/taken")" "Address already in use"
is "the VM stops" "$(errno_write "$VM/ctl" stop)" OK
is "the channel has gone" "$(cat "$VM/channel")" ""
like "and the number" "$(knock "$first" "$(hello "$token")")" 'No such device|Connection reset|timed out'
perl -e '$| = 1; open my $f, "+<", "/dev/vhost-vsock" or die; ioctl($f, 0x4008af60, pack("Q", shift)) and print "taken\n"; sleep 600' "$first" >"$CASE_DIR/taken" &
foreign=$!
eventually "a foreign VM takes it" grep -q taken "$CASE_DIR/taken"
is "the VM starts again" "$(errno_write "$VM/ctl" start)" OK
like "with another number" "$(cid)" '^[0-9]+$'
ok "indeed" test "$(cid)" != "$first"
fails "and another token" cmp -s <(perl -e 'print pack "H*", shift' "$token") "$run/token"
is "and answers" "$(say)" here
kill "$foreign"
wait "$foreign" 2>/dev/null
is "stops" "$(errno_write "$VM/ctl" stop)" OK

# A kernel without a driver for it.
module=$(ls /var/lib/banger/kernels/*/modules/*-vmw_vsock_virtio_transport.ko)
mv "$module" "$CASE_DIR/"
is "starts with a kernel that has no driver" "$(errno_write "$VM/ctl" start)" OK
is "by a port" "$(cat "$VM/channel")" virtio-serial
like "and says why" "$(tail -n 5 "$VM/log")" 'virtio-serial.*no module vmw_vsock_virtio_transport'
is "answers" "$(say)" here
is "stops again" "$(errno_write "$VM/ctl" stop)" OK
mv "$CASE_DIR/${module##*/}" "$module"
is "and is deleted" "$(errno_call rmdir "$VM")" OK
host_end
