#!/usr/bin/env bash
# Images into a registry: with the manifest that they came with, made of a tar, made of what a VM has changed.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
registry_up 5000
registry_up 5001
busybox_tar "$CASE_DIR/base.tar"
mkdir -p "$CASE_DIR/upper/etc" "$CASE_DIR/upper/data/sub" "$CASE_DIR/upper/old/deep" "$CASE_DIR/upper/gone" "$CASE_DIR/upper/moved"
echo one >"$CASE_DIR/upper/etc/marker"
echo a >"$CASE_DIR/upper/data/a"
echo b >"$CASE_DIR/upper/data/sub/b"
echo old >"$CASE_DIR/upper/old/deep/file"
echo gone >"$CASE_DIR/upper/gone/file"
echo moved >"$CASE_DIR/upper/moved/file"
echo link >"$CASE_DIR/upper/was-file"
tar -C "$CASE_DIR/upper" --owner=0 --group=0 -cf "$CASE_DIR/upper.tar" .
layout app '{"Env":["PATH=/bin","GREETING=hello"],"Cmd":["sh"]}' "$CASE_DIR/base.tar" "$CASE_DIR/upper.tar"
ok "skopeo puts an image there" push app 5000/team/app:1
up

# digest_at PORT/PATH:TAG: what skopeo says of it.
digest_at()
{
	skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://localhost:$1"
}

# uploads PORT: how many blobs and manifests it has taken.
uploads()
{
	grep -c '"\(PUT\|POST\|PATCH\) /' "$CASE_DIR/registry-$1/log"
}

is "pull" "$(errno_write "$FS/images/ctl" "pull localhost:5000/team/app:1")" OK
is "push it elsewhere" "$(errno_write "$FS/images/ctl" "push app as localhost:5001/mine/app:2")" OK
is "with the same digest" "$(digest_at 5001/mine/app:2)" "$(cat "$FS/images/app/digest")"
is "which is said" "$(cat "$FS/images/app/pushed")" "localhost:5001/mine/app:2@$(digest_at 5001/mine/app:2)"
before=$(uploads 5001)
is "push it again" "$(errno_write "$FS/images/ctl" "push app as localhost:5001/mine/app:2")" OK
is "uploads nothing" $(($(uploads 5001) - before)) 0
is "by its reference, as a command" "$(banger image push localhost:5000/team/app:1 localhost:5001/mine/app:2)" "$(cat "$FS/images/app/pushed")"
is "push it beside where it came from" "$(errno_write "$FS/images/ctl" "push app as localhost:5000/other/app:1")" OK
is "mounts its blobs" "$(grep -c '"POST .*/other/app/.*from=' "$CASE_DIR/registry-5000/log") $(grep -c '"PUT .*/other/app/blobs/' "$CASE_DIR/registry-5000/log")" "3 0"
is "no such image" "$(errno_write "$FS/images/ctl" "push nothing as localhost:5001/mine/app:2")" ENOENT
is "no reference" "$(errno_write "$FS/images/ctl" "push app")" EINVAL

# What was never an OCI image is one layer.
odd=$CASE_DIR/odd
mkdir -p "$odd/bin" "$odd/dir/empty" "$odd/dir/with space"
cp /bin/busybox "$odd/bin/busybox"
ln -s busybox "$odd/bin/sh"
ln "$odd/bin/busybox" "$odd/dir/hard"
echo text >"$odd/dir/with space/naïve – ünïcode"
printf '\303(\n' >"$odd/dir/$(printf 'not\377utf8')"
mkfifo "$odd/dir/fifo"
mknod "$odd/dir/null" c 1 3
mknod "$odd/dir/disk" b 259 70000
truncate -s 40M "$odd/dir/sparse"
echo middle | dd of="$odd/dir/sparse" bs=1 seek=20000000 conv=notrunc status=none
truncate -s 5M "$odd/dir/hole"
: >"$odd/dir/nothing"
ln -s "$(printf 'x%.0s' {1..200})" "$odd/dir/long-link"
touch "$odd/dir/$(printf 'n%.0s' {1..250})"
echo suid >"$odd/dir/suid"
chown -R 70000:4000000000 "$odd/dir"
chmod 6755 "$odd/dir/suid"
chmod 1777 "$odd/dir/empty"
setcap cap_net_raw+ep "$odd/dir/hard"
touch -d '2100-02-03 04:05:06.123456789' "$odd/dir/suid" "$odd/dir"
touch -d '1965-02-03 04:05:06.5' "$odd/dir/nothing"
tar -C "$odd" --format=pax --sparse --xattrs --xattrs-include='*' -cf "$CASE_DIR/odd.tar" .
is "import" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/odd.tar as odd")" OK
is "push it" "$(errno_write "$FS/images/ctl" "push odd as localhost:5001/odd:1")" OK
ok "skopeo and umoci unpack it" unpacked 5001/odd:1 there
picture "$odd" >"$CASE_DIR/odd.wanted"
picture "$(realpath "$CASE_DIR/there")" >"$CASE_DIR/odd.got"
ok "all is as it was" diff -u "$CASE_DIR/odd.wanted" "$CASE_DIR/odd.got"
before=$(uploads 5001)
is "push it again" "$(errno_write "$FS/images/ctl" "push odd as localhost:5001/odd:1")" OK
is "uploads nothing: the same layer is made" $(($(uploads 5001) - before)) 0
is "pull it" "$(errno_write "$FS/images/ctl" "pull localhost:5001/odd:1 as odd2")" OK
is "push that" "$(errno_write "$FS/images/ctl" "push odd2 as localhost:5001/odd:2")" OK
is "which is the same" "$(digest_at 5001/odd:2)" "$(digest_at 5001/odd:1)"

# What a VM has changed is one layer more.
mkdir "$FS/vms/box"
echo app >"$FS/vms/box/image"
is "promote what never ran" "$(errno_write "$FS/vms/box/ctl" "promote app2")" ENOENT
ok "a VM starts" sh -c "echo start > $FS/vms/box/ctl"
ok "and changes things" banger vm exec box -- sh -ec '
	cd /
	B=/bin/busybox
	echo two >etc/marker
	$B rm data/a
	$B rm -r gone
	$B rm -r old && $B mkdir old && echo new >old/new
	$B mv moved renamed
	$B rm was-file && $B mkdir was-file && echo in >was-file/in
	$B mkdir -p new/dir
	echo new >new/dir/file
	$B chown 1234:70000 new/dir/file
	$B chmod 4711 new/dir/file
	$B ln new/dir/file new/hard
	$B ln -s ../etc/marker new/link
	$B mkfifo new/fifo
	$B mknod new/null c 1 3
	$B dd if=/dev/zero of=new/sparse bs=1 count=1 seek=8000000
	$B touch -d "2001-02-03 04:05:06" data/sub'
is "promote while it runs" "$(errno_write "$FS/vms/box/ctl" "promote app2")" EBUSY
like "says what to do" "$(cat "$FS/vms/box/error")" 'echo stop >'
ok "it stops" sh -c "echo stop > $FS/vms/box/ctl"
like "it can be promoted" "$(cat "$FS/vms/box/ctl")" '^promote NAME$'
is "promote" "$(errno_write "$FS/vms/box/ctl" "promote app2")" OK
is "to a name that is taken" "$(errno_write "$FS/vms/box/ctl" "promote app2")" EEXIST
is "is said" "$(cat "$FS/vms/box/error")" "0 promote: there is an image app2 already: delete it first, or take another name"
is "it came from nowhere" "$(cat "$FS/images/app2/ref")" ""
is "it has a layer more" "$(wc -l <"$FS/images/app2/layers")" 3
is "its environment is the image's" "$(cat "$FS/images/app2/env")" "$(cat "$FS/images/app/env")"
ok "e2fsck of it" sh -c "for f in $STATE/images/*.ext4; do e2fsck -fn \$f || exit 1; done"
mkdir "$FS/vms/box2"
echo app2 >"$FS/vms/box2/image"
ok "a VM of it starts" sh -c "echo start > $FS/vms/box2/ctl"
is "and sees the changes" "$(banger vm exec box2 -- sh -c 'cd /; cat etc/marker old/new was-file/in renamed/file new/dir/file new/link data/sub/b; echo *; echo data/* old/*' | tr '\n' ' ')" \
	"two new in moved new two b bin data dev etc lost+found new old proc renamed root run sys tmp was-file data/sub old/new "
ok "and is switched off" sh -c "echo kill > $FS/vms/box2/ctl"
is "which leaves it as nobody can read it" "$(errno_write "$FS/vms/box2/ctl" "promote app4")" EUCLEAN
like "says what to do" "$(cat "$FS/vms/box2/error")" 'start VM box2, shut it down by stop'
is "nothing is half made" "$(ls "$FS/images" | grep -c app4) $(ls "$STATE/blobs" | grep -c part)" "0 0"

is "push it" "$(errno_write "$FS/images/ctl" "push app2 as localhost:5001/mine/app:3")" OK
is "only what is new goes there" "$(grep -c '"PUT .*/mine/app/blobs/' "$CASE_DIR/registry-5001/log")" 5
is "its digest" "$(digest_at 5001/mine/app:3)" "$(cat "$FS/images/app2/digest")"
is "its history fits" "$(skopeo inspect --config --tls-verify=false docker://localhost:5001/mine/app:3 | perl -MJSON::PP -e '
	local $/; my $c = decode_json(<>); print scalar @{$c->{rootfs}{diff_ids}}, " ", scalar grep { !$_->{empty_layer} } @{$c->{history}}')" "3 3"
ok "skopeo and umoci unpack it" unpacked 5001/mine/app:3 changed
top=$(realpath "$CASE_DIR/changed")
is "changed" "$(cat "$top/etc/marker")" two
is "deleted" "$(ls -d "$top/data/a" "$top/gone" "$top/moved" "$top/old/deep" 2>/dev/null)" ""
is "replaced" "$(cat "$top/old/new" "$top/was-file/in" "$top/renamed/file" | tr '\n' ' ')" "new in moved "
is "owner and mode" "$(stat -c '%u %g %a %h' "$top/new/dir/file")" "1234 70000 4711 2"
is "device" "$(stat -c '%F %t %T' "$top/new/null")" "character special file 1 3"
is "time" "$(stat -c %Y "$top/data/sub")" "$(date -u -d '2001-02-03 04:05:06' +%s)"
is "nothing of overlayfs" "$(find "$top" -name '.wh.*')" ""
ok "nothing that banger writes at a start" sh -c "! grep -q box $top/etc/hostname $top/etc/hosts"
is "pull it" "$(errno_write "$FS/images/ctl" "pull localhost:5001/mine/app:3 as app3")" OK
cat "$FS/images/app2/layers" >"$CASE_DIR/layers.wanted"
ok "its layers" diff -u "$CASE_DIR/layers.wanted" "$FS/images/app3/layers"
before=$(uploads 5001)
is "push it again" "$(errno_write "$FS/images/ctl" "push app2 as localhost:5001/mine/app:3")" OK
is "uploads nothing" $(($(uploads 5001) - before)) 0

# Of what no layers are known the image below is made into one.
mkdir "$FS/vms/box3"
echo busybox >"$FS/vms/box3/image"
ok "a VM of busybox starts" sh -c "echo start > $FS/vms/box3/ctl"
ok "and changes something" banger vm exec box3 -- sh -c 'echo mine >/etc/mine'
ok "it stops" sh -c "echo stop > $FS/vms/box3/ctl"
ok "banger vm promote" banger vm promote box3 mine
is "banger image push" "$(banger image push mine localhost:5001/mine/busybox:1)" "localhost:5001/mine/busybox:1@$(digest_at 5001/mine/busybox:1)"
ok "skopeo and umoci unpack it" unpacked 5001/mine/busybox:1 mine
is "with what is new" "$(cat "$(realpath "$CASE_DIR/mine")/etc/mine")" mine
ok "and what was there" test -x "$(realpath "$CASE_DIR/mine")/bin/busybox"

# Layers that are gone are fetched again, or made again.
rm -r "$STATE/blobs"
is "push without its blobs" "$(errno_write "$FS/images/ctl" "push app as localhost:5001/again/app:1")" OK
is "has fetched them" "$(digest_at 5001/again/app:1)" "$(cat "$FS/images/app/digest")"
rm -r "$STATE/blobs" "$CASE_DIR/registry-5000/data/docker/registry/v2/repositories/team"
is "push when its source is gone too" "$(errno_write "$FS/images/ctl" "push app as localhost:5001/again/app:2")" OK
ok "skopeo and umoci unpack it" unpacked 5001/again/app:2 again
is "its history fits" "$(skopeo inspect --config --tls-verify=false docker://localhost:5001/again/app:2 | perl -MJSON::PP -e '
	local $/; my $c = decode_json(<>); print scalar @{$c->{rootfs}{diff_ids}}, " ", scalar @{$c->{history}}, " ", $c->{config}{Cmd}[0]')" "1 1 sh"
is "its content" "$(cat "$(realpath "$CASE_DIR/again")/data/sub/b")" b

# Not everybody may.
password_line writer secret >"$CASE_DIR/htpasswd"
registry_up 5002 "auth: {htpasswd: {realm: here, path: $CASE_DIR/htpasswd}}"
is "push as nobody" "$(errno_write "$FS/images/ctl" "push app as localhost:5002/app:1")" EACCES
like "says what to do" "$(tail -n 1 "$FS/log")" 'banger image login localhost:5002'
is "log in" "$(errno_write "$FS/images/ctl" "login localhost:5002 writer secret")" OK
is "push as somebody" "$(errno_write "$FS/images/ctl" "push app as localhost:5002/app:1")" OK
REGISTRY_STORAGE_MAINTENANCE_READONLY='{enabled: true}' registry_up 5003
is "push to what can only be read" "$(errno_write "$FS/images/ctl" "push app as localhost:5003/app:1")" EROFS
like "says so" "$(tail -n 1 "$FS/log")" 'localhost:5003 takes no pushes'
is "push to where nobody is" "$(errno_write "$FS/images/ctl" "push app as localhost:5999/app:1")" ECONNREFUSED

# What breaks off is begun again.
cutter 5004 5001
is "push over what breaks" "$(errno_write "$FS/images/ctl" "push app3 as localhost:5004/cut/app:1")" OK
is "it broke" "$(grep -c cut "$CASE_DIR/cut")" 2
is "all of it is there" "$(digest_at 5001/cut/app:1)" "$(cat "$FS/images/app3/digest")"
registry_down
case_end
