#!/usr/bin/env bash
# Several VMs at once, and one over and over: all succeed, and memory and descriptors end where they were.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
for i in 1 2 3 4; do mkdir "$FS/vms/box$i"; done
for i in 1 2 3 4; do (echo start >"$FS/vms/box$i/ctl") & pids[i]=$!; done
for i in 1 2 3 4; do
	wait "${pids[i]}"
	is "box$i of four started" "$?$(cat "$FS/vms/box$i/state")" 0running
done
is "four addresses" "$(cat "$FS"/vms/*/ip | sort -u | wc -l)" 4
first=$(cat "$FS/vms/box1/ip") second=$(cat "$FS/vms/box2/ip")
ok "the gateway answers" banger vm exec box1 -- ping -c 1 -W 20 "$(banger vm exec box1 -- sh -c "ip route | sed -n 's/default via \([0-9.]*\).*/\1/p'")"
fails "guests are shielded from each other" banger vm exec box1 -- ping -c 1 -W 2 "$second"
for i in 1 2 3 4; do (echo stop >"$FS/vms/box$i/ctl") & pids[i]=$!; done
wait "${pids[@]}"
is "all stopped" "$(cat "$FS"/vms/*/state | sort | uniq -c | awk '{print $1 $2}')" 4stopped
for i in 1 2 3 4; do rmdir "$FS/vms/box$i"; done

round() { mkdir "$FS/vms/r" && echo start >"$FS/vms/r/ctl" && echo stop >"$FS/vms/r/ctl" && rmdir "$FS/vms/r"; }
descriptors() { ls "/proc/$(fsd_pid)/fd" | wc -l; ls "/proc/$(helper_pid)/fd" | wc -l; }
rss() { awk '/^VmRSS/{print $2}' "/proc/$(fsd_pid)/status"; }
rounds=${ROUNDS:-30}
round && round && round
fds=$(descriptors) memory=$(rss) good=0
for ((i = 0; i < rounds; i++)); do round && good=$((good + 1)); done
is "$rounds rounds of a whole life" $good $rounds
is "descriptors are where they were" "$(descriptors)" "$fds"
if grep -aq __asan_init "$BANGER_BIN/banger-fsd"; then
	diag "memory is not looked at with sanitizers"
else
	ok "memory too ($memory KiB, then $(rss))" test $(($(rss) - memory)) -lt 1024
fi
case_end
