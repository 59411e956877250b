#!/usr/bin/perl
# Runs tests that speak TAP and counts what they said.
#
#   tests/harness.pl [-j JOBS] [-o COUNTS] NAME=COMMAND...
#
# COMMAND is split at blanks. A line per test goes to standard output as it ends; the output of one that failed follows
# it. COUNTS gets "PASSED FAILED SKIPPED" (single tests, not programs) added to what it holds, the file CHECK_FAILED (environment)
# a line for each program that failed.
use strict;
use warnings;
use Getopt::Long;
use TAP::Harness;

my ($jobs, $counts) = (1, undef);
GetOptions('j=i' => \$jobs, 'o=s' => \$counts) or exit 2;
my @tests = map { /^([^=]+)=(.*)$/s or die "not NAME=COMMAND: $_\n"; [$2, $1] } @ARGV;
exit 0 unless @tests;

# So do those that use cmocka; by hand they say what one better reads.
$ENV{CMOCKA_MESSAGE_OUTPUT} = 'TAP';

my ($passed, $failed, $skipped) = (0, 0, 0);
my @failures;
# TAP::Harness gives all up for one that can't be run.
for my $test (@tests) {
	my ($program) = split ' ', $test->[0];
	next if $program !~ m{/} || -x $program;
	print "$test->[1]: $program isn't there\n";
	push @failures, "$test->[1]: $program isn't there";
	$failed++;
	$test = undef;
}
@tests = grep { defined } @tests;

# cmocka says `not ok N # SKIP NAME` of what skip() ended. Nothing else that says `not ok` is skipped.
package Grammar {
	use parent 'TAP::Parser::Grammar';
	sub tokenize
	{
		my $token = shift->SUPER::tokenize(@_);
		$token->{ok} = 'ok' if $token && $token->is_test && $token->raw =~ /^not ok \d+ # SKIP \w+$/;
		return $token;
	}
}

my $harness = TAP::Harness->new({
	callbacks => {parser_args => sub { $_[0]{grammar_class} = 'Grammar' }},
	jobs => $jobs, verbosity => 0, failures => 1, comments => 1, timer => 1, merge => 0, color => 0,
	exec => sub { my (undef, $test) = @_; return [split ' ', $test]; },
});
my $all = @tests ? $harness->runtests(@tests) : undef;

for my $name ($all ? $all->descriptions : ()) {
	my ($result) = $all->parsers($name);
	# Left out is what ran no test and ended well; who says so after a test hides none that failed.
	if ($result->skip_all && !$result->tests_run && !$result->exit && !$result->wait) {
		$skipped++;
		next;
	}
	my %failed = map { $_ => 1 } $result->failed;
	my $skips = grep { !$failed{$_} } $result->skipped;
	my $bad = keys %failed;
	my $ran = () = $result->actual_passed;
	# A program that ended badly, or ran less than it planned, has failed even if each of its lines says ok.
	my $broken = $result->exit || $result->wait || $result->parse_errors || !$result->is_good_plan;
	push @failures, "$name: " . join '; ', $bad ? join ' ', sort { $a <=> $b } keys %failed : (),
		$result->exit ? 'it ended with ' . $result->exit : (), $result->wait & 127 ? 'signal ' . ($result->wait & 127) : (),
		$result->parse_errors
		if $bad || $broken;
	$bad = 1 if !$bad && $broken;
	$passed += $ran - $skips;
	$failed += $bad;
	$skipped += $skips;
}
if (defined $counts) {
	my @before = (0, 0, 0);
	if (open my $in, '<', $counts) {
		my $line = <$in>;
		@before = split ' ', $line if defined $line;
	}
	open my $out, '>', $counts or die "$counts: $!\n";
	print $out join(' ', $before[0] + $passed, $before[1] + $failed, $before[2] + $skipped), "\n";
	close $out or die "$counts: $!\n";
}
if (@failures && defined $ENV{CHECK_FAILED}) {
	open my $out, '>>', $ENV{CHECK_FAILED} or die "$ENV{CHECK_FAILED}: $!\n";
	print $out map { "$_\n" } @failures;
	close $out or die "$ENV{CHECK_FAILED}: $!\n";
}
exit($failed ? 1 : 0);
