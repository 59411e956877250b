#!/usr/bin/env bash
# Folders are listed as they are: what the kernel keeps of a listing is dropped with each change, also with the second within one tick of the guest's clock, by
# which the folder's time stays the same.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
BOX=$FS/vms/box
mkdir "$BOX"
is "start" "$(errno_write "$BOX/ctl" start)" OK
export PATH=$BANGER_BIN:$PATH

# The workspace is listed without the guest as well; another folder may take its place.
asked() { awk '$1 == "guest_requests_total" {print $2}' "$FS/metrics"; }
W=$BOX/workspace
banger vm exec box -- touch /root/workspace/one
for i in 1 2; do ls "$W" >/dev/null; done
before=$(asked)
is "the workspace, over and over" "$(for i in 1 2 3 4 5; do ls "$W"; done | sort | uniq -c | xargs)" "5 one"
is "nobody asks the guest for that" $(($(asked) - before)) 0
banger vm exec box -- touch /root/workspace/two
is "a name that the guest makes" "$(ls "$W" | xargs)" "one two"
ls "$W" >/dev/null
touch "$W/three"
is "one that is made here" "$(ls "$W" | xargs)" "one three two"
ls "$W" >/dev/null
rm "$BOX/root/root/workspace/one"
is "one that goes through root/" "$(ls "$W" | xargs)" "three two"
ls "$W" >/dev/null
banger vm exec --cwd /root box -- sh -c 'mv workspace old && mkdir workspace && touch workspace/new'
is "another workspace" "$(ls "$W" | xargs)" new
ls "$W" >/dev/null
banger vm exec box -- touch /root/workspace/newer
is "is told of, too" "$(ls "$W" | xargs)" "new newer"
ls "$W" >/dev/null
mv "$BOX/root/root/workspace" "$BOX/root/root/older" && mv "$BOX/root/root/old" "$BOX/root/root/workspace"
is "the old one again, through root/" "$(ls "$W" | xargs)" "three two"
ls "$W" >/dev/null
banger vm exec box -- rm /root/workspace/two
is "which is told of again" "$(ls "$W" | xargs)" three
ls "$W" >/dev/null
banger vm exec -d box -- sh -c 'sleep 1; touch /root/workspace/meanwhile; sync' >/dev/null
kill -9 "$(fsd_pid)"
sleep 3
ok "another daemon" banger up --owner "$OWNER"
ls "$W" >/dev/null
eventually "the guest has made a name, with a daemon or without" banger vm exec box -- test -e /root/workspace/meanwhile
is "it is there" "$(ls "$W" | xargs)" "meanwhile three"
banger vm exec --cwd /root box -- sh -c 'rm -r /root/workspace/* /root/older'

# listed GUEST_DIR HOST_DIR: names come and go in the guest, as fast as it can be told to; after each the folder is listed on the host, now and then only in part.
# Prints how often a listing was not right, and how many changes came within 4 ms of the one before.
listed()
{
	perl -MIPC::Open2 -MTime::HiRes=time -e '
		my ($there, $here, $rounds) = @ARGV;
		my $pid = open2(my $out, my $in, "banger", "vm", "exec", "-i", "box", "--", "sh", "-c",
			"mkdir -p \$0 && cd \$0 && while read -r what name; do case \$what in make) : >\$name;; remove) rm \$name;; esac; echo \$name; done", $there);
		my (%names, $wrong, $close, $last);
		for my $i (1 .. $rounds) {
			my $gone = $i % 3 == 0 ? (sort keys %names)[0] : undef;
			my $name = $gone // "n$i";
			print $in $gone ? "remove" : "make", " $name\n";
			$in->flush;
			<$out> eq "$name\n" or die "the guest is out of step";
			$gone ? delete $names{$name} : ($names{$name} = 1);
			$close++ if $last && time - $last < 0.004;
			$last = time;
			opendir my $d, $here or die "$here: $!";
			# A part, which leaves the rest to whoever comes next.
			readdir $d if $i % 5 == 0;
			next if $i % 5 == 0;
			my $is = join " ", sort grep { !/^\./ } readdir $d;
			my $is_to_be = join " ", sort keys %names;
			$wrong++ if $is ne $is_to_be;
		}
		close $in;
		waitpid $pid, 0;
		print "wrong ", $wrong + 0, "\n";
		print STDERR "# $rounds changes, ", $close + 0, " within 4 ms of the one before\n"' "$@"
}
is "a folder of the workspace" "$(listed /root/workspace/a "$BOX/workspace/a" "${ROUNDS:-400}")" "wrong 0"
is "the workspace" "$(banger vm exec box -- rm -r /root/workspace/a; listed /root/workspace "$BOX/workspace" "${ROUNDS:-400}")" "wrong 0"
is "a folder that the work disk has, from the root" "$(listed /root/workspace/b "$BOX/root/root/workspace/b" "${ROUNDS:-400}")" "wrong 0"
is "a folder in the guest's memory" "$(listed /tmp/c "$BOX/root/tmp/c" "${ROUNDS:-400}")" "wrong 0"

# The tree's own.
wrong=0
for i in $(seq 40); do
	exec 5<>"$BOX/exec/clone"
	read -r job <&5
	[ -d "$BOX/exec/$job" ] && ls "$BOX/exec" | grep -qx "$job" || wrong=$((wrong + 1))
	rmdir "$BOX/exec/$job"
	! ls "$BOX/exec" | grep -qx "$job" || wrong=$((wrong + 1))
	exec 5>&-
	mkdir "$FS/vms/more$i"
	ls "$FS/vms" | grep -qx "more$i" || wrong=$((wrong + 1))
done
is "jobs and VMs, each as soon as it is there" "$wrong" 0
is "all of them" "$(ls "$FS/vms" | wc -l)" 41
for i in $(seq 40); do
	rmdir "$FS/vms/more$i"
	ls "$FS/vms"
done | sort | uniq -c | sort -n | awk '$2 == "box" { box = $1 } $2 != "box" { sum += $1 } END { print box, sum }' >"$CASE_DIR/sum"
is "each until it is gone" "$(cat "$CASE_DIR/sum")" "40 780"

# A folder that is open, or stood in, when it loses its name.
is "open folders without a name" "$(perl -e '
	mkdir "$ARGV[0]/gone$_" or die for 1 .. 2;
	opendir my $d, "$ARGV[0]/gone1" or die;
	chdir "$ARGV[0]/gone2" or die;
	rmdir "$ARGV[0]/gone$_" or die for 1 .. 2;
	my @st = stat $d;
	print "nlink $st[3], ", scalar(grep { !/^\./ } readdir $d), " names\n";
	opendir my $here, "." or die "here: $!";
	print scalar(grep { !/^\./ } readdir $here), " names\n";
	print open(my $f, ">", "new") ? "made\n" : $!{ENOENT} ? "ENOENT\n" : "$!\n"' "$BOX/workspace")" $'nlink 0, 0 names\n0 names\nENOENT'
# The guest keeps folders like these open, and what the host has open.
perl -e '
	mkdir "$ARGV[0]/last" or die "mkdir: $!";
	rmdir "$ARGV[0]/last" or die "rmdir: $!";
	open my $f, ">", "$ARGV[0]/file" or die;
	unlink "$ARGV[0]/file" or die;
	syswrite STDOUT, "open\n";
	sleep 1000' "$BOX/workspace" >"$CASE_DIR/open" &
eventually "a file is open that has no name" grep -q open "$CASE_DIR/open"
is "stop" "$(errno_write "$BOX/ctl" stop)" OK
like "the disk" "$(dumpe2fs -h "$CASE_DIR"/state/banger/vms/*/work.ext4 2>/dev/null)" 'Filesystem state: +clean'
ok "is left with nothing to be cleared away" sh -c "! dumpe2fs -h $CASE_DIR/state/banger/vms/*/work.ext4 2>/dev/null | grep -i orphan"
kill $! 2>/dev/null
case_end
