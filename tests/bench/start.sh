#!/usr/bin/env bash
# A start through the tree beside the same VMM by hand: same command line, kernel, initramfs and copies of the disks, both timed to the
# agent's answer.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
BENCH=${BENCH:-$(dirname "$BANGER_BIN")/bench}
up
mkdir "$FS/vms/box"
echo start >"$FS/vms/box/ctl" || { fail "start"; case_logs; exit 1; }
pid=$(vm_pid box)
hand=$CASE_DIR/hand
mkdir "$hand"
# The command line as it is, with its descriptors turned into paths: disks and initramfs copied, sockets made anew.
mapfile -d '' -t argv <"/proc/$pid/cmdline"
declare -A set_path
command=()
for ((i = 0; i < ${#argv[@]}; i++)); do
	arg=${argv[i]}
	if [ "$arg" = -add-fd ]; then
		i=$((i + 1))
		fd=$(sed -n 's/.*fd=\([0-9]*\).*/\1/p' <<<"${argv[i]}")
		set=$(sed -n 's/.*set=\([0-9]*\).*/\1/p' <<<"${argv[i]}")
		set_path[$set]=$hand/disk$set
		cp --sparse=always "/proc/$pid/fd/$fd" "$hand/disk$set"
		continue
	fi
	while [[ $arg =~ /proc/self/fd/([0-9]+) ]]; do
		cp "/proc/$pid/fd/${BASH_REMATCH[1]}" "$hand/file${BASH_REMATCH[1]}"
		arg=${arg//"${BASH_REMATCH[0]}"/"$hand/file${BASH_REMATCH[1]}"}
	done
	while [[ $arg =~ /dev/fdset/([0-9]+) ]]; do
		arg=${arg//"${BASH_REMATCH[0]}"/"${set_path[${BASH_REMATCH[1]}]}"}
	done
	if [[ $arg =~ ^socket,.*fd=([0-9]+) ]]; then
		n=${BASH_REMATCH[1]}
		arg=$(sed -E "s/,server=on//; s/,wait=off//; s/fd=$n/path=$hand\/sock$n,server=on,wait=off/" <<<"$arg")
		[[ $arg =~ id=agent|id=ag ]] && agent=$hand/sock$n
	fi
	[[ $arg =~ ^tap, ]] && arg=$(sed -E 's/tap,(id=[^,]*).*/tap,\1,ifname=byhand,script=no,downscript=no/' <<<"$arg")
	command+=("$arg")
done
if [ -z "${agent:-}" ]; then
	for c in "${command[@]}"; do [[ $c =~ chardev=([^,]*),.*banger.agent ]] && id=${BASH_REMATCH[1]}; done
	for c in "${command[@]}"; do [[ $c =~ id=$id, ]] && [[ $c =~ path=([^,]*) ]] && agent=${BASH_REMATCH[1]}; done
fi
echo stop >"$FS/vms/box/ctl"
ip tuntap add dev byhand mode tap vnet_hdr
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
ours=() bare=()
for round in ${BENCH_ROUNDS:-1 2 3 4 5}; do
	began=$(clock)
	echo start >"$FS/vms/box/ctl" || fail "start"
	ours+=($(($(clock) - began)))
	echo stop >"$FS/vms/box/ctl"
	rm -f "$hand"/sock*
	began=$(clock)
	"${command[@]}" >"$hand/log" 2>&1 &
	vmm=$!
	"$BENCH/hellowait" "$agent" || { fail "by hand: no agent"; diag "$(tail -n 5 "$hand/log")"; }
	bare+=($(($(clock) - began)))
	kill $vmm
	wait $vmm 2>/dev/null
done
ip link del byhand
middle() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
echo "echo start: median $(middle "${ours[@]}") us of ${#ours[@]}; by hand: $(middle "${bare[@]}") us; more: $(($(middle "${ours[@]}") - $(middle "${bare[@]}"))) us"
echo "  start:   ${ours[*]}"
echo "  by hand: ${bare[*]}"

for i in 1 2 3 4; do mkdir "$FS/vms/p$i"; done
began=$(clock)
for i in 1 2 3 4; do (echo start >"$FS/vms/p$i/ctl") & pids[i]=$!; done
for i in 1 2 3 4; do wait "${pids[i]}" || fail "p$i"; done
four=$(($(clock) - began))
echo "4 VMs started at once: $four us = $(perl -e "printf '%.2f', $four / $(middle "${ours[@]}")") x one"
down
[ "$CASE_FAILED" = 0 ] || case_logs
exit $((CASE_FAILED > 0))
