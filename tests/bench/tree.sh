#!/usr/bin/env bash
# What the tree costs: a read of `state` beside the plainest libfuse file system, listings, mkdir, memory, idle wake-ups.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
BENCH=${BENCH:-$(dirname "$BANGER_BIN")/bench}
ROUNDS=${ROUNDS:-5000}
up
mkdir "$FS/vms/box"
plain=$CASE_DIR/plain
mkdir "$plain"
plainest()
{
	"$BENCH/plainfs" "$plain" "$1" &
	local pid=$!
	await test -e "$plain/hello"
	"$BENCH/readloop" "$plain/hello" "$ROUNDS"
	umount "$plain"
	wait $pid
}
for round in 1 2 3; do
	read -r single _ <<<"$(plainest single)"
	read -r multi _ <<<"$(plainest multi)"
	read -r ours _ <<<"$("$BENCH/readloop" "$FS/vms/box/state" "$ROUNDS")"
	read -r dynamic _ <<<"$("$BENCH/readloop" "$FS/vms/box/uptime" "$ROUNDS")"
	best=$((single < multi ? single : multi))
	echo "open+read+close, median of $ROUNDS, round $round: state $ours ns, uptime (not cached) $dynamic ns," \
		"plainest libfuse $single ns single, $multi ns multi: state/best = $(perl -e "printf '%.2f', $ours / $best")"
done
[ "${ours:-0}" -gt 0 ] && [ "${best:-0}" -gt 0 ] || fail "measured nothing"

ls -l "$FS/vms/box" >/dev/null
requests() { awk '$1 == "fuse_requests_total" {print $2}' "$FS/metrics"; }
before=$(requests)
ls -l "$FS/vms/box" >/dev/null
after=$(requests)
base=$(requests)
echo "ls -l of one VM, warm: $((after - before - (base - after))) requests"

clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
began=$(clock)
for i in {1..1000}; do mkdir "$FS/vms/v$i"; done
ended=$(clock)
echo "mkdir: $(((ended - began) / 1000)) us each, the mkdir process included"
for i in 1 2 3 4 5; do
	began=$(clock)
	ls "$FS/vms" >/dev/null
	ended=$(clock)
	echo "ls vms, 1001 defined: $((ended - began)) us, the ls process included"
done
pid=$(fsd_pid)
echo "fsd resident with 1001 VMs defined: $(awk '/^VmRSS/{print $2}' "/proc/$pid/status") KiB"
switches() { cat /proc/"$pid"/task/*/status | awk '/ctxt_switches/{s += $2} END {print s}'; }
sleep 15
before=$(switches)
sleep 20
after=$(switches)
echo "fsd idle for 20 s: $((after - before)) wake-ups"
[ "$CASE_FAILED" = 0 ] || case_logs
exit $((CASE_FAILED > 0))
