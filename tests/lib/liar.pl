#!/usr/bin/perl
# liar.pl SOCKET [LENGTH [VERSION]]: an agent (include/banger/agent_proto.h) that lies. It listens at SOCKET and answers as a guest would, with a workspace in which each name is a
# lie of its own; what is written to the file of that name is thrown away. With LENGTH it
# hears only hellos that are so long, with VERSION it says that it speaks that one.
use strict;
use warnings;
no warnings 'portable';
use IO::Socket::UNIX;

use constant {
	HELLO => 1, REPLY => 2, PING => 3, STATS => 4, HEALTH => 5, EXEC => 16, OUT => 18, IN => 17, CREDIT => 20, SIGNAL => 21, WINSIZE => 22, REAP => 80,
	ATTACH => 81, LOOKUP => 32, GETATTR => 33, SETATTR => 34, READLINK => 35, OPEN => 43, RELEASE => 45, READ => 46, WRITE => 47, FSYNC => 48, READDIR => 49,
	STATFS => 50, WATCH => 58, CHANGED => 59, PORTS => 97, PORTS_CHANGED => 99,
};
use constant {DIR => 0040755, FILE => 0100644, LINK => 0120777, EINVAL => 22, ENOENT => 2, ENODATA => 61, EOPNOTSUPP => 95};

my ($socket, $length, $version) = @ARGV;
my $huge = 0x7fffffffffffffff;
# NAME => [inode, mode, size, owner]
my %files = (
	'' => [2, DIR, 4096], names => [10, DIR, 4096], slash => [11, DIR, 4096], dots => [12, DIR, 4096], nul => [13, DIR, 4096], long => [14, DIR, 4096],
	empty => [15, DIR, 4096], endless => [16, DIR, 4096], stuck => [17, DIR, 4096], cut => [18, DIR, 4096], self => [2, DIR, 4096],
	huge => [20, FILE, $huge], more => [21, FILE, 1000], less => [22, FILE, 100000], beyond => [23, FILE, $huge + 1], shadow => [30, LINK, 11],
	up => [31, LINK, 40], nullink => [32, LINK, 5], longlink => [33, LINK, 100000], nolink => [34, LINK, 0], type => [40, 0170644, 1], zero => [0, FILE, 1],
	suid => [41, 0106755, 10, 12345], disk => [42, 0060666, 0], unasked => [50, FILE, 10], late => [51, FILE, 10], twice => [52, FILE, 10], errno => [53, FILE, 10],
	flood => [54, FILE, 10], silent => [55, FILE, 10], short => [56, FILE, 10],
);
my %names = map { $files{$_}[0] => $_ } grep { $_ ne 'self' } keys %files;
my %links = (shadow => '/etc/shadow', up => '../' x 12 . 'etc/shadow', nullink => "/etc\0x", longlink => 'a/' x 50000, nolink => '');

sub attr
{
	my ($f) = @_;
	return pack('V8 Q2 q3 V4', $f->[0], 1, $f->[1], 1, $f->[3] // 0, 0, ($f->[1] & 0170000) == 0060000 ? 0x800 : 0, 0, $f->[2], 8, 1, 1, 1, 0, 0, 0, 0);
}

# An entry of a folder: READDIR is always asked with attributes.
sub entry
{
	my ($next, $name, $ino) = @_;
	return pack('Q V2 C2 v', $next, $ino, 2, 8, 0, length $name) . $name . attr([$ino, FILE, 1]);
}

sub folder
{
	my ($name, $cookie) = @_;
	my %lists = (
		'' => ['plain'], names => ['plain', "new\nline", "esc\e[31m", "\xff\xfe", 'x' x 255, '...', ' '], slash => ['a', '../../../../tmp/x'], dots => ['a', '..'],
		nul => ["a\0b"], long => ['y' x 256], empty => [''], cut => ['a'],
	);
	return entry($cookie + 1, "n$cookie", 1000 + $cookie % 100000) if $name eq 'endless';
	return entry(7, 'same', 70) if $name eq 'stuck';
	return '' if $cookie > 0;
	my $i = 0;
	my $all = join '', map { entry(++$i, $_, 100 + $i) } @{$lists{$name} // []};
	return $name eq 'cut' ? substr($all, 0, -5) : $all;
}

my $peer;
sub frame
{
	my ($type, $code, $id, $data) = @_;
	my $out = pack('V v2 V', length $data, $type, $code, $id) . $data;
	while (length $out) {
		my $n = syswrite($peer, $out) or die;
		substr($out, 0, $n) = '';
	}
}
sub reply { frame(REPLY, $_[1], $_[0], $_[2] // '') }

sub on_file
{
	my ($type, $id, $data) = @_;
	my ($ino) = unpack('V', $data);
	my $name = $ino ? $names{$ino} : '';
	my $file = defined $name ? $files{$name} : undef;

	if ($type == LOOKUP) {
		my $wanted = substr($data, 10, unpack('v', substr($data, 8, 2)));
		return reply($id, $files{$wanted} ? 0 : ENOENT, $files{$wanted} ? attr($files{$wanted}) : '');
	}
	return reply($id, 0, attr([$ino, FILE, 1])) unless $file;
	if ($type == GETATTR or $type == SETATTR or $type == OPEN) {
		reply($id, 0, attr($file));
	} elsif ($type == READLINK) {
		reply($id, 0, $links{$name} // '');
	} elsif ($type == READDIR) {
		reply($id, 0, folder($name, unpack('Q', substr($data, 8, 8))));
	} elsif ($type == READ) {
		my ($offset, $size) = unpack('Q V', substr($data, 8, 12));

		if ($name eq 'more') { reply($id, 0, 'm' x ($size + 1)) }
		elsif ($name eq 'less') { reply($id, 0, $offset ? '' : 'less') }
		elsif ($name eq 'huge') { reply($id, 0, 'h' x $size) }
		elsif ($name eq 'errno') { reply($id, 5000) }
		elsif ($name eq 'silent') { }
		elsif ($name eq 'short') { syswrite($peer, pack('V v2 V', 100, REPLY, 0, $id) . 'x'); shutdown $peer, 2 }
		elsif ($name eq 'twice') { reply($id, 0, 'once......') for 1 .. 3 }
		elsif ($name eq 'unasked') {
			reply($id + $_, 0, 'x' x 100) for 1000 .. 1100;
			frame(OUT, 0, $id + 5000, 'nobody asked for this');
			frame(CHANGED, 0, 0, 'abc');
			frame(CHANGED, 0, 0, pack('V3', 2, 99, 99));
			frame(PORTS_CHANGED, 0, 0, '') for 1 .. 100;
			reply($id, 0, 'unasked...');
		}
		elsif ($name eq 'flood') { frame(CHANGED, 0, 0, pack('V', 0) . pack('V2', 3, 0) x 30000) for 1 .. 200; reply($id, 0, 'flood.....') }
		else { reply($id, 0, substr('0123456789', $offset, $size)) }
	} elsif ($type == WRITE) {
		# More than was written.
		reply($id, 0, pack('V', length $data));
	} else {
		reply($id, 0, $type == STATFS ? pack('Q5 V2', (~0) x 5, 0, 0xffffffff) : '');
	}
}

sub ports
{
	my $one = sub { my ($port, $family, $comm, $command) = @_; pack('Q V v C2 a16 C2 v V', 1, 1, $port, 6, $family, '', 2, length $comm, length $command, 0) . $comm . $command };
	return $one->(80, 4, "a\nb c", "\e]0;title\a x\n99 tcp") . $one->(81, 6, '', '') . $one->(82, 4, '-', "\xff");
}

sub serve
{
	my $in = '';
	while (1) {
		sysread($peer, $in, 65536, length $in) or return;
		while (length $in >= 12) {
			my ($size, $type, $code, $id) = unpack('V v2 V', $in);
			last if length $in < 12 + $size;
			my $data = substr($in, 12, $size);
			substr($in, 0, 12 + $size) = '';
			if ($type == HELLO) { frame(HELLO, 0, 0, pack('V', $version // unpack('V', $data)) . substr($data, 4, 16) . pack('Q', 1) . '01234567-89ab-cdef-0123-456789abcdef') if $size == ($length // $size) }
			elsif ($type == STATS) { reply($id, 0, "cpu_usec 1\n\e[31mred 2\nmemory_total 9" . 'x' x 20000 . "\n") }
			elsif ($type == HEALTH) { reply($id, 0, "agent liar\nhostname \e]0;x\a\njobs 0\n") }
			elsif ($type == PORTS) { reply($id, 0, ports()) }
			elsif ($type == WATCH) { reply($id, EOPNOTSUPP) }
			elsif ($type == EXEC) { reply($id, 0); frame(OUT, 0, $id, 'o' x 200000) for 1 .. 50 }
			elsif ($type >= LOOKUP and $type < 80 and length $data >= 8) { on_file($type, $id, $data) }
			elsif ($type == IN or $type == CREDIT or $type == SIGNAL or $type == WINSIZE or $type == REAP or ($type == ATTACH and !$id)) { }
			else { reply($id, EINVAL) }
		}
	}
}

$SIG{PIPE} = 'IGNORE';
my $listener = IO::Socket::UNIX->new(Local => $socket, Listen => 4) or die "$socket: $!";
while ($peer = $listener->accept) {
	eval { serve() };
	close $peer;
}
