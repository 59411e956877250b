#!/usr/bin/env bash
# Who one is at a registry, whom banger trusts, and pulls that are shared, killed, stopped and out of room.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"

# The owner has a home, and the machine certificates, in this case's view of it only.
home=$CASE_DIR/home
install -d -o "$OWNER" -m 0700 "$home" "$home/.docker"
# All of /etc, and not a file of it: whoever renames a new passwd into place takes away what is mounted over the old one.
cp -a /etc "$CASE_DIR/etc"
sed -i "s|^\($OWNER:.*\):[^:]*:\([^:]*\)$|\1:$home:\2|" "$CASE_DIR/etc/passwd"
mkdir -p "$CASE_DIR/etc/containers"
mount --bind "$CASE_DIR/etc" /etc
secret='Hush: a "secret" \ word'

busybox_tar "$CASE_DIR/base.tar"
head -c 6000000 /dev/urandom >"$CASE_DIR/weight"
tar -C "$CASE_DIR" --owner=0 --group=0 -cf "$CASE_DIR/weight.tar" weight
layout app '{"Entrypoint":["/bin/sh"]}' "$CASE_DIR/base.tar" "$CASE_DIR/weight.tar"
certificate ca "the case's own"
certificate site localhost ca
password_line someone "$secret" >"$CASE_DIR/htpasswd"
registry_up 5001 "  tls: {certificate: $CASE_DIR/site.crt, key: $CASE_DIR/site.key}
auth: {htpasswd: {realm: case, path: $CASE_DIR/htpasswd}}"
certificate issuer issuer
printf '%s\n' "someone:$secret" >"$CASE_DIR/users"
registry_pl token 5003 "$CASE_DIR/issuer.key" "$CASE_DIR/issuer.crt" "$CASE_DIR/users"
registry_up 5002 "auth: {token: {realm: 'http://localhost:5003/token', service: case-registry, issuer: case, rootcertbundle: $CASE_DIR/issuer.crt}}"
ok "skopeo puts an image behind TLS and a password" push app 5001/team/app:1 --dest-creds "someone:$secret"
ok "and behind tokens" push app 5002/team/app:1 --dest-creds "someone:$secret"
up

pull() { banger image pull "$1" 2>&1; }
login() { printf '%s\n' "$3" | timeout "$PATIENCE" "$BANGER_BIN/banger" image login -u "$2" --password-stdin "$1" 2>&1; }
images() { ls "$FS/images"; find "$STATE/images" -type f | sort; }
# Whole blobs of the cache; a part is none.
whole() { find "$STATE/blobs" -type f ! -name '*.part' 2>/dev/null | sort; }
trust() { mkdir -p "$1/localhost:5001" && cp "$CASE_DIR/ca.crt" "$1/localhost:5001/ca.crt" && chmod -R a+rX "$1"; }
docker_config() { printf '{"auths":{"%s":{"auth":"%s"}}}' "$1" "$(printf %s "someone:$secret" | base64 -w0)" >"$home/.docker/config.json"; chown "$OWNER" "$home/.docker/config.json"; }

before=$(images)
like "a certificate that nobody knows" "$(pull localhost:5001/team/app:1)" 'certificate is not trusted.*certs\.d'
like "and to log in there" "$(login localhost:5001 someone "$secret")" 'certificate is not trusted'
is "nothing came of it" "$(images; whole)" "$before"
trust /etc/containers/certs.d
like "nobody in particular" "$(pull localhost:5001/team/app:1)" 'log in: banger image login localhost:5001'
is "has no access" "$(errno_write "$FS/images/ctl" 'pull localhost:5001/team/app:1')" EACCES
like "a wrong password" "$(login localhost:5001 someone wrong)" 'someone.*password is wrong'
like "a wrong user" "$(login localhost:5001 nobody "$secret")" 'nobody.*password is wrong'
is "is not kept" "$(cat "$STATE/auth.json" 2>/dev/null)" ""
is "nor anything else" "$(images; whole)" "$before"
is "login" "$(login localhost:5001 someone "$secret"; echo $?)" 0
is "is the owner's alone to read" "$(stat -c '%a %U' "$STATE/auth.json")" "600 $OWNER"
like "pull" "$(pull localhost:5001/team/app:1)" '^app sha256:[0-9a-f]{64}$'
ok "logout" banger image logout localhost:5001
is "nobody again: what is there isn't looked after" "$(errno_write "$FS/images/ctl" 'pull localhost:5001/team/app:1')" EACCES
ok "the image stays" test -d "$FS/images/app"
docker_config localhost:5001
is "docker's login counts, at once" "$(errno_write "$FS/images/ctl" 'pull localhost:5001/team/app:1')" OK
rm -r /etc/containers/certs.d
mkdir -p "$home/.config/containers"
trust "$home/.config/containers/certs.d"
is "so do the owner's certificates" "$(errno_write "$FS/images/ctl" 'pull localhost:5001/team/app:1')" OK
rm -r "$home/.config"
is "which without them it doesn't trust" "$(errno_write "$FS/images/ctl" 'pull localhost:5001/team/app:1')" EKEYREJECTED
echo '{"auths":' >"$home/.docker/config.json"
like "a broken file is named" "$(pull localhost:5002/team/app:1)" "$home/.docker/config.json"
rm "$home/.docker/config.json"
banger image delete app >/dev/null

like "tokens, for nobody" "$(pull localhost:5002/team/app:1)" 'log in: banger image login localhost:5002'
like "tokens, a wrong password" "$(login localhost:5002 someone wrong)" 'someone'
is "tokens, login" "$(login localhost:5002 someone "$secret"; echo $?)" 0
like "tokens, pull" "$(pull localhost:5002/team/app:1)" '^app sha256:'
ok "tokens, a scope was asked for" grep -q 'scope=repository%3Ateam%2Fapp%3Apull' "$CASE_DIR/token-5003"
ok "tokens, logout" banger image logout localhost:5002
is "tokens, nobody again" "$(errno_write "$FS/images/ctl" 'pull localhost:5002/team/app:1')" EACCES
docker_config localhost:5002
is "tokens, docker's login" "$(errno_write "$FS/images/ctl" 'pull localhost:5002/team/app:1')" OK
rm "$home/.docker/config.json"
banger image delete app >/dev/null

# While a login waits for its answer, and after it.
registry_pl silent 5004
(login localhost:5004 someone "$secret" >"$CASE_DIR/said") &
waiting=$!
eventually "the registry was asked" grep -q '^GET /v2/' "$CASE_DIR/silent-5004"
secrets() { grep -rlF -e "$1" "$FS/ops" "$FS/log" "$STATE/fsd.log" "$STATE/log" "$RUN/helper.log" "$CASE_DIR/registry-5001/log" 2>/dev/null; }
printf '%s\n' 'Hush: a' >"$CASE_DIR/pattern"
here=$(readlink /proc/self/ns/net)
processes() { for pid in /proc/[0-9]*; do [ "$(readlink "$pid/ns/net")" != "$here" ] || cat "$pid/cmdline" "$pid/environ"; done 2>/dev/null | tr '\0' '\n' | grep -cF -f "$CASE_DIR/pattern"; }
ok "its operation is there to see" grep -qx 'registry localhost:5004' "$FS"/ops/*/target
is "nothing shows the secret" "$(secrets 'Hush: a')" ""
is "no process does" "$(processes)" 0
is "nor in its other form" "$(secrets "$(printf %s "someone:$secret" | base64 -w0 | cut -c1-20)")" ""
for op in "$FS"/ops/*/ctl; do echo cancel >"$op"; done
wait $waiting
like "a login can be stopped" "$(cat "$CASE_DIR/said")" 'cancel|nterrupted'
is "and keeps nothing" "$(grep -c 5004 "$STATE/auth.json" 2>/dev/null)" 0

# A name service that doesn't answer holds nobody up who stops.
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.9", LocalPort => 53, Proto => "udp") or die; open $f, ">", $ARGV[0]; $s->recv($_, 512) and syswrite $f, "x" while 1' "$CASE_DIR/asked" &
REGISTRY_PIDS="$REGISTRY_PIDS $!"
await test -e "$CASE_DIR/asked"
echo 'nameserver 127.0.0.9' >"$CASE_DIR/resolv.conf"
mount --bind "$CASE_DIR/resolv.conf" /etc/resolv.conf
# As a terminal does it; what bash sends to the background doesn't hear of SIGINT. To be called with & behind it.
interruptible() { exec perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$BANGER_BIN/banger" "$@"; }
idle() { [ -z "$(ls "$FS/ops")" ]; }
interruptible image pull registry.example/team/app:1 >"$CASE_DIR/said" 2>&1 &
pulling=$!
eventually "a name is looked up" test -s "$CASE_DIR/asked"
began=$SECONDS
kill -INT $pulling
wait $pulling
await idle
ok "Ctrl-C ends that" [ $((SECONDS - began)) -le 3 ]
umount /etc/resolv.conf

registry_pl held 5005 "$CASE_DIR/app" "$CASE_DIR/gate" 1000000
blob=$(perl -MJSON::PP -e 'local $/; $m = decode_json(<>)->{layers}[1]{digest}; $m =~ s/:/-/; print $m' "$CASE_DIR/app/blobs/sha256/"$(perl -MJSON::PP -e 'local $/; print decode_json(<>)->{manifests}[0]{digest} =~ s/.*://r' "$CASE_DIR/app/index.json"))
banger image prune >/dev/null 2>&1
rm -rf "$STATE/blobs"
asked() { grep -c "^GET /v2/team/app/blobs/${blob/-/:}" "$CASE_DIR/held-5005"; }
# What came is written a quarter of a MiB at a time, or less.
part_has() { [ -e "$STATE/blobs/$blob.part" ] && [ "$(stat -c %s "$STATE/blobs/$blob.part")" -ge "$1" ]; }
went_on() { grep -Eq "${blob/-/:} bytes=$1-" "$CASE_DIR/held-5005"; }
before=$(images)

interruptible image pull localhost:5005/team/app:1 >"$CASE_DIR/said" 2>&1 &
pulling=$!
eventually "the middle of a pull" part_has 750000
began=$SECONDS
kill -INT $pulling
wait $pulling
is "Ctrl-C stops it" "$([ $? -ne 0 ] && echo stopped)" stopped
await idle
ok "soon" [ $((SECONDS - began)) -le 3 ]
is "no image of it, no file" "$(images)" "$before"
ok "but what can be gone on with, all of it" part_has 1000000

pull localhost:5005/team/app:1 >"$CASE_DIR/said" 2>&1 &
pulling=$!
eventually "it goes on" went_on 1000000
eventually "and gets on" part_has 1750000
# ops/ and a terminal tell how far it is: who asks for the same sees it too, and goes without ending it.
short=${blob#sha256-} short=${short:0:12}
like "a line for each layer" "$(cat "$FS"/ops/*/parts)" "^$short fetch [0-9]+ [0-9]+ [1-9][0-9]*$"
on_terminal() { perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' script -qfec "$BANGER_BIN/banger $*" "$CASE_DIR/terminal" >/dev/null 2>&1; }
shown() { grep -Eaq "$short fetch [0-9.]+ MiB of [0-9.]+ MiB, [0-9.]+ [KMG]?i?B/s, [0-9]+ s left" "$CASE_DIR/terminal"; }
{ await shown; printf '\003'; } | on_terminal image pull localhost:5005/team/app:1
is "Ctrl-C there" "$?" 130
ok "bytes, rate and time left were there" shown
kill -9 "$(fsd_pid)"
ok "up after kill -9 in the middle" banger up --owner "$OWNER"
# The pull that was asked for is at work again: its own file has a name that says so.
is "nothing half-made is there" "$(images | grep -v '/\.tmp-')" "$before"
ok "no whole blob is it" test ! -e "$STATE/blobs/$blob"
mkdir "$FS/vms/one" "$FS/vms/two" "$FS/vms/three"
starting=
for vm in one two three; do echo localhost:5005/team/app:1 >"$FS/vms/$vm/image"; done
for vm in one two; do
	(echo start >"$FS/vms/$vm/ctl") 2>"$CASE_DIR/start-$vm" &
	starting="$starting $!"
done
rm "$CASE_DIR/terminal"
on_terminal vm start three </dev/null &
starting="$starting $!"
eventually "three VMs wait for the image" sh -c "[ \$(grep -lx image $FS/ops/*/stage | wc -l) = 3 ]"
eventually "who had asked still waits: the download goes on where it was killed" went_on '(1[789][0-9]{5}|2[0-9]{6})'
eventually "a start that pulls shows it too" shown
count=$(asked)
is "one pull is at work, his" "$(grep -lx pull "$FS"/ops/*/kind | wc -l)" 1
touch "$CASE_DIR/gate"
# shellcheck disable=SC2086
wait $starting
wait $pulling
is "he has it" "$?" 0
for vm in one two three; do [ "$(cat "$FS/vms/$vm/state")" = running ] || diag "$vm: $(cat "$FS/vms/$vm/error")"; done
is "they run" "$(cat "$FS/vms/one/state" "$FS/vms/two/state" "$FS/vms/three/state" | sort -u)" running
is "of one download" "$(asked)" "$count"
is "no part is left" "$(find "$STATE/blobs" -name '*.part')" ""
for vm in one two three; do banger vm stop "$vm" >/dev/null 2>&1; rm -r "$FS/vms/$vm"; done
banger image delete app >/dev/null
ok "down" down

# A state with room for half of it.
rm "$CASE_DIR/gate"
mv "$STATE" "$CASE_DIR/state.before"
mount -t tmpfs -o size=300m none "$BANGER_STATE_BASE"
cp -a "$CASE_DIR/state.before" "$STATE"
rm -rf "$STATE/blobs"
up
before=$(images)
pull localhost:5005/team/app:1 >"$CASE_DIR/said" &
pulling=$!
eventually "it has begun" part_has 750000
head -c 1G /dev/zero >"$BANGER_STATE_BASE/filler" 2>/dev/null
touch "$CASE_DIR/gate"
wait $pulling
like "the disk is full in the middle: said so" "$(cat "$CASE_DIR/said")" 'o space'
is "with its own code" "$(errno_write "$FS/images/ctl" 'pull localhost:5005/team/app:1')" ENOSPC
is "no image, no file" "$(images)" "$before"
ok "no whole blob is it" test ! -e "$STATE/blobs/$blob"
rm "$BANGER_STATE_BASE/filler"
like "with room again it comes" "$(pull localhost:5005/team/app:1)" '^app sha256:'
like "from where it was" "$(grep "GET .*${blob/-/:}" "$CASE_DIR/held-5005" | tail -n 1)" 'bytes=[1-9][0-9]+-' 
ok "down" down
umount "$BANGER_STATE_BASE"
registry_down
umount /etc
case_end
