# shellcheck shell=bash
# GUESTS=process of a case: its VMs' guests are processes of this machine, at its own speed, and not under an emulator. QEMU's place is taken by tests/tree/processvm.c;
# as agent it reaches the same banger-guest that guests have, in namespaces of its own with the image as its root, once the VM is started (guest_keeper.pl). No
# kernel, console, network or pause of their own: for cases about files, jobs and repositories.

# Before the first VM. Image and home are on disks of their own, which last as long as the case.
process_guests()
{
	GUESTS_DIR=$(mktemp -d /tmp/banger-guests.XXXXXX)
	mkdir "$GUESTS_DIR/doors"
	chmod 0755 "$GUESTS_DIR" "$GUESTS_DIR/doors"
	cp "$(dirname "$BANGER_BIN")/tree/processvm" "$GUESTS_DIR/vmm"
	chmod 0755 "$GUESTS_DIR/vmm"
	# The template's, its only one. The helper lets nobody but root change what it runs, and a VMM see few folders: this is one.
	cp --sparse=always "$STATE"/images/*.ext4 "$GUESTS_DIR/image" && mount --bind "$GUESTS_DIR/vmm" /usr/bin/qemu-system-x86_64 &&
		mount --bind "$GUESTS_DIR/doors" /usr/share/seabios || return 1
	perl "$TOP/tests/lib/guest_keeper.pl" "$GUESTS_DIR" "$RUN" "$BANGER_BIN/banger-guest" </dev/null &
	GUESTS_KEEPER=$!
}

process_guests_end()
{
	[ -z "${GUESTS_KEEPER:-}" ] || { kill "$GUESTS_KEEPER" && wait "$GUESTS_KEEPER"; }
	rm -rf "$GUESTS_DIR"
}
