#!/usr/bin/env bash
# A start through the tree beside the same VMM by hand: same command line, kernel, initramfs and copies of the disks, both timed to the
# agent's answer.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
BENCH=${BENCH:-$(dirname "$BANGER_BIN")/bench}
up -o default_storage=overlay # its files are what the copy by hand is made of
mkdir "$FS/vms/box"
echo start >"$FS/vms/box/ctl" || { fail "start"; case_logs; exit 1; }
pid=$(vm_pid box)
hand=$CASE_DIR/hand
mkdir "$hand"
# The command line as it is, with paths for its descriptors: copies of the disks, kernel and initramfs, and of its sockets only the agent's.
agent=$hand/agent
for fd in "/proc/$pid/fd/"*; do
	case $(readlink "$fd") in
	*/images/*) cp --sparse=always "$fd" "$hand/disk1" ;;
	*/overlay.ext4) cp --sparse=always "$fd" "$hand/disk2" ;;
	*/work.ext4) cp --sparse=always "$fd" "$hand/disk3" ;;
	esac
done
mapfile -d '' -t argv <"/proc/$pid/cmdline"
command=()
for ((i = 0; i < ${#argv[@]}; i++)); do
	arg=${argv[i]}
	case $arg in
	-add-fd) i=$((i + 1)); continue ;;
	/proc/self/fd/*) cp "/proc/$pid/fd/${arg##*/}" "$hand/file${arg##*/}"; arg=$hand/file${arg##*/} ;;
	socket,id=agent,*) arg=socket,id=agent,path=$agent,server=on,wait=off ;;
	socket,id=*) arg=${arg#socket,}; arg=null,${arg%%,*} ;;
	vhost-vsock-device,*) command+=(virtio-serial-device -chardev "socket,id=agent,path=$agent,server=on,wait=off" -device); arg=virtserialport,chardev=agent,name=banger.agent ;;
	tap,*) arg=tap,id=net,ifname=byhand,script=no,downscript=no ;;
	esac
	command+=("${arg//\/dev\/fdset\//$hand/disk}")
done
cp "$(find "$RUN/fsd/vm" -name token)" "$hand/token"
echo stop >"$FS/vms/box/ctl"
ip tuntap add dev byhand mode tap vnet_hdr
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
ours=() bare=() share=()
for ((round = 1; round <= ${BENCH_ROUNDS:-10}; round++)); do
	began=$(clock)
	echo start >"$FS/vms/box/ctl" || fail "start"
	ours+=($(($(clock) - began)))
	# The calls of that start, by the helper's own clock.
	share+=("$(perl -ne '
		/ op=(\d+) .*call=([a-z-]+) .*usec=(\d+)/ or next;
		$of{$1} += $3;
		$last = $1 if $2 eq "launch";
		END { print $of{$last} }' "$RUN/helper.log")")
	echo stop >"$FS/vms/box/ctl"
	rm -f "$agent"
	began=$(clock)
	"${command[@]}" >"$hand/log" 2>&1 &
	vmm=$!
	"$BENCH/hellowait" "$agent" "$hand/token" || { fail "by hand: no agent"; diag "$(tail -n 5 "$hand/log")"; }
	bare+=($(($(clock) - began)))
	kill $vmm
	wait $vmm 2>/dev/null
done
ip link del byhand
middle() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
echo "echo start: median $(middle "${ours[@]}") us of ${#ours[@]}; by hand: $(middle "${bare[@]}") us; more: $(($(middle "${ours[@]}") - $(middle "${bare[@]}"))) us"
echo "the helper's share of a start: median $(middle "${share[@]}") us"
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
