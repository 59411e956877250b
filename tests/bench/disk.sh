#!/usr/bin/env bash
# Images and disks: tar.gz to a ready image beside `gzip -dc | sha256sum` of the same file; an 8 GiB work disk.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
source=$CASE_DIR/root.tar.gz
size=${SIZE:-500}
# A rootfs of about SIZE MB out of what every Debian has: programs, libraries, documents, many small files.
tar -C / --sort=name -cf - usr/bin usr/lib usr/share usr/include 2>/dev/null | head -c $((size * 1000000)) >"$CASE_DIR/cut.tar"
# head cut an entry in two: what is whole is packed anew.
mkdir "$CASE_DIR/root"
tar -C "$CASE_DIR/root" -xf "$CASE_DIR/cut.tar" 2>/dev/null
tar -C "$CASE_DIR/root" -czf "$source" .
chmod a+r "$source"
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
for round in 1 2 3; do
	began=$(clock)
	gzip -dc "$source" | sha256sum >/dev/null
	peer=$(($(clock) - began))
	began=$(clock)
	echo "import $source as r$round" >"$FS/images/ctl" || fail "import"
	ours=$(($(clock) - began))
	echo "tar.gz of $(($(gzip -dc "$source" | wc -c) / 1000000)) MB to a ready image: $ours us; gzip -dc | sha256sum: $peer us:" \
		"$(perl -e "printf '%.2f', $ours / $peer") x"
	rmdir "$FS/images/r$round"
done
[ "$CASE_FAILED" = 0 ] || case_logs
exit $((CASE_FAILED > 0))
