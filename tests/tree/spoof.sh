#!/usr/bin/env bash
# A guest that gives itself another's addresses: heard by nobody, and still itself. And a network that somebody took away is put back for all
# that run by the next start.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
ip link add up0 type veth peer name inet0
unshare --net sleep infinity &
internet=$!
eventually "an internet" sh -c "[ \"\$(readlink /proc/$internet/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ip link set inet0 netns $internet
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
ip route add default via 192.0.2.2
inet() { nsenter --net=/proc/$internet/ns/net -- "$@"; }
inet ip addr add 192.0.2.2/24 dev inet0
inet ip link set inet0 up
inet ip link set lo up
# It has routes back to all guests, masqueraded or not.
inet ip route add 10.66.0.0/16 via 192.0.2.1
audit_picture >"$CASE_DIR/before"
up
mkdir "$FS/vms/box" "$FS/vms/two"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
ok "start of another" sh -c "echo start > $FS/vms/two/ctl"
gateway=$(ip -4 -o addr show dev bg0 | sed 's/.* inet \([0-9.]*\).*/\1/')
own=$(cat "$FS/vms/box/ip") other=$(cat "$FS/vms/two/ip")
own6=$(cat "$FS/vms/box/ip6") other6=$(cat "$FS/vms/two/ip6") gateway6=$(cat "$FS/host/gateway6")
local6() { banger vm exec "$1" -- ip -6 addr show dev eth0 | sed -n 's|.*inet6 \(fe80[^/]*\)/.*|\1|p'; }
link6=$(local6 box) other_link6=$(local6 two)
mac=$(banger vm exec box -- cat /sys/class/net/eth0/address)
unused=${own%.*}.222

# What of the guests' frames gets past the bridge: by whom it says to be.
nft -f - <<END
table inet watch {
	chain in {
		type filter hook prerouting priority -300;
		iifname bg0 ip saddr { $own, $other } counter comment "known"
		iifname bg0 ip saddr != { $own, $other } counter comment "strange"
		iifname bg0 ip6 saddr != { $own6, $other6, $link6, $other_link6, fd00::a, fe80::a } counter comment "strange6"
	}
}
table netdev watch {
	chain in {
		type filter hook ingress device bg0 priority 0;
		ether saddr $mac ip saddr != $own counter comment "false ip"
		ether saddr $mac arp saddr ip != $own counter comment "false arp"
		ether saddr 02:00:00:00:00:99 counter comment "false mac"
		vlan id 1-4094 counter comment "vlan"
	}
}
END
packets() { nft list ruleset | sed -n "s/.*counter packets \([0-9]*\) bytes.*comment \"$1\".*/\1/p"; }
guest() { banger vm exec box -- "$@"; }
ping_from() { guest ping -c 2 -i 0.3 -W 2 ${3:+-I "$3"} "$2" >/dev/null 2>&1; }

ok "the guest reaches the host" ping_from box "$gateway"
ok "and the internet" ping_from box 192.0.2.2
ok "which is seen" test "$(packets known)" -gt 0

for address in "$other" "$unused" 192.0.2.77 169.254.1.1; do
	guest ip addr add "$address/22" dev eth0
	fails "from $address it doesn't reach the host" ping_from box "$gateway" "$address"
	fails "nor the internet" ping_from box 192.0.2.2 "$address"
	# The other's own address it would only ask itself for.
	[ "$address" = "$other" ] || fails "nor the other" ping_from box "$other" "$address"
	eventually "its own goes on" ping_from box "$gateway" "$own"
	guest ip addr del "$address/22" dev eth0
done
for address in "$other6" "${own6%:*}:fff0" 2001:db8::66; do
	guest ip -6 addr add "$address/64" dev eth0
	fails "from $address it doesn't reach the host" ping_from box "$gateway6" "$address"
	eventually "its own goes on" ping_from box "$gateway6" "$own6"
	guest ip -6 addr del "$address/64" dev eth0
done
fails "by IPv6 it doesn't reach the other" ping_from box "$other6"
guest arping -c 2 -w 3 -U -I eth0 -s "$other" "$other" >/dev/null 2>&1
guest arping -c 2 -w 3 -A -I eth0 -s "$other" "$other" >/dev/null 2>&1
guest arping -c 2 -w 3 -I eth0 -s "$unused" "$gateway" >/dev/null 2>&1
guest arping -c 2 -w 3 -U -I eth0 -s "$gateway" "$gateway" >/dev/null 2>&1
fails "the host doesn't take it for the other" sh -c "ip neigh show $other | grep -i $mac"
fails "nor by IPv6" sh -c "ip -6 neigh show $other6 | grep -i $mac"
fails "nor has heard of an address of nobody's" sh -c "ip neigh show $unused | grep -i lladdr"
ok "the other has its host" banger vm exec two -- ping -c 1 -W 20 "$gateway"
fails "and doesn't take it for the host" sh -c "$BANGER_BIN/banger vm exec two -- cat /proc/net/arp | grep -i $mac"

guest ip link set eth0 address 02:00:00:00:00:99
fails "with another hardware address it doesn't reach the host" ping_from box "$gateway"
fails "nor the internet" ping_from box 192.0.2.2
guest ip link set eth0 address "$mac"
eventually "with its own it does" ping_from box "$gateway"

# Neighbour discovery, frame by frame, by a port of the bridge that is a guest's as far as the tables go: what may pass has a number above 100.
ip link add bg0-900000 type veth peer name evil0
ip link set bg0-900000 master bg0 up
ip link set evil0 up
nft -f - <<END
table netdev frames {
	chain in {
		type filter hook ingress device bg0 priority 1;
		$(for n in {1..19} {101..108}; do echo "ip6 flowlabel $n counter comment \"frame $n\""; done)
	}
}
add element bridge banger guests6 { "bg0-900000" . 52:54:00:0d:bb:a0 . fd00::a, "bg0-900000" . 52:54:00:0d:bb:a0 . fe80::a }
add element bridge banger targets { "bg0-900000" . 0xfd00000000000000000000000000000a, "bg0-900000" . 0xfe80000000000000000000000000000a }
add element bridge banger links { "bg0-900000" . 0x01015254000dbba0, "bg0-900000" . 0x02015254000dbba0 }
END
perl -MSocket=:DEFAULT,inet_pton -e '
	my ($own, $local, $other, $host) = map { inet_pton(AF_INET6, $_) } "fd00::a", "fe80::a", "fd00::b", "fd00::1";
	my $nobody = "\0" x 16;
	my ($mac, $another) = map { pack("H12", $_) } "5254000dbba0", "525400000002";
	my ($ask, $tell) = (135, 136);
	sub option { pack("CCa6", $_[0], 1, $_[1]) }
	sub nd { my ($type, $target, @options) = @_; pack("CCnN", $type, 0, 0, 0x60000000) . $target . join("", @options) }
	sub other { pack("CCnN", $_[0], 0, 0, 0) . "\0" x 8 }
	my @frames = (
		[101, $mac, $own, nd($ask, $host, option(1, $mac))], [102, $mac, $own, nd($ask, $host)],
		[103, $mac, $own, nd($tell, $own, option(2, $mac))], [104, $mac, $local, nd($tell, $own, option(2, $mac))],
		[105, $mac, $own, nd($tell, $local)], [106, $mac, $local, nd($ask, $host, option(1, $mac))], [107, $mac, $own, other(128)],
		[1, $mac, $other, nd($ask, $host, option(1, $mac))], [2, $mac, $nobody, nd($ask, $other)],
		[3, $mac, $own, nd($ask, $host, option(1, $another))], [4, $mac, $own, nd($ask, $host, option(1, $mac), option(1, $another))],
		[5, $mac, $own, nd($tell, $other, option(2, $mac))], [6, $mac, $other, nd($tell, $other, option(2, $mac))],
		[7, $mac, $own, nd($tell, $own, option(2, $another))], [8, $mac, $own, nd($tell, $host, option(2, $mac))],
		[9, $mac, $own, nd($tell, $host)], [10, $another, $own, nd($tell, $own, option(2, $another))],
		[11, $mac, $own, other(134)], [12, $mac, $local, other(134)], [13, $mac, $own, other(137)], [14, $mac, $own, other(130)],
		[15, $mac, $own, other(143)], [16, $mac, $own, other(133)], [17, $mac, $other, other(128)], [18, $another, $own, other(128)],
		# behind a header of its own
		[19, $mac, $own, pack("CCa6", 58, 0, "\1\4\0\0\0\0") . nd($tell, $other, option(2, $mac)), 0],
		[108, $mac, $own, other(129)]);
	socket(my $s, 17, SOCK_RAW, 0) or die $!;
	for (@frames) {
		my ($n, $from, $ip, $body, $next) = @$_;
		my $frame = pack("H12", "3333000000a1") . $from . pack("nNnCC", 0x86dd, 0x60000000 | $n, length($body), $next // 58, 255) . $ip .
			inet_pton(AF_INET6, "ff02::1") . $body;
		defined send($s, $frame, 0, pack("SnlSCCa8", 17, 0x86dd, $ARGV[0], 1, 0, 6, "")) or die $!;
	}' "$(ip -o link show evil0 | cut -d: -f1)"
eventually "the last frame has come" sh -c "nft list ruleset | grep -q 'packets 1 .*frame 108'"
for n in {101..107}; do
	is "frame $n passes" "$(packets "frame $n")" 1
done
for n in {1..19}; do
	is "frame $n doesn't" "$(packets "frame $n")" 0
done
nft delete table netdev frames
ip link del evil0
for what in strange strange6 "false ip" "false arp" "false mac" vlan; do
	is "nothing past the bridge: $what" "$(packets "$what")" 0
done
# again NAME: the next start, of a VM of that name.
again()
{
	mkdir "$FS/vms/$1"
	is "the next start" "$(errno_write "$FS/vms/$1/ctl" start)" OK
}
both_reach() { ping_from box "$gateway" && ping_from box "$gateway6" && ping_from box 192.0.2.2 && banger vm exec two -- ping -c 1 -W 20 192.0.2.2; }
shielded()
{
	local r=0
	guest ip addr add "$unused/22" dev eth0
	ping_from box "$gateway" "$unused" && r=1
	guest ip addr del "$unused/22" dev eth0
	guest ip -6 addr add "$other6/64" dev eth0
	ping_from box "$gateway6" "$other6" && r=1
	guest ip -6 addr del "$other6/64" dev eth0
	return $r
}
nft delete table bridge banger
# The other way round: what was counted above does come, where nobody guards.
guest ip addr add "$unused/22" dev eth0
ping_from box "$gateway" "$unused"
guest ip addr del "$unused/22" dev eth0
guest ip link set eth0 address 02:00:00:00:00:99
ping_from box "$gateway"
guest ip link set eth0 address "$mac"
for what in strange "false ip" "false arp" "false mac"; do
	ok "unguarded it would have been: $what" test "$(packets "$what")" -gt 0
done
nft delete table inet watch
nft delete table netdev watch
# What the host has learnt in the meantime is true no more.
ip neigh flush dev bg0
again after-bridge-table
ok "without the bridge's table: all are guarded again" shielded
is "each by its row" "$(nft list set bridge banger guests | grep -o 'bg0-[0-9]*' | sort -u | wc -l)" 3
# The guest itself has stopped believing in its gateway, of which it asked in another's name: it asks again soon.
eventually "and reach what they did" both_reach
nft delete table inet banger
again after-table
eventually "without the other table: all reach what they did" both_reach
nft flush ruleset
ip link del bg0
again after-bridge
eventually "without bridge and tables: all reach what they did" both_reach
ok "and are guarded" shielded
is "on one bridge" "$(ip -o link show master bg0 | wc -l)" 5
is "each a port apart" "$(bridge -d link show | grep -c 'isolated on')" 5
ok "banger down" down
kill $internet
wait $internet 2>/dev/null
eventually "the pair is gone" sh -c "! ip link show up0"
sed -i '/^up0/d; /^inet0/d' "$CASE_DIR/before"
case_end
