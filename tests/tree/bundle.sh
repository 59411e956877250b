#!/usr/bin/env bash
# Bundles: a folder with a root file system, what lies over it, and its kernel.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
up
bundle=$CASE_DIR/mine
mkdir -p "$bundle" "$CASE_DIR/seed/root" "$CASE_DIR/seed/etc"
busybox_tar "$CASE_DIR/base.tar"
gzip -c "$CASE_DIR/base.tar" >"$bundle/rootfs.tar.gz"
echo seeded >"$CASE_DIR/seed/root/note"
echo over >"$CASE_DIR/seed/etc/passwd.note"
tar -C "$CASE_DIR/seed" --owner=0 --group=0 -cf "$bundle/seed.tar" .
# The kernel's package, as tests/template got it.
cp "$(ls "${BANGER_KERNEL_CACHE:-/var/cache/banger-tests}"/linux-image-*.deb | tail -n 1)" "$bundle/kernel.deb"
chmod -R a+rX "$bundle"

is "import of a bundle" "$(errno_write "$FS/images/ctl" "import $bundle")" OK
is "is called as its folder" "$(ls -d "$FS/images/mine")" "$FS/images/mine"
is "names its kernel" "$(cat "$FS/images/mine/kernel")" mine
like "which is there" "$(cat "$FS/kernels/mine/digest")" '^sha256:'
like "it has a digest" "$(cat "$FS/images/mine/digest")" '^sha256:[0-9a-f]{64}$'
ok "e2fsck of it" sh -c "for f in $STATE/images/*.ext4; do e2fsck -fn \$f || exit 1; done"
mkdir "$FS/vms/box"
echo mine >"$FS/vms/box/image"
is "a VM takes its kernel" "$(errno_write "$FS/vms/box/kernel" mine)" OK
ok "and starts" sh -c "echo start > $FS/vms/box/ctl"
is "with the seed in its home" "$(banger vm exec box -- cat /root/note)" seeded
is "and over the root" "$(banger vm exec box -- cat /etc/passwd.note)" over
is "and what lies below" "$(banger vm exec box -- sh -c 'grep -c . /etc/passwd')" 2
is "a kernel in use stays" "$(errno_call rmdir "$FS/kernels/mine")" EBUSY

left() { ls "$FS/images" "$FS/kernels"; find "$STATE/images" "$STATE/kernels" -mindepth 1 -maxdepth 1 | sort; }
before=$(left)
is "a name whose kernel is there" "$(errno_write "$FS/images/ctl" "import $bundle as debian")" EEXIST
is "leaves nothing" "$(left)" "$before"
cp -r "$bundle" "$CASE_DIR/bad"
echo garbage >"$CASE_DIR/bad/kernel.deb"
is "a kernel that is none" "$([ "$(errno_write "$FS/images/ctl" "import $CASE_DIR/bad")" = OK ] || echo refused)" refused
like "is said" "$(tail -n 2 "$FS/log")" "the bundle's kernel"
is "leaves nothing" "$(left)" "$before"
head -c 5000 /dev/urandom >"$CASE_DIR/bad/rootfs.tar.gz"
is "a root that is none" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/bad")" EBADMSG
is "leaves nothing" "$(left)" "$before"
mkdir -p "$CASE_DIR/link"
ln -s "$bundle/rootfs.tar.gz" "$CASE_DIR/link/rootfs.tar.gz"
is "a link is no part of a bundle" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/link as linked")" OK
is "but a file of a folder" "$(cat "$FS/images/linked/kernel")" ""

mkdir -p "$CASE_DIR/disk"
mke2fs -q -t ext4 -d "$CASE_DIR/busybox-root" "$CASE_DIR/disk/rootfs.ext4" 64M >/dev/null
chmod -R a+rX "$CASE_DIR/disk"
is "one with an ext4" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/disk")" OK
is "has no kernel" "$(cat "$FS/images/disk/kernel")" ""
cp "$bundle/seed.tar" "$CASE_DIR/disk/"
is "a seed over an ext4" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/disk as two")" EINVAL
case_end
