#!/usr/bin/env bash
# Ten thousand who read wait/failed, and as many descriptors of it polled: all wake, and another reader is not slowed meanwhile. The guest has no time to come up.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
waiters=10000
ulimit -Sn "$(ulimit -Hn)"
[ "$(ulimit -n)" -gt $((waiters + 100)) ] || skip nofile "no more than $(ulimit -n) descriptors"
mountpoint -q /sys/fs/fuse/connections || mount -t fusectl fusectl /sys/fs/fuse/connections || fail "fusectl"
up
mkdir "$FS/vms/box"
echo 100000 >"$FS/config/start_timeout_usec"
"$BANGER_BIN/../tree/waiters" "$FS/vms/box/wait/failed" $waiters "$FS/vms/box/uptime" >"$CASE_DIR/out" &
pid=$!
eventually "all wait" grep -q ^parked "$CASE_DIR/out"
memory=$(awk '/^VmRSS/{print $2}' "/proc/$(fsd_pid)/status")
fails "a start that fails" sh -c "echo start >$FS/vms/box/ctl"
wait $pid
diag "$(cat "$CASE_DIR/out")"
diag "the daemon's memory with all waiting: $memory KiB"
read -r _ alone _ < <(grep ^alone "$CASE_DIR/out")
read -r _ parked _ < <(grep ^parked "$CASE_DIR/out")
read -r _ read polled _ worst < <(grep ^woken "$CASE_DIR/out")
is "all readers have their answer, and all who polled" "$read $polled" "$waiters $waiters"
ok "others are as fast while they wait ($alone us, then $parked us)" test "$parked" -lt $((3 * alone + 100))
ok "and hardly held up when they wake ($worst us at worst)" test "$worst" -lt 2000000
case_end
