#!/usr/bin/env bash
# Files of a running guest have the semantics of files: random operations beside the same on ext4, and what those don't reach.
# Larger, by hand: NAMES=50000 DIRS=1500 COUNT=20000.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
programs=$(dirname "$BANGER_BIN")/tree
up
mkdir "$FS/vms/box"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
W=$FS/vms/box/workspace R=$FS/vms/box/root
guest() { banger vm exec box -- sh -c "$1"; }

# Other seeds each time; SEED=n ROUNDS=1 does one again.
seed=${SEED:-$(date +%s)}
for ((i = 0; i < ${ROUNDS:-3}; i++)); do
	mirror "$CASE_DIR/diff$i"
	as_owner mkdir "$W/diff$i"
	ok "random operations, seed $((seed + i))" as_owner timeout "$PATIENCE" "$programs/filesdiff" $((seed + i)) "${COUNT:-2500}" "$CASE_DIR/diff$i" "$W/diff$i"
done

# The guest changes what the host has read, looked up and listed.
fresh=1
guest 'echo > n0'
for i in {1..8}; do
	[ -e "$W/later$i" ] || [ -e "$W/moved$i" ] && fresh="there before its time: $i"
	guest "set -e; echo > later$i; echo > x$i; mv x$i moved$i; echo $i > changing; mv n$((i - 1)) n$i; mkdir -p dir; echo > dir/$i" || fresh="not done: $i"
	[ -e "$W/later$i" ] && [ -e "$W/moved$i" ] || fresh="not there: $i"
	[ "$(cat "$W/changing")" = "$i" ] && [ -e "$W/n$i" ] && [ ! -e "$W/n$((i - 1))" ] && [ "$(ls "$W/dir" | wc -l)" = "$i" ] || fresh="not in turn $i"
done
is "what a command changes is seen when it has ended" "$fresh" 1
guest 'ln n8 other; rm n8'
is "one of two names goes" "$(ls "$W/n8" "$W/other" 2>/dev/null)" "$W/other"

names=$'new\nline|\033[31mred|\xff\xfe|'$(printf '%255s' '' | tr ' ' x)
while IFS= read -r -d '|' name; do
	as_owner sh -c 'echo "$1" > "$0/$1"' "$W" "$name"
	is "a name of ${#name}: $(printf %q "${name:0:12}")" "$(cat "$W/$name")" "$name"
	is "is the guest's" "$(banger vm exec box -- cat "$name")" "$name"
done <<<"$names"
is "a name of 256" "$(errno_call mkdir "$W/$(printf '%256s' '' | tr ' ' x)")" ENAMETOOLONG
mkdir -p "$W/parent/child"
is "looked up in a folder just made" "$(errno_call open "$W/parent/child/$(printf '%256s' '' | tr ' ' x)")" ENAMETOOLONG
is "a folder onto its child" "$(errno_call rename "$W/parent" "$W/parent/child")" EINVAL

guest 'mkdir many && cd many && i=0; while [ $i -lt '${NAMES:-10000}' ]; do echo $i; i=$((i + 1)); done | xargs touch'
is "${NAMES:-10000} names, each once" "$(ls -U "$W/many" | sort -u | wc -l)" "${NAMES:-10000}"
is "offsets are stable" "$(perl -e '
	opendir my $d, shift or die; my (@at, @names);
	for (1 .. 3000) { push @at, telldir $d; push @names, scalar readdir $d }
	for (0 .. 4, map { int rand 3000 } 1 .. 100) { my $i = $_; seekdir $d, $at[$i]; readdir($d) eq $names[$i] or die "$i" }
	print "stable"' "$W/many")" stable

ok "a file beyond 4 GiB" as_owner sh -c "printf end | dd of=$W/large bs=1 seek=5000000000 conv=notrunc status=none"
is "its size and end" "$(stat -c %s "$W/large") $(tail -c 3 "$W/large")" "5000000003 end"
is "its hole" "$(perl -e 'open my $f, "<", shift or die; print sysseek($f, 0, 3)' "$W/large")" 4999999488
is "takes no room" "$([ "$(stat -c %b "$W/large")" -lt 100 ] && echo small)" small
as_owner cp --sparse=always "$W/large" "$W/copy" && guest 'rm large'
is "a copy within the guest" "$(stat -c %s "$W/copy") $(tail -c 3 "$W/copy")" "5000000003 end"
rm "$W/copy"

touch "$W/lock"
flock "$W/lock" sh -c "touch $CASE_DIR/locked; sleep 30" & locker=$!
await test -e "$CASE_DIR/locked"
fails "flock among host programs" flock -n "$W/lock" true
pkill -P $locker; wait $locker 2>/dev/null
is "POSIX locks too" "$(perl -MFcntl -e '
	open my $f, "+<", $ARGV[0] or die;
	my $lock = pack "s s l! l! i", F_WRLCK, 0, 0, 0, 0;
	fcntl $f, F_SETLK, $lock or die;
	if (!fork) { open my $g, "+<", $ARGV[0] or die; print fcntl($g, F_SETLK, $lock) ? "taken" : "held"; exit }
	wait' "$W/lock")" held
is "statfs is the guest's" "$(stat -f -c '%b %s' "$W")" "$(guest 'stat -f -c "%b %s" .')"
is "the guest's root is the owner" "$(guest 'touch rooted; touch other; chown 1234:5678 other' && stat -c %U "$W/rooted") $(stat -c %u:%g "$W/other")" "$OWNER 1234:5678"
is "chown from here" "$(chown 4321:8765 "$W/other" && guest 'stat -c %u:%g other')" 4321:8765
guest 'i=0; while [ $i -lt 200 ]; do echo guest$i >> both; i=$((i + 1)); done' & writer=$!
for i in {0..199}; do echo "host$i"; done | as_owner perl -e '
	open my $f, ">>", $ARGV[0] or die "open: $!\n"; $f->autoflush(1);
	while (<STDIN>) { print $f $_ or die "write: $!\n" }
	close $f or die "close: $!\n"' "$W/both"
wait $writer
is "two that append, one on each side: no line is lost" "$(sort -u "$W/both" | wc -l)" 400
mkdir "$W/gone" && ls -la "$W" >/dev/null
exec 5<"$W/gone"
is "an open folder that loses its name" "$(rmdir "$W/gone" && stat -L --cached=never -c '%h %s' /proc/self/fd/5)" "0 0"
exec 5<&-
# What the kernel keeps of names, it forgets when the guest has changed them: at once, each time, wherever; also where the workspace is another.
names()
{
	(cd "$W/names" && for f in a/1 a/2 b/1 b/2 c; do [ ! -e $f ] || echo $f; done | tr '\n' ' ')
}
is "names in two folders" "$(mkdir "$W/names" "$W/names/a" "$W/names/b" && touch "$W/names/a/1" && names; names)" "a/1 a/1 "
is "one comes" "$(guest 'touch names/b/2'; names)" "a/1 b/2 "
is "one goes" "$(guest 'rm names/a/1'; names)" "b/2 "
is "again, where the guest was at work" "$(guest 'touch names/a/1 names/c; rm names/b/2'; names)" "a/1 c "
is "it moves" "$(guest 'mv names/a/1 names/b/1'; names)" "b/1 c "
is "as a folder of that name" "$(guest 'rm names/c; mv names/b names/c; mkdir names/b; touch names/b/2'; names; ls "$W/names/c")" "b/2 c 1"
is "moved from here, then there" "$(mv "$W/names/b/2" "$W/names/a/2" && names; guest 'mv names/a/2 names/b/2'; names)" "a/2 c b/2 c "
is "another workspace" "$(guest 'cd .. && mv workspace old && mkdir -p workspace/names/a && touch workspace/names/a/2'; names)" "a/2 "
is "and what changes in it" "$(guest 'touch names/c; mv names/a/2 names/a/1'; names)" "a/1 c "
is "the old one" "$(guest 'cd .. && rm -r workspace && mv old workspace'; names)" "b/2 c "
rm -r "$W/names"
is "10,000 opens and closes" "$(perl -e 'for (1 .. 10000) { open my $f, "<", $ARGV[0] or die "$_: $!" } print "done"' "$W/rooted")" "done"

# Editors: a file that takes another's place, and one that is written over with a copy kept beside it.
as_owner sh -c "echo one > $W/text; ln $W/text $W/same"
ok "sed -i" as_owner sed -i s/one/two/ "$W/text"
is "is another file, for the guest too" "$(guest 'cat text same; stat -c %h same')" $'two\none\n1'
if command -v vi >/dev/null; then
	ok "vi" as_owner vi -u NONE -es --not-a-term -c 'set backup backupcopy=yes backupskip=' -c '%s/two/three/' -c wq "$W/text"
	is "writes, and keeps what was" "$(guest 'cat text text~')" $'three\ntwo'
fi

# Trees as package managers make them.
tree=$CASE_DIR/tree
mkdir -p "$tree"
for ((i = 0; i < ${DIRS:-20}; i++)); do
	mkdir -p "$tree/node_modules/p$i/lib/deep"
	for j in {1..12}; do echo "module.exports = $i$j" >"$tree/node_modules/p$i/lib/$j.js"; done
	ln -s ../lib/1.js "$tree/node_modules/p$i/lib/deep/link"
done
chown -R "$OWNER" "$tree"
ok "rsync" as_owner rsync -a "$tree/" "$W/tree/"
is "again moves nothing" "$(as_owner rsync -ai "$tree/" "$W/tree/")" ""
# What was looked at is not asked for again, nor are names that are not there.
requests() { awk '/^guest_requests_total/ {print $2}' "$FS/metrics"; }
look()
{
	(cd "$W/tree" && find "$tree" -type f -printf '%P\0' | xargs -0 stat -c %s | sort | uniq -c)
	for i in {1..200}; do [ -e "$W/tree/node_modules/none$i" ] && echo "none$i"; done
}
first=$(look)
before=$(requests)
is "looked at again, it is the same" "$(look)" "$first"
ok "with $(($(requests) - before)) requests for $((${DIRS:-20} * 12)) files" test $(($(requests) - before)) -lt 60
if command -v git >/dev/null; then
	ok "git" as_owner env HOME="$CASE_DIR" sh -c "cd $W/tree && git init -q && git add . && git -c user.email=a@b -c user.name=n commit -qm x &&
		test -z \"\$(git status --porcelain)\" && git clone -q $W/tree $W/clone && git -C $W/clone fsck --no-progress"
	guest 'echo changed > tree/node_modules/p1/lib/1.js; rm tree/node_modules/p2/lib/2.js'
	is "git sees what the guest did" "$(as_owner env HOME="$CASE_DIR" git -C "$W/tree" status --porcelain)" " M node_modules/p1/lib/1.js
 D node_modules/p2/lib/2.js"
fi
ok "tar there and back" sh -c "tar -C $W/tree -cf - node_modules | tar -C $CASE_DIR -xf - && diff -r --no-dereference $CASE_DIR/node_modules $W/tree/node_modules"
case_end
