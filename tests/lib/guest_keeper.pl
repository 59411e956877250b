#!/usr/bin/perl
# guest_keeper.pl FOLDER RUN AGENT: for each VM below the runtime folder RUN that was started an AGENT, with the secret that the VM's guest would find on its
# disk, at the socket FOLDER/doors/VM; until the VM has ended, or the AGENT, and the socket with it. At SIGTERM all end.
use strict;
use warnings;
use Fcntl;
use File::Basename;
use IO::Socket::UNIX;
use POSIX ':sys_wait_h';
use Time::HiRes qw(sleep stat);

my ($folder, $run, $agent) = @ARGV;
my (%of, %guest); # by VM: which start it is of, and its process
$SIG{TERM} = sub { end($_) for keys %guest; exit 0 };
while (1) {
	for my $path (glob "$run/fsd/vm/*/token") {
		my @st = stat $path or next;
		my ($vm, $start) = (basename(dirname $path), "$st[1] $st[10]");
		next if !$st[7] || ($of{$vm} // '') eq $start;
		end($vm);
		begin($vm, $path);
		$of{$vm} = $start;
	}
	end($_) for grep { !-e "$run/fsd/vm/$_/token" || waitpid($guest{$_}, WNOHANG) > 0 } keys %guest;
	sleep .01;
}

sub begin
{
	my ($vm, $path) = @_;
	my $place = "$folder/doors/$vm";
	open my $f, '<', $path or return;
	my $token = unpack 'H*', do { local $/; <$f> };
	# It is there when it answers.
	my $door = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => "$place.new", Listen => 5) or die "$place: $!";
	chmod 0777, "$place.new";
	rename "$place.new", $place;
	$guest{$vm} = fork // die;
	return if $guest{$vm};
	fcntl $door, F_SETFD, 0;
	exec 'bash', dirname($0) . '/process_guest.sh', $folder, $vm, fileno $door, $token, $agent;
}

sub end
{
	my ($vm) = @_;
	my $pid = delete $guest{$vm} or return;
	kill KILL => $pid;
	waitpid $pid, 0;
	unlink "$folder/doors/$vm";
}
