#!/usr/bin/env bash
# banger doctor on a whole host: nothing fails; each thing broken is a row that fails, and its command mends it.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready

# rows GRADE: those that have it; field ROW NAME.
rows() { perl -MJSON::PP -0777 -e 'open(my $f, "<", shift); print join(" ", map { $_->{row} } grep { $_->{grade} eq $ARGV[0] } @{decode_json(<$f>)})' "$CASE_DIR/json" "$1"; }
field() { perl -MJSON::PP -0777 -e 'open(my $f, "<", shift); print map { $_->{$ARGV[1]} // "" } grep { $_->{row} eq $ARGV[0] } @{decode_json(<$f>)}' "$CASE_DIR/json" "$1" "$2"; }
doctor()
{
	"$@" banger doctor --json >"$CASE_DIR/json"
	code=$?
}
is_healthy() { doctor; [ -z "$(rows FAIL)" ] && [ $code = 0 ]; }
healthy()
{
	await is_healthy
	is "$1" "$(rows FAIL) $code" " 0" || diag "$(cat "$CASE_DIR/json")"
}
# breaks WHAT ROW PATTERN: the row fails and says so; its command mends it.
breaks()
{
	doctor
	like "$1: $2 fails" " $(rows FAIL) " " $2 "
	is "$1: and so does doctor" "$code" 1
	like "$1: it says what" "$(field "$2" found)" "$3"
	ok "$1: $(field "$2" mend)" bash -c "$(field "$2" mend)"
	healthy "$1: mended"
}

healthy "nothing fails"
for row in helper fsd socket folders mount helper-rights children-rights fsd-rights kernel image fuse tun; do
	like "$row passes" " $(rows PASS) " " $row "
done
doctor as_owner
is "as the owner neither" "$(rows FAIL) $code" " 0"

systemctl stop banger.service
breaks "the daemon stopped" fsd "doesn't run"
systemctl stop banger-helper.socket banger-helper.service
breaks "helper and socket stopped" helper "doesn't run"
mkdir -p /etc/systemd/system/banger{,-helper,-vsock}.service.d
printf '[Service]\nProtectHome=no\n' >/etc/systemd/system/banger.service.d/more.conf
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/banger-vsock.service.d/more.conf
printf '[Service]\nProtectControlGroups=no\nLockPersonality=no\n' >/etc/systemd/system/banger-helper.service.d/more.conf
doctor
like "drop-ins that systemd hasn't read" "$(field units found)" 'NeedDaemonReload is yes'
ok "are read: $(field units mend)" bash -c "$(field units mend)"
breaks "drop-ins" units 'banger-helper.service: ProtectControlGroups is no, .*LockPersonality is no, .*banger.service: ProtectHome is no.*banger-vsock.service: PrivateUsers is no'
chmod 0666 /run/banger/helper.sock
breaks "a socket for all" socket '0666'
# As an older banger's installation has left it, which knew no such unit.
rm -r /etc/systemd/system/banger-vsock.socket.d
systemctl daemon-reload
systemctl restart banger-vsock.socket
doctor
like "vsocks' socket without its owner" " $(rows WARN) " " vsock "
like "it says so" "$(field vsock found)" "vsock.sock is user 0's"
is "and what to type" "$(field vsock mend)" "banger system install --owner $OWNER"
ok "which mends it" bash -c "$(field vsock mend)"
doctor
like "indeed" " $(rows PASS) " " vsock "
kill -STOP "$(unit banger.service MainPID)"
doctor
like "a daemon that hangs" " $(rows FAIL) " " fsd "
kill -CONT "$(unit banger.service MainPID)"
healthy "it goes on"

ok "the owner makes a VM" as_owner mkdir "$FS/vms/box1"
ok "and starts it" as_owner sh -c "echo start >$FS/vms/box1/ctl"
healthy "with a VM"
for row in vm-rights bridge nft forwarding forwarding6 names storage; do
	like "$row passes" " $(rows PASS) " " $row "
done
resolvectl revert bg0
doctor
like "systemd-resolved not told" " $(rows WARN) " " names "
ok "$(field names mend)" bash -c "$(field names mend)"
doctor
like "is told by that" " $(rows PASS) " " names "
# Both, so that they come again in the order that they had.
nft delete table inet banger
nft delete table bridge banger
breaks "the tables gone" nft 'no nft table inet banger'
ip -6 addr flush dev bg0 scope global
breaks "the bridge's IPv6 address gone" bridge "IPv6 address"
ip link del bg0
breaks "the bridge gone" bridge 'not there'
ok "the VM is reached" as_owner timeout "$PATIENCE" banger vm exec box1 -- true
ok "it stops" as_owner sh -c "echo stop >$FS/vms/box1/ctl"
ok "and is deleted" as_owner rmdir "$FS/vms/box1"
# What mended the units is there to stay.
rm /etc/systemd/system/banger*.service.d/{more,zz-banger-*}.conf
rmdir /etc/systemd/system/banger-vsock.service.d
systemctl daemon-reload
host_end
