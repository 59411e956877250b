# shellcheck shell=bash
# What a case of tests/host is made of. It runs as root in the host itself (tests/host/run). The words for what must hold are those of case.sh:
#
#   . "$(dirname "$0")/../lib/host.sh"
#   host_begin          # nothing of banger is on the host; or `host_begin ready`: an instance is, and has run a VM
#   ...
#   host_end            # the audit: all is as it was at the beginning; the plan
#
# A case may reboot the host: `host_reboot STAGE COMMAND...` doesn't come back; the case begins anew when the host is there again, with HOST_STAGE set to
# STAGE, where it was empty before, and goes on counting.

. "$(dirname "${BASH_SOURCE[0]}")/case.sh"

OWNER=kim
BANGER_BIN=/usr/bin
FS=/run/banger/fs
RUN=/run/banger
STATE=/var/lib/banger
PACKAGE=$TOP/banger.deb
# Guests' kernel, where the host has no network to get one by.
KERNEL=$(ls /var/lib/banger-host/linux-image-*.deb 2>/dev/null)
HOST_STAGE=${HOST_STAGE:-}
CASE_DIR=/root/banger-case

host_emulated()
{
	grep -q 'QEMU TCG' /proc/cpuinfo
}

# In an emulated host the emulated KVM works, slowly, and emulation in it more slowly: the proof of it is given the time.
host_be_patient()
{
	if host_emulated; then
		echo kvm >"$FS/config/accel" && echo "${PATIENCE}000000" >"$FS/config/start_timeout_usec"
	fi
}

# banger from its package, an instance of OWNER's, which has run a VM. What is there already stays.
host_make_ready()
{
	[ ! -e /usr/bin/banger ] || [ ! -e "$FS/version" ] || return 0
	id -u "$OWNER" >/dev/null 2>&1 || { useradd --create-home --shell /bin/bash "$OWNER" && touch "$TOP/made-owner"; } || return 1
	export DEBIAN_FRONTEND=noninteractive
	apt-get install -y -q "$PACKAGE" >/dev/null && banger system install --owner "$OWNER" && host_be_patient || return 1
	[ -z "$KERNEL" ] || as_owner banger kernel import "$KERNEL" debian || return 1
	as_owner mkdir "$FS/vms/first" && as_owner sh -c "echo start >$FS/vms/first/ctl && echo stop >$FS/vms/first/ctl && rmdir $FS/vms/first" && return 0
	cat "$FS/vms/first/error"
	tail -c 2000 "$FS/vms/first/console"
	return 1
}

# Nothing of banger, nor of these tests but their folder.
host_clean()
{
	[ ! -e /usr/bin/banger ] || { banger system uninstall --purge && apt-get purge -y -q banger; } >/dev/null
	[ ! -e "$TOP/made-owner" ] || userdel -r "$OWNER" 2>/dev/null
	rm -rf "$CASE_DIR"
}

# What there is on the host of banger's making, files of its package included.
host_picture()
{
	echo "links:"; ip -o link | awk -F': ' '{print $2}' | sort
	echo "nft:"; nft list tables | sort | while read -r table; do nft list $table; done
	echo "mounts:"; awk '{print $5, $(NF-2)}' /proc/self/mountinfo | grep -i -e banger -e fuse | sort
	echo "processes:"; ps -eo comm= | grep -E '^(banger|qemu)' | sort
	echo "device-mapper:"; dmsetup ls | sort
	echo "loops:"; losetup -l -n -O BACK-FILE | sort
	echo "files:"; find / -xdev \( -path /proc -o -path /sys -o -path /root -o -path /var/log -o -path /var/lib/banger-host -o -name 'systemd-private-*' \) -prune -o -name '*banger*' -print | sort
	find /run -name '*banger*' ! -name banger.lock | sort # a lock between commands, which a reboot takes
	echo "units:"; systemctl list-units --all --no-legend --plain 'banger*' | awk '{print $1, $3}'
	systemctl list-unit-files --no-legend 'banger*'
	# Without the folder, once the mount namespace that it was opened in has gone.
	echo "kept descriptors:"; find /proc/1/fd -lname '*/fuse' | wc -l
}

host_begin()
{
	trap 'case_cut_off "$BASH_COMMAND"' INT TERM
	[ -z "$HOST_STAGE" ] || return 0
	if [ "${1:-}" = ready ]; then
		host_make_ready || { fail "the host is ready"; echo "1..$CASE_COUNT"; exit 1; }
	else
		host_clean
	fi
	rm -rf "$CASE_DIR"
	mkdir -m 0755 "$CASE_DIR"
	host_picture >"$CASE_DIR/before"
}

# host_reboot STAGE [COMMAND...]: by COMMAND, or as a power cut does it.
host_reboot()
{
	local stage=$1
	shift
	sync -f "$CASE_DIR"
	[ $# -gt 0 ] || set -- sh -c 'echo b >/proc/sysrq-trigger'
	echo "# reboot HOST_STAGE=$stage CASE_COUNT=$CASE_COUNT CASE_FAILED=$CASE_FAILED"
	# What was said must have left, and we with it, before there is no network any more.
	exec setsid sh -c 'exec >/dev/null 2>&1 </dev/null; sleep 1; "$@"; sleep 600' sh "$@"
}

# The property NAME of UNIT.
unit()
{
	systemctl show "$1" --property="$2" --value
}

host_end()
{
	host_picture >"$CASE_DIR/after"
	is "nothing of banger is left" "$(diff "$CASE_DIR/before" "$CASE_DIR/after")" ""
	[ -n "${KEEP:-}" ] || rm -rf "$CASE_DIR"
	echo "1..$CASE_COUNT"
	exit $((CASE_FAILED > 0))
}
