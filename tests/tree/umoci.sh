#!/usr/bin/env bash
# Images of several layers, entry by entry as `umoci unpack` has them: owner, mode, time, links, devices, extended attributes, contents.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
registry_up 5000
LIST=$(dirname "$BANGER_BIN")/tree/imagelist

# The three layers of "kinds": what each entry is there for stands beside it.
perl - "$TOP" "$CASE_DIR" <<'PERL' || fail "the layers are made"
use strict;
my ($top, $dir) = @ARGV;
require "$top/tests/lib/tar.pl";
my $cap = pack("V5", 0x02000001, 1 << 10, 0, 0, 0);    # cap_net_bind_service=ep
my $many = join "", map { entry(sprintf("many/%04d-%s", $_, "n" x ($_ % 60)), data => "$_", mode => 0600 + $_ % 64) } 0 .. 1999;

write_tar("$dir/1.tar",
	entry("./", mode => 0751, uid => 3, mtime => 1600000000),
	entry("./etc/", mtime => "1500000000.999999999"), entry("/etc/absolute", data => "a name with a slash"), entry("etc/plain", data => "plain"),
	entry("usr/"), entry("usr/bin/", gid => 12), entry("usr/bin/a", data => "A", mode => 0755), entry("usr/bin/b", data => "B", mode => 0755),
	entry("bin", symlink => "usr/bin"), entry("sbin", symlink => "/usr/sbin"), entry("usr/sbin/"), entry("usr/sbin/s", data => "S"),
	# modes
	entry("m/suid", mode => 04755, data => "1"), entry("m/sgid", mode => 02711, uid => 5, gid => 6, data => "2"), entry("m/none", mode => 0),
	entry("tmp/", mode => 01777), entry("m/sgid-dir/", mode => 02775, gid => 50), entry("m/all", mode => 07777, uid => 1000, gid => 1000),
	# times
	entry("t/ns", mtime => "1700000000.123456789"), entry("t/one-ns", mtime => "1700000000.000000001"), entry("t/before", mtime => "-86400"),
	entry("t/before-ns", mtime => "-1.5"), entry("t/zero", mtime => 0), entry("t/2038", mtime => "2147483648"), entry("t/2100", mtime => "4102444800.5"),
	entry("t/2400", mtime => "13569465600"), entry("t/link", symlink => "ns", mtime => "5000000000.25"), entry("t/1902", mtime => "-2145916800"),
	# owners
	entry("u/65535", uid => 65535, gid => 65535), entry("u/65536", uid => 65536, gid => 70000), entry("u/large", uid => 3000000000, gid => 4294967294),
	entry("u/link", uid => 100000, gid => 200000, symlink => "nowhere"),
	# extended attributes
	entry("x/user", xattr => {"user.a" => "1", "user.long-name-of-an-attribute" => "v" x 300, "user.binary" => "\0\1\xff\n="}),
	entry("x/trusted", xattr => {"trusted.t" => "yes"}), entry("x/empty", xattr => {"user.empty" => ""}), entry("x/cap", mode => 0755, data => "prog", xattr => {"security.capability" => $cap}),
	entry("x/dir/", xattr => {"user.d" => "dir"}), entry("x/goes", xattr => {"user.old" => "1"}), entry("x/stays", xattr => {"user.keep" => "1"}),
	# links
	entry("h/one", data => "hard", uid => 7), entry("h/two", hard => "h/one"), entry("h/three", hard => "/h/one"), entry("h/abs", hard => "bin/a"),
	entry("l/short", symlink => "x"), entry("l/59", symlink => "y" x 59), entry("l/60", symlink => "y" x 60), entry("l/61", symlink => "y" x 61),
	entry("l/long", symlink => join("/", ("component") x 300)), entry("l/dangling", symlink => "/not/there"), entry("l/up", symlink => "../../../../etc/plain"),
	entry("l/abs", symlink => "/etc/plain"), entry("l/self", symlink => "self"), entry("l/newline", symlink => "a\nb \xff"),
	entry("h/of-link", hard => "l/short"),
	# devices
	entry("dev/null", type => "3", major => 1, minor => 3, mode => 0666), entry("dev/sda", type => "4", major => 8, minor => 0, gid => 6, mode => 0660),
	entry("dev/large", type => "3", major => 300, minor => 70000, mode => 0600), entry("dev/m256", type => "4", major => 8, minor => 256),
	entry("dev/fifo", type => "6", mode => 0622), entry("dev/zero-zero", type => "3", major => 0, minor => 5),
	# names
	entry("n/with\nnewline", data => "n"), entry("n/with blank", data => "b"), entry("n/\xff\xfe-no-utf8", data => "8"), entry("n/\xc3\xa4\xe2\x82\xac", data => "u"),
	entry("n/" . "N" x 255, data => "255"), entry("n/\\back\\slash", data => "\\"), entry("n/\x01control\x7f", data => "c"), entry("n/...", data => "dots"),
	entry("n/-rf *", data => "star"), entry("./n/./dot//double", data => "p"), entry("n/" . join("/", map { "d$_" x 30 } 1 .. 20) . "/deep", data => "deep"),
	# missing parents, empty and large folders
	entry("missing/parents/of/this", data => "m"), entry("empty/", mtime => 5), entry("many/", mtime => 1234567890), $many,
	# what the second layer changes
	entry("c/dir-to-file/"), entry("c/dir-to-file/in", data => "x"), entry("c/file-to-dir", data => "x"), entry("c/file-to-hard", data => "old"),
	entry("c/hard-source", data => "source"), entry("c/dir-to-link/"), entry("c/dir-to-link/in", data => "x"), entry("c/link-to-dir", symlink => "dir-to-link"),
	entry("c/mode/", mode => 0700), entry("c/mode/keeps", data => "kept"), entry("c/dev-to-file", type => "3", major => 1, minor => 1),
	entry("c/append", data => "first"), entry("c/twin-a", data => "twins"), entry("c/twin-b", hard => "c/twin-a"),
	entry("w/file", data => "x"), entry("w/dir/"), entry("w/dir/sub/"), entry("w/dir/sub/file", data => "x"), entry("w/link", symlink => "../etc"), entry("w/stays", data => "s"),
	entry("w/over", data => "low"), entry("w/under", data => "low"), entry("w/part/"), entry("w/part/low", data => "low"), entry("w/name", data => "x"), entry("w/name2", data => "x"),
	map({ (entry("o/$_/", mtime => 1400000000), entry("o/$_/low", data => "low"), entry("o/$_/both", data => "low"), entry("o/$_/sub/"), entry("o/$_/sub/low", data => "low")) } qw(first middle last implied alone)),
);
write_tar("$dir/2.tar",
	# through a link: the link stays, what is put, linked and deleted is behind it
	entry("bin/foo", data => "foo", mode => 0755), entry("hl", hard => "usr/bin/a"), entry("hl-through", hard => "bin/b"), entry("usr/bin/.wh.a"), entry("bin/.wh.b"),
	entry("sbin/t", data => "T"),
	entry("c/dir-to-file", data => "file now"), entry("c/file-to-dir/"), entry("c/file-to-dir/in", data => "in"), entry("c/file-to-hard", hard => "c/hard-source"),
	entry("c/dir-to-link", symlink => "mode"), entry("c/link-to-dir/"), entry("c/link-to-dir/in", data => "in"), entry("c/mode/", mode => 0750, uid => 9, mtime => "99.5"),
	entry("c/dev-to-file", data => "file"), entry("c/append", data => "second, longer"), entry("c/twin-a", data => "alone"),
	entry("x/goes", data => "no attributes"), entry("x/stays", data => "others", xattr => {"user.other" => "2"}), entry("x/dir/", xattr => {"user.new" => "n"}),
	entry("w/.wh.file"), entry("w/.wh.dir"), entry("w/.wh.link"), entry("w/.wh.never-there"), entry("nowhere/.wh.x"),
	entry("o/first/"), entry("o/first/.wh..wh..opq"), entry("o/first/both", data => "up"), entry("o/first/new", data => "new"),
	entry("o/middle/"), entry("o/middle/both", data => "up"), entry("o/middle/.wh..wh..opq"), entry("o/middle/new", data => "new"),
	entry("o/last/"), entry("o/last/both", data => "up"), entry("o/last/sub/"), entry("o/last/sub/new", data => "new"), entry("o/last/.wh..wh..opq"),
	entry("o/implied/.wh..wh..opq"), entry("o/implied/new", data => "new"), entry("o/alone/.wh..wh..opq"),
	# deleted and put in the same layer: only what was below it goes, whichever comes first
	entry("w/over", data => "up"), entry("w/.wh.over"), entry("w/.wh.under"), entry("w/under", data => "up"), entry("w/part/new", data => "new"), entry("w/.wh.part"),
	entry("w/.wh.name", type => "5"), entry("w/.wh.name2", symlink => "x"),
	# twice in one layer: the last one counts
	entry("dup/file", data => "1", uid => 1), entry("dup/file", data => "22", uid => 2), entry("dup/dir/"), entry("dup/dir/x", data => "x"), entry("dup/dir", data => "file"),
	entry("dup/link", symlink => "file"), entry("dup/link", data => "no link"), entry("dup/dir2/", mode => 0700), entry("dup/dir2/in", data => "in"), entry("dup/dir2/", mode => 0711, mtime => 9),
	# what was there of itself, and what a whiteout has nothing to do with
	entry("own/", mtime => 77), entry("own/early", data => "1"), entry("own/.wh.early-lower"), entry("own/late", data => "2"),
);
write_tar("$dir/3.tar",
	# the same again, over what the second one made; hard links to what came of two layers ago
	entry("h/four", hard => "h/two"), entry("h/.wh.one"), entry("hl2", hard => "hl"), entry(".wh.hl"), entry("c/twin-c", hard => "c/twin-b"),
	entry("w/dir/"), entry("w/dir/again", data => "again"), entry("c/dir-to-file/"), entry("c/dir-to-file/third", data => "3"),
	entry("o/first/.wh..wh..opq"), entry("o/first/third", data => "3"), entry("many/.wh.0000-"), entry("many/.wh.1999-" . "n" x (1999 % 60)),
	entry("etc/plain", data => "third", mtime => "3.000000003"), entry("bin/bar", hard => "usr/bin/foo"),
);
PERL
{
	mkdir "$CASE_DIR/sparse-root"
	truncate -s 3G "$CASE_DIR/sparse-root/hole"
	printf 'end' >>"$CASE_DIR/sparse-root/hole"
	printf 'begin' | dd of="$CASE_DIR/sparse-root/parts" bs=1 conv=notrunc status=none
	printf 'middle' | dd of="$CASE_DIR/sparse-root/parts" bs=1 seek=5000000 conv=notrunc status=none
	truncate -s 9999999 "$CASE_DIR/sparse-root/parts"
	head -c 100000 /dev/zero >"$CASE_DIR/sparse-root/zeros"
	touch -d @1700000000 "$CASE_DIR"/sparse-root/*
}
for format in gnu pax; do
	tar -C "$CASE_DIR/sparse-root" -S --format=$format --transform="s,^\.,./$format," --owner=0 --group=0 -cf "$CASE_DIR/sparse-$format.tar" .
done

up
# pulled NAME TAR...: pushes an image of these layers and has banger pull it: CASE_DIR/NAME.banger lists what is in it.
pulled()
{
	local name=$1 before ext4
	shift
	layout "$name" '{}' "$@"
	ok "$name: skopeo puts it into the registry" push "$name" "5000/$name:1"
	before=$(ls "$STATE/images")
	is "$name: pull" "$(errno_write "$FS/images/ctl" "pull localhost:5000/$name:1")" OK
	ext4=$STATE/images/$(comm -13 <(sort <<<"$before") <(ls "$STATE/images" | sort) | grep 'ext4$')
	ok "$name: e2fsck" e2fsck -fn "$ext4"
	ok "$name: banger's is listed" sh -c "'$LIST' '$ext4' >'$CASE_DIR/$name.all'"
	# What ext4 has of its own, and no image brings.
	is "$name: lost+found" "$(grep '^/lost+found' "$CASE_DIR/$name.all")" "/lost+found type=d mode=0700 uid=0 gid=0 mtime=1.000000000 same=/lost+found"
	# A folder that no layer has an entry for has no time; umoci leaves it at now.
	grep -v '^/lost+found ' "$CASE_DIR/$name.all" | sed -E '/ type=d /s/mtime=0\.0{9}/mtime=none/' >"$CASE_DIR/$name.banger"
}

# unpacked NAME: by umoci, listed in CASE_DIR/NAME.umoci.
unpacked()
{
	local name=$1 began
	began=$(date +%s)
	ok "$name: umoci unpacks it" umoci unpack --image "$CASE_DIR/$name:latest" "$CASE_DIR/$name.bundle"
	ok "$name: umoci's is listed" sh -c "'$LIST' '$CASE_DIR/$name.bundle/rootfs' >'$CASE_DIR/$name.all'"
	perl -pe 's/mtime=\S+/mtime=none/ if / type=d / && m{mtime=(\d+)\.(\d+)} && ($1 >= '"$began"' || $1 == 0 && $2 == 0)' "$CASE_DIR/$name.all" >"$CASE_DIR/$name.umoci"
}

# same NAME LEFT RIGHT: the lists CASE_DIR/NAME.{LEFT,RIGHT} are, and have something in them.
same()
{
	if [ -s "$CASE_DIR/$1.$2" ] && diff -u "$CASE_DIR/$1.$2" "$CASE_DIR/$1.$3" >"$CASE_DIR/$1.diff"; then
		pass "$1: $(wc -l <"$CASE_DIR/$1.$2") entries are the same ($2, $3)"
	else
		fail "$1: the same entries ($2, $3)"
		diag "$(head -n 60 "$CASE_DIR/$1.diff")"
	fi
}
pulled kinds "$CASE_DIR/1.tar" "$CASE_DIR/2.tar" "$CASE_DIR/3.tar"
unpacked kinds
# Where umoci's isn't what the archives say (image-spec layer.md, "File Attributes"):
perl -pe '
	# umoci sets a folder back to its time before it deletes or, in the root, puts what comes later in the layers.
	s{^(/ .*)mtime=none}{$1mtime=1600000000.000000000};
	s{^(/(?:o/last/sub|w/part) .*)mtime=none}{$1mtime=1700000000.000000000};
	# It counts nanoseconds in 64 bits, which end in 2262.
	s{^(/t/2400 .*)mtime=-2147483648\.0+}{$1mtime=13569465600.000000000};
	# It loses attributes without a value, which GNU tar writes as pax records without one.
	s{^(/x/empty .*?)( \[|$)}{$1 [user.empty=]$2} unless m{user\.empty};
' "$CASE_DIR/kinds.umoci" >"$CASE_DIR/kinds.spec"
same kinds spec banger

# umoci knows no GNU sparse entries: both forms are compared with what tar made them of.
pulled sparse "$CASE_DIR/sparse-gnu.tar" "$CASE_DIR/sparse-pax.tar"
"$LIST" "$CASE_DIR/sparse-root" | grep ' type=f ' >"$CASE_DIR/sparse.tar"
for format in gnu pax; do
	grep "^/$format/" "$CASE_DIR/sparse.banger" | grep ' type=f ' | sed "s,/$format/,/,g" >"$CASE_DIR/sparse.$format"
	same sparse tar $format
done
# Packages of Debian as they stand on this machine, where /bin, /lib and /sbin are links that packages put files behind; then what a user changes.
members() { dpkg -L "$@" | sed 's,^/,,' | grep -Ev '^(\.|proc|sys|dev|run)(/|$)' | while read -r f; do [ -e "/$f" ] || [ -L "/$f" ] && echo "$f"; done; }
archive() { sort -u | tar -C / --no-recursion --format=pax --xattrs --xattrs-include='*' --numeric-owner -cf "$1" -T - 2>"$CASE_DIR/tar.log" || diag "$(cat "$CASE_DIR/tar.log")"; }
{ echo bin; echo lib; echo lib64; echo sbin; members base-files base-passwd; } | archive "$CASE_DIR/d1.tar"
members libc6 libc-bin bash coreutils dash grep passwd login mount util-linux perl-base | archive "$CASE_DIR/d2.tar"
perl - "$TOP" "$CASE_DIR" <<'PERL' || fail "the user's layer is made"
use strict;
my ($top, $dir) = @ARGV;
require "$top/tests/lib/tar.pl";
write_tar("$dir/d3.tar", entry("usr/share/doc/.wh..wh..opq"), entry("usr/share/doc/ours", data => "ours"), entry("bin/.wh.dash"), entry("bin/sh", symlink => "bash"),
	entry("bin/ls", data => "#!/bin/bash\necho ours\n", mode => 0755), entry("bin/bash2", hard => "bin/bash"), entry("usr/share/.wh.man"), entry("etc/passwd", data => "root:x:0:0::/root:/bin/bash\n"),
	entry("home/u/", uid => 1000, gid => 1000, mode => 0750), entry("home/u/.profile", uid => 1000, gid => 1000, data => "PATH=/bin\n"));
PERL
pulled debian "$CASE_DIR/d1.tar" "$CASE_DIR/d2.tar" "$CASE_DIR/d3.tar"
unpacked debian
is "debian: many entries" "$(($(wc -l <"$CASE_DIR/debian.umoci") > 500))" 1
# Their times as above: only folders, and only what umoci changed after their entries.
perl -e '
	my %none;
	open my $u, "<", "$ARGV[0].umoci"; while (<$u>) { m{^(\S+) type=d .*mtime=none} and $none{$1} = 1 }
	open my $b, "<", "$ARGV[0].banger"; while (<$b>) { m{^(\S+) } and $none{$1} and s/mtime=\S+/mtime=none/; print }
' "$CASE_DIR/debian" >"$CASE_DIR/debian.ours"
same debian umoci ours
like "debian: and few of those" "$(grep -c 'mtime=none' "$CASE_DIR/debian.umoci")" '^[0-9]$'
registry_down
case_end
