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

# carry PORT [BYTES]: so many to what listens in the guest, which counts them, or all that it has to say; how many there were.
carry()
{
	perl -MIO::Socket::INET -e '
		my ($ip, $port, $left) = @ARGV;
		my $s = IO::Socket::INET->new(PeerAddr => $ip, PeerPort => $port, Timeout => 60) or die "$!";
		my ($bytes, $got) = ("x" x 65536, 0);
		if ($left) {
			while ($left > 0) { $left -= syswrite($s, $bytes, $left < 65536 ? $left : 65536) // die $! }
			shutdown($s, 1);
			$got = 0 + <$s>;
		} else {
			while (my $n = sysread($s, $bytes, 65536)) { $got += $n }
		}
		print $got' "$ip" "$@"
}
# takes WHAT MSEC PORT [BYTES]: a million bytes are carried, and take so long at least.
takes()
{
	local before=$(date +%s%N)
	is "a megabyte $1" "$(carry "${@:3}")" 1000000
	ok "takes more than $2 ms" test $((($(date +%s%N) - before) / 1000000)) -gt "$2"
}
listens() { guest sh -c 'netstat -ltn | grep -q :5555 && netstat -ltn | grep -q :5556'; }
both_ways()
{
	eventually "the guest listens" listens
	takes "to the guest" "$1" 5555 1000000
	takes "from the guest" "$1" 5556
}
limits() { tc qdisc show dev "$1" | grep -Eo 'tbf|clsact' | xargs; }

# How fast it may be, by modules that the kernel loads for it.
guest sh -c 'while :; do nc -l -p 5555 -e wc -c; done' >/dev/null 2>&1 &
guest sh -c 'while :; do nc -l -p 5556 -e head -c 1000000 /dev/zero; done' >/dev/null 2>&1 &
tap=$(ip -o link show master bg0 | awk -F'[:@ ]+' '{print $2; exit}')
echo 'install act_police /bin/false' >/etc/modprobe.d/no-police.conf
is "a kernel without police takes no rate" "$(errno_write "$FS/vms/box1/net_rate" 512K) $(cat "$FS/vms/box1/net_rate")" "ENOTSUP max"
like "says what there isn't" "$(cat "$FS/vms/box1/error")" '^[0-9]+ net_rate: the host.s kernel lacks cls_u32 or act_police .*modprobe'
is "and nothing is set" "$(limits "$tap")" ""
rm /etc/modprobe.d/no-police.conf
is "a rate while it runs" "$(errno_write "$FS/vms/box1/net_rate" 512K)" OK
both_ways 1500
is "a lower one" "$(errno_write "$FS/vms/box1/net_rate" 256K)" OK
both_ways 3000
is "none any more" "$(errno_write "$FS/vms/box1/net_rate" max) $(limits "$tap")" "OK "
both_ways 0
is "one that it starts with" "$(errno_write "$FS/vms/box1/net_rate" 128K) $(errno_write "$FS/vms/box1/ctl" restart) $(limits "$tap")" "OK OK tbf clsact"
is "and none" "$(errno_write "$FS/vms/box1/net_rate" max) $(limits "$tap")" "OK "

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
