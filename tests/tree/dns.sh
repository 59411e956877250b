#!/usr/bin/env bash
# NAME.vm by DNS: while the VM runs, and at no other time.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"

# ask PORT NAME TYPE: "RCODE ANSWER", the answer an address, a name, or "-".
ask()
{
	perl -MIO::Socket::INET -e '
		my ($port, $name, $type) = @ARGV;
		my @rcodes = qw(NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED);
		my $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1:$port") or die;
		my $labels = sub { join("", map { pack("C/a*", $_) } split(/\./, $_[0])) . "\0" };
		my $q = pack("n6", $$ & 0xffff, 0x100, 1, 0, 0, 0) . $labels->($name) . pack("n2", { A => 1, PTR => 12, AAAA => 28 }->{$type}, 1);
		$s->send($q) or die;
		my $in = ""; vec($in, $s->fileno, 1) = 1;
		select($in, undef, undef, 20) or do { print "nobody answers\n"; exit };
		defined $s->recv(my $r, 4096) or do { print "nobody is there\n"; exit };
		my ($id, $flags, $qd, $an) = unpack("n4", $r);
		$id == ($$ & 0xffff) && $flags & 0x8000 or die "not an answer to it";
		my $text = "-";
		if ($an) {
			my $data = substr($r, length($q));
			$data = substr($data, length($labels->($name)) + 8);
			my ($n) = unpack("n", $data);
			$data = substr($data, 2, $n);
			$text = $type eq "A" ? join(".", unpack("C4", $data)) : $type eq "AAAA" ? Socket::inet_ntop(Socket::AF_INET6(), $data) : join(".", grep { length } unpack("(C/a)*", $data));
		}
		print "$rcodes[$flags & 15] $text\n";
	' "$@"
}

port=5354
up
like "how it is asked, and by whom not" "$(cat "$FS/host/dns")" "^dig @127.0.0.1 -p 5354 NAME.vm; "
mkdir "$FS/vms/box1"
ip=$(cat "$FS/vms/box1/ip")
ip6=$(cat "$FS/vms/box1/ip6")
reverse6=$(perl -MSocket=inet_pton,AF_INET6 -e 'print join(".", reverse(split(//, unpack("H32", inet_pton(AF_INET6, $ARGV[0])))), "ip6.arpa")' "$ip6")
reverse=$(awk -F. '{print $4 "." $3 "." $2 "." $1 ".in-addr.arpa"}' <<<"$ip")
is "one that does not run has no address" "$(ask $port box1.vm A)" "NXDOMAIN -"
is "start" "$(errno_write "$FS/vms/box1/ctl" start)" OK
is "its address" "$(ask $port box1.vm A)" "NOERROR $ip"
is "however it is written" "$(ask $port BOX1.VM A)" "NOERROR $ip"
is "its IPv6 address" "$(ask $port box1.vm AAAA)" "NOERROR $ip6"
is "its name, by that" "$(ask $port "$reverse6" PTR)" "NOERROR box1.vm"
is "its name" "$(ask $port "$reverse" PTR)" "NOERROR box1.vm"
is "another one's" "$(ask $port box2.vm A)" "NXDOMAIN -"
is "what is not ours" "$(ask $port example.org A)" "REFUSED -"
is "an address that is not ours" "$(ask $port 1.2.0.192.in-addr.arpa PTR)" "REFUSED -"

is "by TCP" "$(perl -MIO::Socket::INET -e '
	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:5354") or die;
	my $q = pack("n6", 7, 0x100, 1, 0, 0, 0) . "\4box1\2vm\0" . pack("n2", 1, 1);
	$s->syswrite(pack("n/a*", $q));
	local $/; my $r = <$s>;
	my ($n, $m) = unpack("n a*", $r);
	print join(".", unpack("C4", substr($m, -4))), $n == length($m) ? "" : " of a wrong length";
')" "$ip"

# What is no query neither ends nor holds up the daemon.
perl -MIO::Socket::INET -e '
	my $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1:5354") or die;
	srand(7);
	for (1 .. 2000) { $s->send(join("", map { chr(int(rand(256))) } 1 .. int(rand(300)))) }
	$s->send("x" x 60000);
'
is "and after two thousand datagrams of noise" "$(ask $port box1.vm A)" "NOERROR $ip"

is "somewhere else while it runs" "$(errno_write "$FS/config/dns_listen" 127.0.0.2:5454)" OK
like "host/dns says so" "$(cat "$FS/host/dns")" "^dig @127.0.0.2 -p 5454 NAME.vm; "
is "the old place is left" "$(ask $port box1.vm A)" "nobody is there"
is "an address of the network's" "$(errno_write "$FS/config/dns_listen" 0.0.0.0:5354)" EINVAL
is "no port" "$(errno_write "$FS/config/dns_listen" 127.0.0.1)" EINVAL
is "nowhere" "$(errno_write "$FS/config/dns_listen" "
")" OK
like "host/dns says that" "$(cat "$FS/host/dns")" '^off: '
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1:5355") or die; sleep 600' &
other=$!
await sh -c "ss -Hlun | grep -q 127.0.0.1:5355"
is "where somebody else is" "$(errno_write "$FS/config/dns_listen" 127.0.0.1:5355)" OK
like "is said in host/dns" "$(cat "$FS/host/dns")" '^127.0.0.1:5355: somebody else listens there: '
like "and in the log" "$(cat "$FS/log")" 'dns: 127.0.0.1:5355: somebody else listens there'
kill -9 "$(fsd_pid)"
await sh -c "! kill -0 $(fsd_pid) 2>/dev/null"
ok "a daemon comes up all the same" banger up --owner "$OWNER"
like "and says it again" "$(cat "$FS/host/dns")" '^127.0.0.1:5355: somebody else listens there: '
kill $other
wait $other 2>/dev/null
is "where it was" "$(errno_write "$FS/config/dns_listen" 127.0.0.1:5354)" OK
is "the next daemon knows the VMs that run" "$(ask $port box1.vm A)" "NOERROR $ip"

is "stop" "$(errno_write "$FS/vms/box1/ctl" stop)" OK
is "gone with it" "$(ask $port box1.vm A)" "NXDOMAIN -"
is "also its address" "$(ask $port "$reverse" PTR)" "NXDOMAIN -"
mv "$FS/vms/box1" "$FS/vms/web"
is "start by another name" "$(errno_write "$FS/vms/web/ctl" start)" OK
is "the new name" "$(ask $port web.vm A)" "NOERROR $ip"
is "not the old one" "$(ask $port box1.vm A)" "NXDOMAIN -"
is "the address has the new name" "$(ask $port "$reverse" PTR)" "NOERROR web.vm"
is "kill" "$(errno_write "$FS/vms/web/ctl" kill)" OK
is "gone with that" "$(ask $port web.vm A)" "NXDOMAIN -"
case_end
