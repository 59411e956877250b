#!/usr/bin/env bash
# Guests, kernels and hosts that misbehave: an error that says what and why, and nothing left.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
nft add table inet theirs
nft add chain inet theirs output '{ type filter hook output priority 0 ; }'
nft add rule inet theirs output counter accept
theirs=$(nft list table inet theirs | sed 's/packets [0-9]* bytes [0-9]*//')
audit_picture >"$CASE_DIR/before"
up
is "others' rules are as they were" "$(nft list table inet theirs | sed 's/packets [0-9]* bytes [0-9]*//')" "$theirs"
mkdir "$FS/vms/box"
id=$(ls "$STATE/vms" | head -n 1)

ip link add "bg0-$id" type veth peer name theirs0
is "the tap's name is taken" "$(errno_write "$FS/vms/box/ctl" start)" EEXIST
like "error names it" "$(cat "$FS/vms/box/error")" "bg0-$id"
like "and the step" "$(cat "$FS/vms/box/error")" '^[0-9]+ tap:'
ok "it was not touched" ip link show "bg0-$id"
ip link del "bg0-$id"
is "then it starts" "$(errno_write "$FS/vms/box/ctl" start)" OK
is "error is empty again" "$(cat "$FS/vms/box/error")" ""

pid=$(vm_pid box)
kill -STOP "$pid"
began=$SECONDS
is "stop of a SIGSTOPped QEMU" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ok "is bounded" test $((SECONDS - began)) -lt 60
fails "it is gone" test -d "/proc/$pid"

is "start" "$(errno_write "$FS/vms/box/ctl" start)" OK
banger vm exec -d box -- sh -c 'cat /dev/zero > /dev/ttyS0' >/dev/null
banger vm exec -d box -- sh -c 'yes flood > /dev/ttyS0' >/dev/null
eventually "a flooded console is kept bounded" sh -c "[ \$(stat -c %s $STATE/vms/$id/console) -gt 100000 ]"
is "the VM answers" "$(banger vm exec box -- echo here)" here
ok "bounded" test "$(stat -c %s "$STATE/vms/$id/console")" -lt 5000000
is "panic" "$(banger vm exec -d box -- sh -c 'sleep 1; echo c > /proc/sysrq-trigger' >/dev/null; echo OK)" OK
eventually "a panicked guest is seen" grep -q failed "$FS/vms/box/state"
like "error says panic" "$(cat "$FS/vms/box/error")" 'panic'
like "health without a guest" "$(cat "$FS/vms/box/health")" 'agent'

echo 1000000 >"$FS/config/start_timeout_usec"
is "a guest that does not answer in time" "$(errno_write "$FS/vms/box/ctl" start)" ETIMEDOUT
like "error says so" "$(cat "$FS/vms/box/error")" 'agent'
is "no process is left" "$(cat "$FS/vms/box/pid")" 0
echo 120000000 >"$FS/config/start_timeout_usec"

(echo start >"$FS/vms/box/ctl") 2>/dev/null &
starter=$!
eventually "the operation is in ops/" sh -c "cat $FS/ops/*/kind | grep -q start"
# A background job of a script ignores SIGINT; any signal that ends it is as good.
kill -TERM $starter
wait $starter
eventually "Ctrl-C rolls back" grep -qx 'stopped\|failed\|created' "$FS/vms/box/state"
eventually "nothing is at work" sh -c "[ -z \"\$(ls $FS/ops)\" ]"
(echo start >"$FS/vms/box/ctl") 2>"$CASE_DIR/cancelled" &
starter=$!
eventually "an operation again" sh -c "ls $FS/ops | grep -q ."
echo cancel >"$FS/ops/$(ls "$FS/ops" | head -n 1)/ctl"
wait $starter
like "cancel through ops/: EINTR" "$(cat "$CASE_DIR/cancelled")" 'Interrupted'

(echo start >"$FS/vms/box/ctl") & a=$!
(echo start >"$FS/vms/box/ctl") & b=$!
wait $a; ra=$?
wait $b; rb=$?
is "a second start waits for the same end" "$ra$rb" 00

helper=$(helper_pid)
kill -9 "$helper"
await sh -c "! kill -0 $helper"
mkdir "$FS/vms/other"
is "no helper" "$(errno_write "$FS/vms/other/ctl" start)" ECONNREFUSED
like "error says what to do" "$(cat "$FS/vms/other/error")" 'banger up'
is "the running VM is as it was" "$(banger vm exec box -- echo here)" here
ok "up" banger up --owner "$OWNER"
is "start works again" "$(errno_write "$FS/vms/other/ctl" start)" OK

fails "wrong uid calling the helper" setpriv --reuid=12345 --regid=12345 --clear-groups perl -MSocket -e '
	socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die; connect($s, pack_sockaddr_un($ARGV[0])) or exit 1; exit 0' "$RUN/helper.sock"
case_end
