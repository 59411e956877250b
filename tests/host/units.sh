#!/usr/bin/env bash
# The units as they run: how much they give away, where a VM's processes live, what the journal knows of an operation, and what becomes of a VM whose scope,
# tap or tables somebody removes.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready

# at_most UNIT LIMIT: the score of `systemd-analyze security`.
at_most()
{
	local score
	score=$(systemd-analyze security --no-pager "$1" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p')
	ok "$1 is exposed by ${score:-?}, at most $2" awk -v score="${score:-99}" -v limit="$2" 'BEGIN {exit !(score <= limit)}'
}
at_most banger-helper.service 3.5
at_most banger.service 1.2
at_most banger-vsock.service 0.8
is "the helper writes nowhere but in /run/banger" "$(nsenter -t "$(unit banger-helper.service MainPID)" -m \
	sh -c 'for at in /etc /usr /var/lib /root /home /boot /run/banger; do [ -w $at ] && touch $at/.probe 2>/dev/null && rm $at/.probe && echo $at; done')" /run/banger
is "the daemon in its state and its runtime folder alone" "$(nsenter -t "$(unit banger.service MainPID)" -m \
	sh -c 'for at in /etc /usr /home/kim /tmp /var/tmp /var/lib/banger /run/banger/fsd; do touch $at/.probe 2>/dev/null && rm $at/.probe && echo $at; done' | xargs)" \
	"/var/lib/banger /run/banger/fsd"
is "of the helper's processes one is in the host's mount namespace" \
	"$(for pid in $(pgrep -f 'banger-helper --owner'); do [ "$(readlink "/proc/$pid/ns/mnt")" = "$(readlink /proc/1/ns/mnt)" ] && cat "/proc/$pid/comm"; done)" banger-mounter
is "nobody else may speak to the helper" "$(setpriv --reuid=65534 --regid=65534 --clear-groups perl -MSocket -e \
	'socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0); connect($s, pack_sockaddr_un("/run/banger/helper.sock")) ? print "yes" : print "$!"')" "Permission denied"

echo one >"$CASE_DIR/at-tmp" && cp "$CASE_DIR/at-tmp" /tmp/seen-by-banger
ok "the daemon sees what its owner has in /tmp" nsenter -t "$(unit banger.service MainPID)" -m cat /tmp/seen-by-banger
rm /tmp/seen-by-banger

ok "the owner makes a VM" as_owner mkdir "$FS/vms/box"
ok "of 256 MiB and two processors" as_owner sh -c "echo 256M >$FS/vms/box/memory && echo 2 >$FS/vms/box/vcpus"
ok "starts it" as_owner sh -c "echo start >$FS/vms/box/ctl"
vmm=$(vm_pid box)
scope=$(awk -F/ '{print $NF}' "/proc/$vmm/cgroup")
like "its VMM is in a scope" "$scope" '^banger-vm-[0-9]+\.scope$'
is "below banger.slice" "$(cat "/proc/$vmm/cgroup")" "0::/banger.slice/$scope"
is "with its reaper and nobody else" "$(systemd-cgls --no-pager -u "$scope" | grep -c '[0-9] ')" 2
is "its memory is bounded" "$(unit "$scope" MemoryMax)" $((256 * 1048576 * 17 / 16 + 512 * 1048576))
is "and its threads" "$(unit "$scope" TasksMax)" 130
is "the units have none of it" "$(cat /sys/fs/cgroup/banger.slice/banger*.service/cgroup.procs | grep -cx "$vmm")" 0

op=$(journalctl --no-pager -o json -u banger-helper CALL=launch | tail -n 1 | perl -MJSON::PP -ne 'print decode_json($_)->{OPERATION}')
like "the helper's journal has the operation" "$op" '^[0-9]+$'
is "as the daemon's has it, with the VM" "$(journalctl --no-pager -o json -u banger "OPERATION=$op" | tail -n 1 |
	perl -MJSON::PP -ne '$j = decode_json($_); print "$j->{VM} $j->{KIND}"')" "box start"

ok "the scope is stopped by hand" systemctl stop "$scope"
eventually "the VM is known to have ended" sh -c "[ \$(cat $FS/vms/box/state) != running ]"
like "and why" "$(cat "$FS/vms/box/error")" 'signal 15|killed|ended'
ok "it starts again" as_owner sh -c "echo start >$FS/vms/box/ctl"
tap=$(ip -o link | grep -o 'bg0-[0-9]*' | head -n 1)
ok "its tap is removed by hand" ip link del "$tap"
is "it runs on" "$(cat "$FS/vms/box/state")" running
is "and answers" "$(as_owner banger vm exec box -- hostname)" box
ok "the table is removed by hand" nft delete table inet banger
like "doctor says so" "$(banger doctor)" 'nft +FAIL|FAIL.*nft'
ok "banger up mends it" banger up
ok "the table is there" nft list table inet banger
ok "the VM stops" as_owner sh -c "echo stop >$FS/vms/box/ctl"
ok "and is deleted" as_owner rmdir "$FS/vms/box"
host_end
