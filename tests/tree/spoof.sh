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
mac=$(banger vm exec box -- cat /sys/class/net/eth0/address)
unused=${own%.*}.222

# What of the guests' frames gets past the bridge: by whom it says to be.
nft -f - <<END
table inet watch {
	chain in {
		type filter hook prerouting priority -300;
		iifname bg0 ip saddr { $own, $other } counter comment "known"
		iifname bg0 ip saddr != { $own, $other } counter comment "strange"
		iifname bg0 meta nfproto ipv6 counter comment "strange6"
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
guest arping -c 2 -w 3 -U -I eth0 -s "$other" "$other" >/dev/null 2>&1
guest arping -c 2 -w 3 -A -I eth0 -s "$other" "$other" >/dev/null 2>&1
guest arping -c 2 -w 3 -I eth0 -s "$unused" "$gateway" >/dev/null 2>&1
guest arping -c 2 -w 3 -U -I eth0 -s "$gateway" "$gateway" >/dev/null 2>&1
fails "the host doesn't take it for the other" sh -c "ip neigh show $other | grep -i $mac"
fails "nor has heard of an address of nobody's" sh -c "ip neigh show $unused | grep -i lladdr"
ok "the other has its host" banger vm exec two -- ping -c 1 -W 20 "$gateway"
fails "and doesn't take it for the host" sh -c "$BANGER_BIN/banger vm exec two -- cat /proc/net/arp | grep -i $mac"

guest ip link set eth0 address 02:00:00:00:00:99
fails "with another hardware address it doesn't reach the host" ping_from box "$gateway"
fails "nor the internet" ping_from box 192.0.2.2
guest ip link set eth0 address "$mac"
eventually "with its own it does" ping_from box "$gateway"
guest sh -c 'echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; ping -6 -c 2 -W 2 ff02::1%eth0' >/dev/null 2>&1
for what in strange strange6 "false ip" "false arp" "false mac" vlan; do
	is "nothing past the bridge: $what" "$(packets "$what")" 0
done
# again NAME: the next start, of a VM of that name.
again()
{
	mkdir "$FS/vms/$1"
	is "the next start" "$(errno_write "$FS/vms/$1/ctl" start)" OK
}
both_reach() { ping_from box "$gateway" && ping_from box 192.0.2.2 && banger vm exec two -- ping -c 1 -W 20 192.0.2.2; }
shielded()
{
	local r=0
	guest ip addr add "$unused/22" dev eth0
	ping_from box "$gateway" "$unused" && r=1
	guest ip addr del "$unused/22" dev eth0
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
