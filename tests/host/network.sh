#!/usr/bin/env bash
# The guests' network on a whole host: names by systemd-resolved, whatever happens to it; IPv6; the host shielded; others' rules left alone.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready

# A firewall of the administrator's, which nothing here may change.
nft -f - <<'END'
table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 9999 drop
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
	}
}
END
nft list table inet filter >"$CASE_DIR/firewall"

asks() { grep -q 'systemd-resolved asks there' "$FS/host/dns"; }
query() { resolvectl query --legend=no "$1"; }
guest() { as_owner timeout "$PATIENCE" banger vm exec box1 -- "$@"; }

ok "the owner makes a VM" as_owner mkdir "$FS/vms/box1"
ok "and starts it" as_owner sh -c "echo start >$FS/vms/box1/ctl"
ip=$(cat "$FS/vms/box1/ip") ip6=$(cat "$FS/vms/box1/ip6")
eventually "systemd-resolved has been told, without anybody's doing" asks
like "its addresses, by resolvectl" "$(query box1.vm | xargs)" "^box1.vm: (.* )?$ip( |$)"
like "the other" "$(query box1.vm)" "$ip6"
like "by any program" "$(getent ahosts box1.vm)" "^$ip "
like "by IPv6" "$(getent ahostsv6 box1.vm)" "^$ip6 "
like "its name" "$(getent hosts "$ip")" "box1.vm"
like "by IPv6" "$(getent hosts "$ip6")" "box1.vm"
fails "one that there isn't" query box2.vm
ok "it is reached by its name" perl -MIO::Socket::IP -e 'IO::Socket::IP->new(PeerAddr => "box1.vm", PeerPort => 1); exit($!{ECONNREFUSED} ? 0 : 1)'
is "nothing else is asked of banger" "$(resolvectl default-route bg0 | awk '{print $NF}')" no
fails "the owner can't say who is asked" as_owner resolvectl dns bg0 192.0.2.1

ok "systemd-resolved is restarted" systemctl restart systemd-resolved
eventually "and told again" asks
like "it knows the VM" "$(query box1.vm)" "$ip"
kill -9 "$(unit systemd-resolved MainPID)"
eventually "killed and back, it is told again" asks
ok "banger is restarted" banger system restart
eventually "and asked" asks
ok "systemd-resolved is stopped" systemctl stop systemd-resolved
like "that is said" "$(cat "$FS/host/dns")" "^dig @127.0.0.1 -p 5354 NAME.vm; systemd-resolved doesn't run here$"
is "and is no fault" "$(banger doctor --json | perl -MJSON::PP -0777 -ne 'print map { $_->{grade} } grep { $_->{row} eq "names" } @{decode_json($_)}')" PASS
ok "it is started" systemctl start systemd-resolved
eventually "and told" asks
is "another port" "$(errno_write "$FS/config/dns_listen" 127.0.0.1:5454)" OK
like "isn't known yet" "$(cat "$FS/host/dns")" "isn't told: sudo banger system names"
ok "banger system names" banger system names
ok "tells it" asks
like "it is asked there" "$(query box1.vm)" "$ip"
is "as before" "$(errno_write "$FS/config/dns_listen" 127.0.0.1:5354)" OK

# The host's sshd, by each address of the host.
ok "the guest reaches the host's address" guest ping -c 1 -W 30 "$(cat "$FS/host/gateway")"
ok "by IPv6" guest ping -c 1 -W 30 "$(cat "$FS/host/gateway6")"
link_local=$(ip -6 -o addr show dev bg0 scope link | awk '{sub("/.*", "", $4); print $4}')%eth0
for address in "$(cat "$FS/host/gateway")" "$(cat "$FS/host/gateway6")" "$link_local" 10.0.2.15; do
	fails "but not its sshd at $address" guest nc -w 3 "$address" 22
done

# What somebody takes away comes again with the next start, names too.
nft delete table inet banger
nft delete table bridge banger
ip link del bg0
ok "the owner makes another" as_owner mkdir "$FS/vms/box2"
ok "and starts it, after bridge and tables were taken away" as_owner sh -c "echo start >$FS/vms/box2/ctl"
eventually "names are routed again" asks
like "box2's" "$(query box2.vm)" "$(cat "$FS/vms/box2/ip")"
eventually "the first has its host again" guest ping -c 1 -W 5 "$(cat "$FS/host/gateway6")"
ok "they stop" as_owner sh -c "echo stop >$FS/vms/box1/ctl; echo stop >$FS/vms/box2/ctl"
fails "and have no name" query box1.vm
ok "and are deleted" as_owner rmdir "$FS/vms/box1" "$FS/vms/box2"
ok "others' rules are as they were" sh -c "nft list table inet filter | cmp - '$CASE_DIR/firewall'"
nft delete table inet filter
host_end
