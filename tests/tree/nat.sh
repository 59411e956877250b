#!/usr/bin/env bash
# The guest's way out, by IPv4 and IPv6, with an internet of our own behind a veth pair: NAT on and off while it runs, others shielded.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
ip link add up0 type veth peer name inet0
unshare --net sleep infinity &
internet=$!
eventually "an internet" sh -c "[ \"\$(readlink /proc/$internet/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ip link set inet0 netns $internet
ip addr add 192.0.2.1/24 dev up0
ip addr add 2001:db8::1/64 dev up0 nodad
ip link set up0 up
ip route add default via 192.0.2.2
ip route add default via 2001:db8::2
inet() { nsenter --net=/proc/$internet/ns/net -- "$@"; }
inet ip addr add 192.0.2.2/24 dev inet0
inet ip addr add 2001:db8::2/64 dev inet0 nodad
inet ip link set inet0 up
inet ip link set lo up
audit_picture >"$CASE_DIR/before"
up
mkdir "$FS/vms/box"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
# A kernel that forwards by interface is told to; where it can't, that is the administrator's to switch on.
[ -e /proc/sys/net/ipv6/conf/all/force_forwarding ] || echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
ip=$(cat "$FS/vms/box/ip") ip6=$(cat "$FS/vms/box/ip6")
reaches() { banger vm exec box -- ping -c 1 -W "$1" "$2"; }

like "its IPv6 address is of the instance's network" "$ip6" "^$(sed 's|/64||' "$FS/host/subnet6")"
is "which the host is in" "$(ip -6 -o addr show dev bg0 scope global | awk '{print $4}')" "$(cat "$FS/host/gateway6")/64"
# The internet has no route back to the guest: an answer proves the masquerade.
for address in 192.0.2.2 2001:db8::2; do
	ok "the guest reaches $address" reaches 20 $address
done
is "nat off while it runs" "$(errno_write "$FS/vms/box/nat" 0)" OK
for address in 192.0.2.2 2001:db8::2; do
	fails "and doesn't reach $address" reaches 2 $address
done
ok "but the host, by IPv6" reaches 20 "$(cat "$FS/host/gateway6")"
is "nat on" "$(errno_write "$FS/vms/box/nat" 1)" OK
for address in 192.0.2.2 2001:db8::2; do
	ok "and reaches $address" reaches 20 $address
done
inet ip route add "$ip/32" via 192.0.2.1
inet ip route add "$ip6/128" via 2001:db8::1
ok "the internet answers" inet busybox ping -c 1 -W 20 192.0.2.1
for address in $ip $ip6; do
	fails "nobody outside reaches $address" inet busybox ping -c 1 -W 2 "$address"
	ok "the host does" busybox ping -c 1 -W 20 "$address"
done

# Services of the host's: by each address that it has, also that of its way out and its link-local one.
perl -MIO::Socket::IP -e '$s = IO::Socket::IP->new(LocalAddr => "::", LocalPort => 7777, Listen => 9, V6Only => 0) or die $!; 1 while $s->accept' &
service=$!
await sh -c "ss -Hltn | grep -q :7777"
connects() { banger vm exec box -- nc -w 3 "$1" 7777 </dev/null; }
link_local=$(ip -6 -o addr show dev bg0 scope link | awk '{sub("/.*", "", $4); print $4}')%eth0
for address in "$(cat "$FS/host/gateway")" "$(cat "$FS/host/gateway6")" 192.0.2.1 2001:db8::1 "$link_local"; do
	fails "it doesn't reach the host's services at $address" connects "$address"
done
nft flush chain inet banger input
for address in "$(cat "$FS/host/gateway")" "$(cat "$FS/host/gateway6")" "$link_local"; do
	ok "unguarded it would, at $address" connects "$address"
done
kill $service
wait $service 2>/dev/null
is "stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ok "banger down" down
kill $internet
wait $internet 2>/dev/null
eventually "the pair is gone" sh -c "! ip link show up0"
sed -i '/^up0/d; /^inet0/d' "$CASE_DIR/before"
case_end
