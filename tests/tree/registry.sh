#!/usr/bin/env bash
# Images out of a registry: pulled, started, shared, moved on, cleaned up.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
registry_up 5000
busybox_tar "$CASE_DIR/base.tar"
mkdir -p "$CASE_DIR/upper/etc"
echo one >"$CASE_DIR/upper/etc/marker"
tar -C "$CASE_DIR/upper" --owner=0 --group=0 -cf "$CASE_DIR/upper.tar" .
layout app '{"Env":["PATH=/bin","GREETING=hello world"],"Entrypoint":["/bin/sh","-c"],"Cmd":["echo $GREETING; id -u; pwd; exit 7"],"WorkingDir":"/tmp","User":"user","ExposedPorts":{"80/tcp":{}},"Labels":{"a":"b"},"StopSignal":"SIGINT"}' "$CASE_DIR/base.tar" "$CASE_DIR/upper.tar"
ok "skopeo puts an image there" push app 5000/team/app:1
up

is "pull" "$(errno_write "$FS/images/ctl" "pull localhost:5000/team/app:1")" OK
is "its name" "$(ls "$FS/images" | grep app)" app
is "its reference" "$(cat "$FS/images/app/ref")" localhost:5000/team/app:1
like "its digest" "$(cat "$FS/images/app/digest")" '^sha256:[0-9a-f]{64}$'
is "its platform" "$(cut -d/ -f1,2 <"$FS/images/app/platform")" linux/amd64
is "its layers" "$(wc -l <"$FS/images/app/layers")" 2
is "its environment" "$(tail -n 1 "$FS/images/app/env")" "GREETING=hello world"
is "its user" "$(cat "$FS/images/app/user")" user
ok "e2fsck of it" sh -c "for f in $STATE/images/*.ext4; do e2fsck -fn \$f || exit 1; done"
before=$(requests 5000)
is "pull again" "$(errno_write "$FS/images/ctl" "pull localhost:5000/team/app:1")" OK
is "was one request" $(($(requests 5000) - before)) 1

mkdir "$FS/vms/box"
echo app >"$FS/vms/box/image"
ok "a VM of it starts" sh -c "echo start > $FS/vms/box/ctl"
is "with its files" "$(banger vm exec box -- cat /etc/marker)" one
is "and environment" "$(banger vm exec box -- sh -c 'echo $GREETING')" "hello world"
registry_down
case_end
