#!/usr/bin/env bash
# The host loses its power with VMs running: after it is back they are known to have ended, and start again; nothing is left of what they had.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready
case $HOST_STAGE in
'')
	for vm in one two; do
		ok "the owner makes $vm" as_owner mkdir "$FS/vms/$vm"
		ok "starts it" as_owner sh -c "echo start >$FS/vms/$vm/ctl"
		ok "and writes a file in it, for good" as_owner banger vm exec "$vm" -- sh -c "echo kept >/root/file && echo kept >/etc/file && sync"
	done
	host_reboot after
	;;
after)
	eventually "the tree is there again" test -e "$FS/version"
	for vm in one two; do
		is "$vm has failed" "$(cat "$FS/vms/$vm/state")" failed
		like "it says why" "$(cat "$FS/vms/$vm/error")" "the host went down while it ran"
		is "and has no process" "$(cat "$FS/vms/$vm/pid")" 0
	done
	is "no VMM runs" "$(pgrep -c qemu)" 0
	is "no tap is there" "$(ip -o link | grep -c 'bg0-')" 0
	ok "one starts" as_owner sh -c "echo start >$FS/vms/one/ctl"
	is "with its file" "$(as_owner banger vm exec one -- cat /root/file)" kept
	is "and the one on its root disk" "$(as_owner banger vm exec one -- cat /etc/file)" kept
	ok "stops" as_owner sh -c "echo stop >$FS/vms/one/ctl"
	ok "they are deleted" as_owner rmdir "$FS/vms/one" "$FS/vms/two"
	;;
esac
host_end
