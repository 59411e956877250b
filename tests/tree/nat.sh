#!/usr/bin/env bash
# The guest's way out, with an internet of our own behind a veth pair: NAT on and off while it runs, others shielded.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
ip link add up0 type veth peer name inet0
unshare --net sleep infinity &
internet=$!
eventually "an internet" sh -c "[ \"\$(readlink /proc/$internet/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ip link set inet0 netns $internet
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
ip route add default via 192.0.2.2
inet() { nsenter --net=/proc/$internet/ns/net -- "$@"; }
inet ip addr add 192.0.2.2/24 dev inet0
inet ip link set inet0 up
inet ip link set lo up
audit_picture >"$CASE_DIR/before"
up
mkdir "$FS/vms/box"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
# The internet has no route back to the guest: an answer proves the masquerade.
ok "the guest reaches the internet" banger vm exec box -- ping -c 1 -W 20 192.0.2.2
is "nat off while it runs" "$(errno_write "$FS/vms/box/nat" 0)" OK
fails "and it does not" banger vm exec box -- ping -c 1 -W 2 192.0.2.2
is "nat on" "$(errno_write "$FS/vms/box/nat" 1)" OK
ok "and it does" banger vm exec box -- ping -c 1 -W 20 192.0.2.2
inet ip route add "$(cat "$FS/vms/box/ip")/32" via 192.0.2.1
fails "nobody outside reaches the guest" inet ping -c 1 -W 2 "$(cat "$FS/vms/box/ip")"
is "stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ok "banger down" down
kill $internet
wait $internet 2>/dev/null
eventually "the pair is gone" sh -c "! ip link show up0"
sed -i '/^up0/d; /^inet0/d' "$CASE_DIR/before"
case_end
