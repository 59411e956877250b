#!/usr/bin/perl
# proxy.pl PORT LOG TO TO-TLS [USER:PASSWORD]: a proxy at 127.0.0.1:PORT that knows no names: what is asked for by CONNECT goes to
# 127.0.0.1:TO-TLS, the rest to 127.0.0.1:TO. LOG has a line for each connection, "METHOD TARGET"; without the login 407.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use MIME::Base64;

my ($port, $log, $to, $to_tls, $login) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Listen => 16, ReuseAddr => 1) or die "$port: $!";
$SIG{CHLD} = 'IGNORE';
while (1) {
	my $client = $listener->accept or next;
	if (fork) {
		close $client;
		next;
	}
	close $listener;
	serve($client);
	exit;
}

sub serve
{
	my $client = shift;
	my $head = '';

	until ($head =~ /\r\n\r\n/) {
		sysread($client, $head, 65536, length $head) or return;
	}
	my ($method, $target) = split ' ', $head;
	open my $out, '>>', $log or die "$log: $!";
	syswrite($out, "$method $target\n");
	close $out;
	if (defined $login && $head !~ /^Proxy-Authorization: Basic \Q@{[encode_base64($login, '')]}\E\r$/mi) {
		syswrite($client, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"case\"\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	my $server = IO::Socket::INET->new('127.0.0.1:' . ($method eq 'CONNECT' ? $to_tls : $to)) or return;
	if ($method eq 'CONNECT') {
		syswrite($client, "HTTP/1.1 200 Connected\r\n\r\n");
	} else {
		syswrite($server, $head);
	}
	my $both = IO::Select->new($client, $server);
	while (1) {
		for my $from ($both->can_read) {
			my $other = $from == $client ? $server : $client;
			sysread($from, my $data, 65536) or return;
			for (my $at = 0; $at < length $data;) {
				$at += syswrite($other, $data, length($data) - $at, $at) // return;
			}
		}
	}
}
