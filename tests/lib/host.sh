# shellcheck shell=bash
# What a case of tests/host is made of. It runs as root in the host itself (tests/host/run), where nothing of banger is installed before, and nothing
# may be afterwards. The words for what must hold are those of case.sh:
#
#   . "$(dirname "$0")/../lib/host.sh"
#   host_begin
#   ...
#   host_end            # the audit, the plan

. "$(dirname "${BASH_SOURCE[0]}")/case.sh"

OWNER=kim
BANGER_BIN=/usr/bin
FS=/run/banger/fs
PACKAGE=$TOP/banger.deb
KERNEL=$(ls /var/lib/banger-host/linux-image-*.deb)

# What there is on the host of banger's making, files of its package included.
host_picture()
{
	echo "links:"; ip -o link | awk -F': ' '{print $2}' | sort
	echo "nft:"; nft list ruleset
	echo "mounts:"; awk '{print $5, $(NF-2)}' /proc/self/mountinfo | grep -i -e banger -e fuse | sort
	echo "processes:"; ps -eo comm= | grep -E '^(banger|qemu)' | sort
	echo "files:"; find / -xdev \( -path /proc -o -path /sys -o -path /root -o -path /var/log -o -path /var/lib/banger-host \) -prune -o -name '*banger*' -print | sort
	find /run -name '*banger*' | sort
	echo "units:"; systemctl list-units --all --no-legend --plain 'banger*' | awk '{print $1, $3}'
	systemctl list-unit-files --no-legend 'banger*'
	echo "kept descriptors:"; find /proc/1/fd -lname /dev/fuse | wc -l
}

host_begin()
{
	trap 'exit 130' INT TERM
	CASE_DIR=$(mktemp -d /tmp/host-case.XXXXXX)
	trap 'rm -rf "$CASE_DIR"' EXIT
	host_picture >"$CASE_DIR/before"
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
	if [ "$CASE_FAILED" != 0 ]; then
		journalctl --no-pager -n 80 -u 'banger*' | sed 's/^/# /'
	fi
	echo "1..$CASE_COUNT"
	exit $((CASE_FAILED > 0))
}
