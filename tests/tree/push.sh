#!/usr/bin/env bash
# Images into a registry: with the manifest that they came with, made of a tar, made of what a VM has changed.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
registry_up 5000
registry_up 5001
busybox_tar "$CASE_DIR/base.tar"
mkdir -p "$CASE_DIR/upper/etc"
echo one >"$CASE_DIR/upper/etc/marker"
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
before=$(uploads 5001)
is "push it again" "$(errno_write "$FS/images/ctl" "push app as localhost:5001/mine/app:2")" OK
is "uploads nothing" $(($(uploads 5001) - before)) 0
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
registry_down
case_end
