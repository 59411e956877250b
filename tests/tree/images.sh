#!/usr/bin/env bash
# Images from tars and directories, good and bad: what is listed is whole, what failed has left nothing.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
root=$CASE_DIR/root
mkdir -p "$root/bin" "$root/etc" "$root/usr/share"
cp /bin/busybox "$root/bin/busybox"
for applet in sh ls cat echo mount sleep stat hostname nproc sync; do ln -s busybox "$root/bin/$applet"; done
echo marker >"$root/etc/marker"
setfattr -n user.note -v here "$root/etc/marker" 2>/dev/null
chmod 04755 "$root/bin/busybox"
tar -C "$root" -czf "$CASE_DIR/root.tar.gz" .
tar -C "$root" -cJf "$CASE_DIR/root.tar.xz" .
chmod -R a+rX "$root" "$CASE_DIR"/root.tar.*

imported() { ls "$FS/images"; find "$STATE/images" -mindepth 1 | wc -l; }
for source in root.tar.gz root.tar.xz root; do
	name=from-${source//[^a-z]/-}
	is "import $source" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/$source as $name")" OK
	like "$name has a digest" "$(cat "$FS/images/$name/digest")" '^sha256:[0-9a-f]{64}$'
	ok "e2fsck of it" sh -c "for f in $STATE/images/*.ext4; do e2fsck -fn \$f || exit 1; done"
done
mkdir "$FS/vms/box"
ok "a VM of it" sh -c "echo from-root-tar-gz > $FS/vms/box/image"
ok "starts, though it has no init" sh -c "echo start > $FS/vms/box/ctl"
is "has its files" "$(banger vm exec box -- cat /etc/marker)" marker
is "and modes" "$(banger vm exec box -- stat -c %a /bin/busybox)" 4755
is "an image in use stays" "$(errno_call rmdir "$FS/images/from-root-tar-gz")" EBUSY
like "users/ names who" "$(readlink "$FS/images/from-root-tar-gz/users/box")" 'vms/box$'
is "a name that is taken" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/root as from-root")" EEXIST
ok "rmdir of an unused one" rmdir "$FS/images/from-root"

before=$(imported)
bad()
{
	is "$1" "$(errno_write "$FS/images/ctl" "import $2 as bad")" "$3"
	is "$1: nothing is left" "$(imported)" "$before"
}
bad "not there" "$CASE_DIR/none" ENOENT
head -c 100000 /dev/urandom >"$CASE_DIR/garbage"
bad "garbage" "$CASE_DIR/garbage" EBADMSG
head -c $(($(stat -c %s "$CASE_DIR/root.tar.gz") / 2)) "$CASE_DIR/root.tar.gz" >"$CASE_DIR/cut.tar.gz"
bad "a truncated tar.gz" "$CASE_DIR/cut.tar.gz" EBADMSG
: >"$CASE_DIR/empty"
bad "an empty file" "$CASE_DIR/empty" EBADMSG
mkfifo "$CASE_DIR/fifo"
bad "a fifo" "$CASE_DIR/fifo" EINVAL
bad "a device" /dev/zero EINVAL
perl -e '
	# name, type, link, body: one ustar header each
	sub entry { my ($n, $t, $l, $b) = @_; my $h = pack("a100 a8 a8 a8 a12 a12 a8 a1 a100 a6 a2 a32 a32 a8 a8 a155 a12", $n, "0000644", "0000000", "0000000",
		sprintf("%011o", length $b), "00000000000", " " x 8, $t, $l, "ustar", "00", "", "", "", "", "", "");
		my $s = unpack("%32C*", $h); substr($h, 148, 8) = sprintf("%06o\0 ", $s); return $h . $b . ("\0" x ((512 - length($b) % 512) % 512)); }
	open F, ">", "$ARGV[0]/dotdot.tar"; print F entry("../../etc/passwd", "0", "", "x"), "\0" x 1024; close F;
	open F, ">", "$ARGV[0]/through.tar"; print F entry("out", "2", "/", ""), entry("out/banger-was-here", "0", "", "x"), entry("rel", "2", "../../..", ""), entry("rel/banger-was-here", "0", "", "y"), "\0" x 1024; close F;
	open F, ">", "$ARGV[0]/loop.tar"; print F entry("a", "2", "b", ""), entry("b", "2", "a", ""), entry("a/x", "0", "", "x"), "\0" x 1024; close F;
' "$CASE_DIR"
bad "../../etc/passwd in a tar" "$CASE_DIR/dotdot.tar" EBADMSG
like "names the entry" "$(tail -n 3 "$FS/log")" 'etc/passwd'
bad "a symlink loop" "$CASE_DIR/loop.tar" EBADMSG
is "a file through a symlink" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/through.tar as through")" OK
ok "stays inside the image" test ! -e /banger-was-here
like "and is there" "$(debugfs -R 'ls -p /' "$(ls -t "$STATE"/images/*.ext4 | head -n 1)" 2>/dev/null)" '/banger-was-here/'
is "unknown verb" "$(errno_write "$FS/images/ctl" "paint it")" EINVAL
is "a bad name" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/root as ../x")" EINVAL

is "an image that cannot boot" "$(errno_write "$FS/vms/box/ctl" stop)" OK
echo through >"$FS/vms/box/image"
is "starts all the same: banger brings its own init" "$(errno_write "$FS/vms/box/ctl" start)" OK
is "stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
case_end
