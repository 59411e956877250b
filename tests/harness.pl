#!/usr/bin/perl
# Runs tests that speak TAP and counts what they said.
#
#   tests/harness.pl [-j JOBS] [-o COUNTS] NAME=COMMAND...
#
# COMMAND is split at blanks. A line per test goes to standard output as it ends; the output of one that failed follows
# it. COUNTS gets "PASSED FAILED SKIPPED" (single tests, not programs) added to what it holds, the file CHECK_SUMMARY (environment)
# a line for each program that failed and for each skip, with its reason.
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
my @summary;
# TAP::Harness gives all up for one that can't be run.
for my $test (@tests) {
	my ($program) = split ' ', $test->[0];
	next if $program !~ m{/} || -x $program;
	print "$test->[1]: $program isn't there\n";
	push @summary, "failed: $test->[1]: $program isn't there";
	$failed++;
	$test = undef;
}
@tests = grep { defined } @tests;

# cmocka says `not ok N # SKIP NAME` of what skip() ended. Nothing else that says `not ok` is skipped.
my $cmocka_skip = qr/^not ok \d+ # SKIP \w+$/;
package Grammar {
	use parent 'TAP::Parser::Grammar';
	sub tokenize
	{
		my $token = shift->SUPER::tokenize(@_);
		$token->{ok} = 'ok' if $token && $token->is_test && $token->raw =~ $cmocka_skip;
		return $token;
	}
}

# Who leaves out a test says why; cmocka's have a comment before it (tests/lib/need.h). Without that it has failed.
my %unexplained;
sub watch
{
	my ($parser, $name) = ($_[0], $_[1][1]);
	my $comment = '';
	$parser->callback(comment => sub { $comment = $_[0]->comment });
	$parser->callback(test => sub {
		my ($test) = @_;
		if ($test->has_skip && $test->is_ok) {
			my $why = $test->raw =~ $cmocka_skip ? $comment : $test->explanation;
			$unexplained{$name}{$test->number} = 1 if $why eq '';
			push @summary, "skipped: $name: " . $test->number . ": $why" if $why ne '';
		}
		$comment = '';
	});
}

my $harness = TAP::Harness->new({
	callbacks => {parser_args => sub { $_[0]{grammar_class} = 'Grammar' }, made_parser => \&watch},
	jobs => $jobs, verbosity => 0, failures => 1, comments => 1, timer => 1, merge => 0, color => 0,
	exec => sub { my (undef, $test) = @_; return [split ' ', $test]; },
});
my $all = @tests ? $harness->runtests(@tests) : undef;

for my $name ($all ? $all->descriptions : ()) {
	my ($result) = $all->parsers($name);
	# Left out is what ran no test and ended well; who says so after a test hides none that failed.
	if ($result->skip_all && !$result->tests_run && !$result->exit && !$result->wait && $result->skip_all ne '(no reason given)') {
		push @summary, "skipped: $name: " . $result->skip_all;
		$skipped++;
		next;
	}
	# TAP would let pass what is still to be done; here nothing is.
	my %failed = map { $_ => 1 } $result->failed, $result->todo, keys %{$unexplained{$name} // {}};
	my $skips = grep { !$failed{$_} } $result->skipped;
	my $bad = keys %failed;
	my $ran = grep { !$failed{$_} } $result->actual_passed;
	# A program that ended badly, or ran less than it planned, has failed even if each of its lines says ok.
	my $broken = $result->exit || $result->wait || $result->parse_errors || !$result->is_good_plan || $result->skip_all;
	push @summary, "failed: $name: " . join '; ', $bad ? join ' ', sort { $a <=> $b } keys %failed : (),
		$result->exit ? 'it ended with ' . $result->exit : (), $result->wait & 127 ? 'signal ' . ($result->wait & 127) : (),
		$result->parse_errors, $result->skip_all ? 'skipped: ' . $result->skip_all : ()
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
if (@summary && defined $ENV{CHECK_SUMMARY}) {
	open my $out, '>>', $ENV{CHECK_SUMMARY} or die "$ENV{CHECK_SUMMARY}: $!\n";
	print $out map { "$_\n" } @summary;
	close $out or die "$ENV{CHECK_SUMMARY}: $!\n";
}
exit($failed ? 1 : 0);
