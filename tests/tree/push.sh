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
is "mounts its blobs" "$(grep -c '"POST .*from=' "$CASE_DIR/registry-5000/log") $(grep -c '"PUT .*/blobs/' "$CASE_DIR/registry-5000/log")" "3 0"
is "no such image" "$(errno_write "$FS/images/ctl" "push nothing as localhost:5001/mine/app:2")" ENOENT
is "no reference" "$(errno_write "$FS/images/ctl" "push app")" EINVAL
registry_down
case_end
