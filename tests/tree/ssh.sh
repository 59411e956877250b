#!/usr/bin/env bash
# `ssh NAME.vm`, as the owner, to an image that has an sshd: no prompt, no password, no network.
. "$(dirname "$0")/../lib/case.sh"
# A case begins anew in its namespaces, with what it had exported.
if [ -z "${CASE_INSIDE:-}" ]; then
	export BANGER_TEMPLATE=${BANGER_TEMPLATE:-}-debian
	[ -f "$BANGER_TEMPLATE.skip" ] && skip mirror "apt can't reach its archive: $(cat "$BANGER_TEMPLATE.skip")"
fi
case_begin "$@"

# The owner has a home of his own here: ssh looks for it in passwd(5). A copy of the whole folder: whoever renames a file onto the machine's own
# passwd would take away what is mounted over that one.
home=$CASE_DIR/home
mkdir -m 0700 "$home" "$home/.ssh"
cp -a /etc "$CASE_DIR/etc"
awk -F: -v OFS=: -v owner="$OWNER" -v home="$home" '$1 == owner { $6 = home; $7 = "/bin/sh" } { print }' /etc/passwd >"$CASE_DIR/etc/passwd"
mount --bind "$CASE_DIR/etc" /etc
printf 'Host *\r\n\tServerAliveInterval 60\r\n\tUser somebody' >"$home/.ssh/config"
chmod 0640 "$home/.ssh/config"
cp "$home/.ssh/config" "$CASE_DIR/config"
chown -R "$OWNER" "$home"
export HOME=/nonexistent
audit_picture >"$CASE_DIR/before"

# Without a terminal: whoever wants to ask something fails.
ssh_as_owner()
{
	as_owner setsid -w timeout "$PATIENCE" ssh "$@"
}

up
like "the instance has a key" "$(cat "$FS/host/ssh_key")" '^ssh-ed25519 [A-Za-z0-9+/=]+ banger$'
key=$(cat "$FS/host/ssh_key")
ok "install" as_owner "$BANGER_BIN/banger" ssh-config install
ok "and again" as_owner "$BANGER_BIN/banger" ssh-config install
is "one line more" "$(head -n 1 "$home/.ssh/config")" "Include \"$home/.ssh/banger.conf\""
ok "the rest as it was" sh -c "tail -n +2 '$home/.ssh/config' | cmp - '$CASE_DIR/config'"
like "no such VM" "$(ssh_as_owner box.vm true 2>&1 </dev/null)" 'box: there is no such VM'
mkdir "$FS/vms/box"
like "one that does not run" "$(ssh_as_owner box.vm true 2>&1 </dev/null)" 'box is created: banger vm start box'
echo debian >"$FS/vms/box/image"
echo 512M >"$FS/vms/box/memory"
is "start" "$(errno_write "$FS/vms/box/ctl" start)" OK
is "the first connection" "$(ssh_as_owner box.vm hostname </dev/null 2>&1)" box
# PAM greets with "System is booting up" before that (systemd-user-sessions.service(8)).
await banger vm exec box -- systemctl -q is-active systemd-user-sessions.service
is "as root" "$(ssh_as_owner box.vm id -un </dev/null 2>&1)" root
ssh_as_owner box.vm 'exit 7' </dev/null
is "its exit code" $? 7
head -c 3000000 /dev/urandom >"$CASE_DIR/data"
is "3 MB there and back" "$(ssh_as_owner box.vm cat <"$CASE_DIR/data" | sha256sum)" "$(sha256sum <"$CASE_DIR/data")"
install -o "$OWNER" -m 0600 "$CASE_DIR/data" "$home/data"
ok "scp" as_owner setsid -w timeout "$PATIENCE" scp -q "$home/data" box.vm:/root/workspace/data
ok "arrived" cmp "$home/data" "$FS/vms/box/workspace/data"
is "known by its host keys, nothing is written down" "$(ls "$home/.ssh")" "banger.conf
config"
like "it is banger's own" "$(cat "$FS/known_hosts")" '^box.vm ssh-ed25519 [A-Za-z0-9+/=]+$'
echo 'box.vm ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' >"$CASE_DIR/other_hosts"
like "another's host key is refused" "$(ssh_as_owner -o UserKnownHostsFile="$CASE_DIR/other_hosts" box.vm true 2>&1 </dev/null)" 'Host key verification failed'
ssh-keygen -q -t ed25519 -N '' -C of-the-user -f "$CASE_DIR/user_key"
chown "$OWNER" "$CASE_DIR/user_key"
like "the user's agent is forwarded, and no key of it copied" "$(as_owner ssh-agent sh -c "ssh-add -q $CASE_DIR/user_key && setsid -w timeout $PATIENCE ssh -A box.vm ssh-add -l" </dev/null 2>&1)" 'of-the-user'
# sshd's own keys: none of those that came with the image, which every VM of it would have.
image_key=$(for image in "$STATE"/images/*.ext4; do debugfs -R "cat /etc/ssh/ssh_host_ed25519_key.pub" "$image" 2>/dev/null; done | cut -d ' ' -f 2)
host_key=$(banger vm exec box -- cat /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 2)
ok "the image came with one" test -n "$image_key"
ok "the VM has another" test "$image_key" != "$host_key"
is "the one that it is known by" "$(cut -d " " -f 1-3 "$FS/known_hosts")" "box.vm ssh-ed25519 $host_key"
is "and no other kind" "$(banger vm exec box -- sh -c 'cd /etc/ssh; echo ssh_host_*; stat -c %a ssh_host_ed25519_key')" "ssh_host_ed25519_key ssh_host_ed25519_key.pub
600"
banger vm exec box -- sh -c 'ssh-keygen -q -t ecdsa -N "" -f /etc/ssh/ssh_host_ecdsa_key; sync'

# The keys that the guest has of its own stay, and ours is there once.
banger vm exec box -- sh -c 'printf "ssh-ed25519 AAAA mine" >>/root/.ssh/authorized_keys; chmod 0640 /root/.ssh/authorized_keys; sync'
is "restart" "$(errno_write "$FS/vms/box/ctl" restart)" OK
is "its keys" "$(banger vm exec box -- cat /root/.ssh/authorized_keys)" "$key
ssh-ed25519 AAAA mine"
banger vm exec box -- sh -c 'printf "ssh-ed25519 AAAA mine" >/root/.ssh/authorized_keys; sync'
is "restart" "$(errno_write "$FS/vms/box/ctl" restart)" OK
is "its keys, and ours again" "$(banger vm exec box -- cat /root/.ssh/authorized_keys)" "ssh-ed25519 AAAA mine
$key"
is "their mode" "$(banger vm exec box -- stat -c %a /root/.ssh/authorized_keys)" 640
is "what has been made of host keys stays" "$(banger vm exec box -- sh -c 'cd /etc/ssh; echo ssh_host_*; cat ssh_host_ed25519_key.pub' | cut -d ' ' -f 1-2)" \
	"ssh_host_ecdsa_key ssh_host_ecdsa_key.pub
ssh-ed25519 $host_key"
is "and it is let in" "$(ssh_as_owner box.vm echo in </dev/null 2>&1)" in
is "stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK

ok "uninstall" as_owner "$BANGER_BIN/banger" ssh-config uninstall
ok "byte for byte" cmp "$home/.ssh/config" "$CASE_DIR/config"
is "its mode" "$(stat -c %a "$home/.ssh/config")" 640
is "nothing else" "$(ls -A "$home/.ssh")" config
is "nothing to do" "$(as_owner "$BANGER_BIN/banger" ssh-config uninstall)" "nothing was installed"
umount /etc
case_end
