#!/usr/bin/env bash
# A whole Debian with systemd, as `build debian` makes it.
. "$(dirname "$0")/../lib/case.sh"
# A case begins anew in its namespaces, with what it had exported.
if [ -z "${CASE_INSIDE:-}" ]; then
	export BANGER_TEMPLATE=${BANGER_TEMPLATE:-}-debian
	[ -f "$BANGER_TEMPLATE.skip" ] && skip mirror "apt can't reach its archive: $(cat "$BANGER_TEMPLATE.skip")"
fi
case_begin "$@"
up
ok "the image is there" test -d "$FS/images/debian"
mkdir "$FS/vms/box"
echo debian >"$FS/vms/box/image"
echo 512M >"$FS/vms/box/memory"
is "start" "$(errno_write "$FS/vms/box/ctl" start)" OK
is "systemd is its init" "$(banger vm exec box -- readlink /proc/1/exe)" /usr/lib/systemd/systemd
eventually "it comes up whole" sh -c "'$BANGER_BIN/banger' vm exec box -- systemctl is-system-running 2>&1 | grep -Eqx 'running|degraded'"
is "nothing of it failed" "$(banger vm exec box -- systemctl list-units --failed --plain --no-legend)" ""
is "sshd listens" "$(banger vm exec box -- systemctl is-active ssh)" active
is "its name" "$(banger vm exec box -- hostname)" box
is "its address" "$(banger vm exec box -- ip -4 -o address show dev eth0 | sed 's/.*inet \([0-9.]*\).*/\1/')" "$(cat "$FS/vms/box/ip")"
is "a file from the host" "$(echo hello >"$FS/vms/box/workspace/file" && banger vm exec box -- cat /root/workspace/file)" hello
like "stats" "$(cat "$FS/vms/box/stats")" '^memory_total [0-9]+$'
is "restart" "$(errno_write "$FS/vms/box/ctl" restart)" OK
is "the file is still there" "$(cat "$FS/vms/box/workspace/file")" hello
began=$SECONDS
is "stop" "$(errno_write "$FS/vms/box/ctl" stop)" OK
ok "within its time" test $((SECONDS - began)) -lt 60
is "in order" "$(cat "$FS/vms/box/state")" stopped
is "without an error" "$(cat "$FS/vms/box/error")" ""
case_end
