#!/usr/bin/perl
# What docker-registry doesn't do for the cases: registries that hold back, and who lets people into one.
#
#   registry.pl held PORT LOG LAYOUT GATE BYTES    an OCI layout; each blob's answer stops after BYTES until the file GATE is there
#   registry.pl silent PORT LOG                    takes requests and never answers
#   registry.pl token PORT LOG KEY CERT USER:PASSWORD...   grants tokens (issuer "case") to these, to pull and push
#
# On 127.0.0.1. LOG: a line for each request, "METHOD TARGET RANGE".
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64 qw(encode_base64 decode_base64 encode_base64url);

my ($mode, $port, $log, @args) = @ARGV;
$SIG{CHLD} = 'IGNORE';
$SIG{PIPE} = 'IGNORE';
my $listening = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "listen: $!";
open my $out, '>>', $log or die "$log: $!";
$out->autoflush(1);
my $json = JSON::PP->new->canonical;

sub slurp { my $name = shift; open my $f, '<:raw', $name or return; local $/; return scalar <$f> }

sub answer
{
	my ($c, $status, $headers, $body, $method) = @_;
	my $head = "HTTP/1.1 $status Case\r\nContent-Length: " . length($body) . "\r\n";
	$head .= "$_: $headers->{$_}\r\n" for sort keys %$headers;
	print $c "$head\r\n";
	return if $method eq 'HEAD';
	my $first = $headers->{'X-Held'} ? $args[2] : length $body;
	print $c substr($body, 0, $first);
	$c->flush;
	return if $first >= length $body;
	select undef, undef, undef, 0.02 until -e $args[1];
	print $c substr($body, $first);
	$c->flush;
}

sub held
{
	my ($c, $method, $target, $head) = @_;
	my ($layout) = @args;
	$target =~ s/\?.*//;
	if ($target =~ m{^/v2/.+/manifests/([^/]+)$}) {
		my $list = $json->decode(slurp("$layout/index.json"));
		my $digest = $1 =~ /^sha256:[0-9a-f]{64}$/ ? $1 : $list->{manifests}[0]{digest};
		my $body = slurp("$layout/blobs/" . $digest =~ s{:}{/}r) // return answer($c, 404, {}, '{}', $method);
		return answer($c, 200, {'Content-Type' => $json->decode($body)->{mediaType}, 'Docker-Content-Digest' => $digest}, $body, $method);
	}
	if ($target =~ m{^/v2/.+/blobs/sha256:([0-9a-f]{64})$}) {
		my $body = slurp("$layout/blobs/sha256/$1") // return answer($c, 404, {}, '{}', $method);
		my $all = length $body;
		my %held = $all > $args[2] ? ('X-Held' => 1) : ();
		return answer($c, 200, \%held, $body, $method) unless $head =~ /^Range: bytes=(\d+)-/mi;
		return answer($c, 416, {}, '', $method) if $1 >= $all;
		return answer($c, 206, {%held, 'Content-Range' => "bytes $1-" . ($all - 1) . "/$all"}, substr($body, $1), $method);
	}
	answer($c, $target eq '/v2/' ? 200 : 404, {}, '{}', $method);
}

# distribution: docs/spec/auth/jwt.md
sub token
{
	my ($c, $method, $target, $head) = @_;
	my ($key, $cert, @users) = @args;
	my ($who) = $head =~ /^Authorization: Basic (\S+)/mi;
	return answer($c, 401, {}, '{}', $method) if !$who || !grep { $_ eq decode_base64($who) } @users;
	my %q;
	for (split /&/, $target =~ s/^[^?]*\??//r) {
		my ($k, $v) = split /=/, $_, 2;
		$v =~ s/%([0-9a-f]{2})/chr hex $1/gie;
		push @{$q{$k}}, $v;
	}
	my @access = map { my ($type, $name, $actions) = split /:/; {type => $type, name => $name, actions => [split /,/, $actions]} } @{$q{scope} || []};
	my $der = join '', grep { !/-----/ } split /\n/, slurp($cert);
	my $now = time;
	my $text = join '.', map { encode_base64url($json->encode($_)) }
		{typ => 'JWT', alg => 'RS256', x5c => [$der]},
		{iss => 'case', sub => 'someone', aud => ($q{service} || [''])->[0], exp => $now + 300, nbf => $now - 60, iat => $now, jti => "$now-$$", access => \@access};
	my $name = "$log.$$";
	open my $f, '>', $name or die; print $f $text; close $f;
	my $signature = do { open my $p, '-|', 'openssl', 'dgst', '-sha256', '-sign', $key, $name or die; local $/; <$p> };
	unlink $name;
	answer($c, 200, {'Content-Type' => 'application/json'}, $json->encode({token => "$text." . encode_base64url($signature), expires_in => 300}), $method);
}

my %modes = (held => \&held, token => \&token, silent => sub { my $c = shift; 1 while sysread $c, my $buf, 4096 });
my $serve = $modes{$mode} or die "no such mode";
while (my $c = $listening->accept) {
	if (fork) { close $c; next }
	local $SIG{CHLD} = 'DEFAULT';
	while (defined(my $first = <$c>)) {
		my ($method, $target) = $first =~ m{^([A-Z]+) (\S+) HTTP/1\.[01]\r?\n$} or last;
		my $head = '';
		while (defined(my $line = <$c>)) { last if $line =~ /^\r?\n$/; $head .= $line }
		my ($range) = $head =~ /^Range: (\S+)/mi;
		print $out "$method $target " . ($range || '-') . "\n";
		$serve->($c, $method, $target, $head);
		$c->flush;
	}
	exit 0;
}
