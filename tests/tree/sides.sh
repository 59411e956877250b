#!/usr/bin/env bash
# Both sides at work in one workspace: after each turn, names, sizes, modes, links and times are the same to both.
#   ROUNDS, SEED
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
W=$FS/vms/box/workspace ROOT=$FS/vms/box/root/root/workspace
seed=${SEED:-$(date +%s)}
echo "# SEED=$seed"
# operations SEED COUNT: as a shell takes them; few names, so that most are there already.
operations()
{
	perl -e '
		srand shift;
		sub file { "d" . int(rand 3) . "/f" . int(rand 8) }
		sub folder { "d" . int(rand 3) . "/s" . int(rand 3) }
		for (1 .. shift) {
			my ($kind, $a, $b, $c, $d, $e) = (int(rand 13), file, file, folder, folder, "d" . int(rand 3));
			print "(", ("echo $_ >>$a", ">$a", "rm -f $a", "mv -f $a $b", "ln -f $a $b", "ln -sf nothing $a", "mkdir $c", "rmdir $c",
				"mv $c $d", "chmod " . (qw(600 644 755))[rand 3] . " $a", "touch -d \"2020-01-0" . (1 + int rand 9) . " 00:00:00\" $a",
				"chmod " . (qw(700 755 711))[rand 3] . " $e", "touch -d \"2020-01-0" . (1 + int rand 9) . " 00:00:00\" $e")[$kind],
				") 2>/dev/null\n";
		}
		print "true\n"' "$1" "$2"
}
# By listing, then each by its name, also those that are not there, with what stat says of them.
picture='for f in d*/* d0 d1 d2; do stat -c "%n %s %a %h %Y %F" "$f"; done
	for d in 0 1 2; do for n in f0 f1 f2 f3 f4 f5 f6 f7 s0 s1 s2; do echo "d$d/$n $(LC_ALL=C stat -c "%h %Y" d$d/$n 2>&1 | sed "s/.*: //")"; done; done'
guest() { banger vm exec box -- sh -c "$1"; }
guest 'mkdir d0 d1 d2'
asked() { awk '/^guest_requests_total/ {print $2}' "$FS/metrics"; }
differ=0
for ((round = 0; round < ${ROUNDS:-20}; round++)); do
	guest "$(operations $((seed + 3 * round)) 6)"
	[ $((round % 2)) = 0 ] || (cd "$W" && as_owner sh -c "$(operations $((seed + 3 * round + 1)) 5)")
	[ $((round % 4)) != 3 ] || (cd "$ROOT" && as_owner sh -c "$(operations $((seed + 3 * round + 2)) 3)")
	there=$(guest "$picture")
	for view in "$W" "$ROOT"; do
		here=$(cd "$view" && eval "$picture")
		[ "$here" = "$there" ] && continue
		differ=$((differ + 1))
		echo "# round $round, $view:"
		diff <(echo "$there") <(echo "$here") | head -n 6 | sed 's/^/# /'
	done
	# Later some of it comes and goes over and over, and that is asked for again.
	[ $round = 0 ] || continue
	before=$(asked)
	(cd "$W" && eval "$picture") >/dev/null
	again=$(($(asked) - before))
	ok "what both have seen is not asked for again ($again)" test "$again" -lt 15
done
is "what both sides see is the same" "$differ" 0
# After all that likewise: names of their own, there and not there.
names() { (cd "$W" && for d in d0 d1 d2; do for n in {0..9}; do stat -c "%n %s" $d/g$n $d/h$n 2>/dev/null; done; done); }
guest 'for d in d0 d1 d2; do for n in 0 1 2 3 4 5 6 7 8 9; do echo >$d/g$n; done; done'
is "30 more files" "$(names | grep -c ' 1$')" 30
before=$(asked)
names >/dev/null
again=$(($(asked) - before))
ok "nor are these ($again)" test "$again" -lt 15
case_end
