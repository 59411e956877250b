#!/usr/bin/env bash
# Images out of a registry: pulled, started, shared, moved on, cleaned up.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
registry_up 5000
busybox_tar "$CASE_DIR/base.tar"
mkdir -p "$CASE_DIR/upper/etc"
mkdir -p "$CASE_DIR/upper/root/.config"
echo 'alias ll=ls' >"$CASE_DIR/upper/root/.profile"
chmod 0640 "$CASE_DIR/upper/root/.profile"
ln -s .profile "$CASE_DIR/upper/root/.link"
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

digest=$(cat "$FS/images/app/digest")
is "the command says what is there" "$(banger image pull localhost:5000/team/app:1)" "app $digest"
like "shows all of it" "$(banger image show app)" "^entrypoint +/bin/sh"
is "as JSON" "$(banger image show --json app | perl -MJSON::PP -0777 -ne 'my $i = decode_json($_); print "$i->{env}[1] $i->{labels}[0] $i->{user} @{$i->{cmd}}"')" 'GREETING=hello world a=b user echo $GREETING; id -u; pwd; exit 7'
like "of one that isn't there" "$(banger image show none 2>&1; echo "code $?")" "there is no image none: banger image ls"
like "nor can that be deleted" "$(banger image rm none 2>&1; echo "code $?")" "there is no image none"
like "help of one command" "$(banger image pull --help && echo "code $?")" "^code 0"
like "a command of a group that isn't there" "$(banger image nonsense 2>&1)" "'image nonsense': banger image --help"
layout forger '{"Env":["PATH=/bin","A=x\nFORGED=1"],"Labels":{"b":"x\nforged=2","c":"\u001b]0;t"}}' "$CASE_DIR/base.tar"
ok "an image whose values hold newlines" push forger 5000/forger:1
is "is pulled" "$(banger image pull localhost:5000/forger:1 | cut -d' ' -f1)" forger
is "its labels forge none" "$(tr '\n\0' '?\n' <"$FS/images/forger/labels" | head -n 1)" "b=x?forged=2"
is "nor do they on the terminal" "$(banger image show forger | grep -aEc '^forged|FORGED=1$|'$'\033')" 1
is "in JSON they are whole" "$(banger image show --json forger | perl -MJSON::PP -0777 -ne 'print decode_json($_)->{env}[1]' | tr '\n' '?')" "A=x?FORGED=1"
ok "it goes" banger image rm forger

mkdir "$FS/vms/box"
echo app >"$FS/vms/box/image"
ok "a VM of it starts" sh -c "echo start > $FS/vms/box/ctl"
is "with its files" "$(banger vm exec box -- cat /etc/marker)" one
is "and environment" "$(banger vm exec box -- sh -c 'echo $GREETING')" "hello world"
is "the image's /root is on the work disk" "$(banger vm exec box -- stat -c '%a %s' /root/.profile)" "640 12"
is "links too" "$(banger vm exec box -- cat /root/.link)" "alias ll=ls"
banger vm exec box -- sh -c 'rm -r /root/.link; echo mine >/root/.profile; sync'
is "restart" "$(errno_write "$FS/vms/box/ctl" restart)" OK
is "what was written there stays" "$(banger vm exec box -- cat /root/.profile)" mine
is "what was removed stays away" "$(banger vm exec box -- sh -c 'ls -a /root | grep -c link')" 0
like "status and words of its own command" "$(banger run --rm app 2>&1; echo "code $?")" "hello world
1000
/tmp
code 7"
is "is run as its user, in its folder" "$(banger run --rm app 2>/dev/null | tr '\n' ' ')" "hello world 1000 /tmp "
is "a command in its stead" "$(banger run --rm app -- echo other)" other
is "nothing is left of them" "$(ls "$FS/vms")" box

# A tag that moves: the name goes to the new image, what runs keeps the old one.
old=$(cat "$FS/images/app/digest")
echo two >"$CASE_DIR/upper/etc/marker"
tar -C "$CASE_DIR/upper" --owner=0 --group=0 -cf "$CASE_DIR/upper.tar" .
layout app2 '{"Env":["PATH=/bin"]}' "$CASE_DIR/base.tar" "$CASE_DIR/upper.tar"
ok "the tag moves" push app2 5000/team/app:1
before=$(grep -c 'GET.*blobs/sha256' "$CASE_DIR/registry-5000/log")
is "pull of it" "$(errno_write "$FS/images/ctl" "pull localhost:5000/team/app:1")" OK
is "fetched what is new: a configuration and a layer" $(($(grep -c 'GET.*blobs/sha256' "$CASE_DIR/registry-5000/log") - before)) 2
is "the command says which" "$(banger image pull localhost:5000/team/app:1)" "app $(cat "$FS/images/app/digest")"
is "the name goes to what is new" "$([ "$(cat "$FS/images/app/digest")" != "$old" ] && echo new)" new
kept=$(cat "$FS/vms/box/image")
like "the old one is kept for its VM" "$kept" "^app-[0-9a-f]{12}$"
is "by its digest" "$(cat "$FS/images/$kept/digest")" "$old"
is "its reference is that digest" "$(cat "$FS/images/$kept/ref")" "localhost:5000/team/app@$old"
is "the VM's files are the old ones" "$(banger vm exec box -- cat /etc/marker)" one
is "a new VM's the new ones" "$(banger run --rm app -- cat /etc/marker)" two

# What isn't there is pulled by the start; two at once share it.
layout other '{"Env":["PATH=/bin"]}' "$CASE_DIR/base.tar"
ok "another image is put there" push other 5000/other:v2
mkdir "$FS/vms/one" "$FS/vms/two"
is "a reference as a VM's image" "$(errno_write "$FS/vms/one/image" localhost:5000/other:v2)" OK
echo localhost:5000/other:v2 >"$FS/vms/two/image"
before=$(grep -c 'GET.*manifests/v2' "$CASE_DIR/registry-5000/log")
(echo start >"$FS/vms/one/ctl") &
ok "a start pulls it" sh -c "echo start > $FS/vms/two/ctl"
wait $!
is "once for both" $(($(grep -c 'GET.*manifests/v2' "$CASE_DIR/registry-5000/log") - before)) 1
is "both run" "$(cat "$FS/vms/one/state" "$FS/vms/two/state" | uniq)" running
echo stop >"$FS/vms/one/ctl"
echo stop >"$FS/vms/two/ctl"
rmdir "$FS/vms/one" "$FS/vms/two"


is "a name that is another file's" "$(errno_write "$FS/images/ctl" "pull localhost:5000/other:v2 as ctl")" EINVAL
ok "an image called logins" push other 5000/team/logins:1
is "gets another name" "$(banger image pull localhost:5000/team/logins:1 | cut -d' ' -f1)" logins-1
ok "and goes" rmdir "$FS/images/logins-1"

# The same again, while the first one is still being cancelled.
kill -STOP "$REGISTRY_PIDS"
(banger image pull localhost:5000/other:v2 twice 2>/dev/null; echo $? >"$CASE_DIR/first") &
first=$!
await sh -c "grep -qx images/twice $FS/ops/*/target"
(
	perl -e 'for (@ARGV[0, 1]) { my ($file, $text) = split /=/, $_, 2; open my $f, ">", $file or die; syswrite($f, $text) // die "$text: $!" }' \
		"$(dirname "$(grep -lx images/twice "$FS"/ops/*/target)")/ctl=cancel" "$FS/images/ctl=pull localhost:5000/other:v2 as twice" 2>&1
	echo "code $?" ) >"$CASE_DIR/second" &
second=$!
wait $first
is "what was cancelled says so" "$(cat "$CASE_DIR/first")" 130
kill -CONT "$REGISTRY_PIDS"
wait $second
is "the same again isn't cancelled with it" "$(cat "$CASE_DIR/second")" "code 0"
ok "it is there" rmdir "$FS/images/twice"

like "a run of what isn't there says so" "$(banger run localhost:5000/none:1 2>&1)" "has no image none:1"
is "and leaves no VM" "$(ls "$FS/vms")" box
is "what isn't there" "$(errno_write "$FS/images/ctl" "pull localhost:5000/none:1")" ENOENT
like "is said" "$(tail -n 2 "$FS/log")" "localhost:5000.*none"
is "a build of what isn't known" "$(banger image build nonsense 2>&1)" "banger: build nonsense as nonsense: wanted: build debian or build busybox"
is "no reference" "$(errno_write "$FS/images/ctl" "pull two//slashes")" EINVAL
is "another platform" "$(errno_write "$FS/images/ctl" "pull localhost:5000/other:v2 platform linux/arm64")" ENOENT
like "says which there is" "$(tail -n 2 "$FS/log")" "linux/amd64"
ARCH=arm64 layout arm '{}' "$CASE_DIR/base.tar"
ok "an image for arm64 is put there" push arm 5000/arm:1
is "isn't pulled by itself" "$(errno_write "$FS/images/ctl" "pull localhost:5000/arm:1")" ENOENT
is "but when it is asked for" "$(errno_write "$FS/images/ctl" "pull localhost:5000/arm:1 platform linux/arm64")" OK
is "its platform" "$(cat "$FS/images/arm/platform")" linux/arm64
mkdir "$FS/vms/arm"
echo arm >"$FS/vms/arm/image"
is "no VM of it starts here" "$(errno_write "$FS/vms/arm/ctl" start)" ENOEXEC
like "says why" "$(cat "$FS/vms/arm/error")" "linux/arm64"
rmdir "$FS/vms/arm"

# The image's own command is told first, by its own signal.
mkdir -p "$CASE_DIR/daemon/bin"
cat >"$CASE_DIR/daemon/bin/daemon" <<'SH'
#!/bin/sh
trap 'echo bye >/root/said; sync; exit 0' INT
trap '' TERM
echo up
while :; do sleep 0.1; done
SH
chmod 0755 "$CASE_DIR/daemon/bin/daemon"
tar -C "$CASE_DIR/daemon" --owner=0 --group=0 -cf "$CASE_DIR/daemon.tar" .
layout daemon '{"Env":["PATH=/bin"],"Cmd":["daemon"],"StopSignal":"SIGINT"}' "$CASE_DIR/base.tar" "$CASE_DIR/daemon.tar"
ok "a daemon's image is put there" push daemon 5000/daemon:1
mkdir "$FS/vms/daemon"
echo localhost:5000/daemon:1 >"$FS/vms/daemon/image"
ok "its VM starts" sh -c "echo start > $FS/vms/daemon/ctl"
exec 7<>"$FS/vms/daemon/exec/clone"
read -r job <&7
echo main >"$FS/vms/daemon/exec/$job/ctl"
echo start >"$FS/vms/daemon/exec/$job/ctl"
eventually "its command runs" grep -q up "$FS/vms/daemon/exec/$job/stdout"
exec 7>&-
ok "stop" sh -c "echo stop > $FS/vms/daemon/ctl"
ok "and start" sh -c "echo start > $FS/vms/daemon/ctl"
is "it heard its signal, and had time" "$(banger vm exec daemon -- cat /root/said)" bye
echo kill >"$FS/vms/daemon/ctl"
rmdir "$FS/vms/daemon"

# What no image is made of goes; what one is made of stays. By itself after a pull, where the cache has a limit.
blobs() { find "$STATE/blobs" -type f | wc -l; }
arm=$(cat "$FS/images/arm/digest")
ok "rmdir of an image" rmdir "$FS/images/arm"
is "a pull, without a limit" "$(errno_write "$FS/images/ctl" "pull localhost:5000/forger:1")" OK
ok "keeps what was another's" test -e "$STATE/blobs/${arm/:/-}"
rmdir "$FS/images/forger"
is "a limit of the cache" "$(errno_write "$FS/config/cache_max" 1)" OK
is "a pull, with a limit" "$(errno_write "$FS/images/ctl" "pull localhost:5000/forger:1")" OK
eventually "frees what no image is made of" test ! -e "$STATE/blobs/${arm/:/-}"
ok "keeps what one is made of" test -e "$STATE/blobs/$(sed 's/:/-/' "$FS/images/other/digest")"
echo 0 >"$FS/config/cache_max"
ok "rmdir of images" rmdir "$FS/images/other" "$FS/images/forger"
before=$(blobs)
is "prune, dry" "$(errno_write "$FS/ctl" "prune blobs dry-run")" OK
is "takes nothing" "$(blobs)" "$before"
like "says what would go" "$(tail -n 3 "$FS/log")" "would free sha256:"
is "prune" "$(errno_write "$FS/ctl" "prune blobs")" OK
is "less is left" "$([ "$(blobs)" -lt "$before" ] && echo less)" less
before=$(requests 5000)
is "what is left is enough" "$(errno_write "$FS/images/ctl" "pull localhost:5000/team/app:1")" OK
is "for one request" $(($(requests 5000) - before)) 1
registry_down
is "with no registry" "$(errno_write "$FS/images/ctl" "pull localhost:5000/team/app:1")" ECONNREFUSED
is "what is there starts" "$(banger run --rm app -- echo here)" here
case_end
