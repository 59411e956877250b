#!/usr/bin/env bash
# ssh, scp and sftp to an image that has no sshd, through the tree alone: the server is brought. The tree's own ssh_config is enough.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
[ -x /usr/sbin/dropbear ] || skip dropbear "no dropbear"
up
BOX=$FS/vms/box
mkdir "$BOX"
home=$CASE_DIR/home
mkdir "$home"
chown "$OWNER" "$home"
export PATH=$BANGER_BIN:$PATH
# Without a terminal: whoever wants to ask something fails.
run_ssh()
{
	local program=$1
	shift
	as_owner setsid -w timeout "$PATIENCE" "$program" -F "$FS/ssh_config" "$@"
}
like "one that does not run" "$(run_ssh ssh box.vm true 2>&1 </dev/null)" 'box is created: banger vm start box'
is "start" "$(errno_write "$BOX/ctl" start)" OK
is "no host key yet" "$(cat "$FS/known_hosts")" ""
is "its address" "$(cat "$FS/hosts")" "$(cat "$BOX/ip") box.vm"
ok "its network is taken down" banger vm exec box -- ip link set eth0 down
is "without a network" "$(run_ssh ssh box.vm 'hostname; id -un; echo $HOME' </dev/null 2>&1)" $'box\nroot\n/root'
like "the host key is banger's own" "$(cat "$FS/known_hosts")" '^box.vm ssh-ed25519 [A-Za-z0-9+/=]+$'
run_ssh ssh box.vm 'exit 7' </dev/null
is "its exit code" $? 7
head -c 3000000 /dev/urandom >"$home/data"
chown "$OWNER" "$home/data"
is "3 MB there and back" "$(run_ssh ssh box.vm cat <"$home/data" | sha256sum)" "$(sha256sum <"$home/data")"
ok "scp" run_ssh scp -q "$home/data" box.vm:/root/workspace/data
ok "arrived" cmp "$home/data" "$BOX/workspace/data"
like "sftp" "$(echo 'ls -1 /root/workspace' | run_ssh sftp -q -b - box.vm)" '^/root/workspace/data$'
like "a terminal" "$(run_ssh ssh -tt box.vm tty </dev/null 2>/dev/null)" '^/dev/pts/'
is "a login shell" "$(echo 'echo $0' | run_ssh ssh box.vm 2>/dev/null)" -sh
like "an agent" "$(as_owner ssh-agent sh -c "setsid -w timeout $PATIENCE ssh -A -F $FS/ssh_config box.vm 'test -S \"\$SSH_AUTH_SOCK\" && echo there'" </dev/null 2>&1)" there
pids=()
for i in 1 2 3 4; do run_ssh ssh box.vm "echo $i" </dev/null >"$CASE_DIR/out.$i" & pids+=($!); done
wait "${pids[@]}"
is "four at once" "$(cat "$CASE_DIR"/out.*)" $'1\n2\n3\n4'
# Or one of them would be taken for the next, and that one never ended.
eventually "nobody uses the VM then" grep -qx 'uses 0' "$BOX/idle"
run_ssh ssh box.vm 'sleep 1000' </dev/null &
eventually "a connection is a use of the VM" grep -qx 'uses 1' "$BOX/idle"
for pid in $(pgrep -f 'ssh-config connect box.vm'); do
	[ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ] && kill -KILL "$pid"
done
wait $! 2>/dev/null
eventually "a client that is killed leaves no job" sh -c "! ls $BOX/exec | grep -q '[0-9]'"
before=$(cat "$FS/known_hosts")
is "restart" "$(errno_write "$BOX/ctl" restart)" OK
is "the same key" "$(run_ssh ssh box.vm 'echo in' </dev/null 2>&1; cat "$FS/known_hosts")" $'in\n'"$before"
case_end
