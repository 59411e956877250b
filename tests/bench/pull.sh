#!/usr/bin/env bash
# Images out of a registry on loopback: gz layers of a 500 MB Debian to a listed image, beside `gzip -dc | sha256sum` of the same file and beside
# skopeo, umoci and mke2fs; the same without ISA-L; the same as two layers; a second pull; memory and time of many files. Each target is said to be met
# or missed; what is missed twice over fails, for less than that a machine that others use as well is enough.
. "$(dirname "$0")/../lib/rootfs.sh"
rootfs_make || exit 1
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
BENCH=${BENCH:-$(dirname "$BANGER_BIN")/bench}
ROUNDS=${BENCH_ROUNDS:-3}
one=$ROOTFS_CACHE/rootfs.tar.gz

clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
ratio() { perl -e 'printf "%.2f", $ARGV[0] / $ARGV[1]' "$1" "$2"; }
least() { printf '%s\n' "$@" | sort -n | head -n 1; }
ms() { echo "$(($1 / 1000)) ms"; }

# target WHAT VALUE at-most|at-least LIMIT
target()
{
	local verdict
	verdict=$(perl -e 'my ($v, $how, $limit) = @ARGV; my $by = $how eq "at-most" ? $v / $limit : $limit / ($v || 1e-9);
		print $by <= 1 ? "met" : $by <= 2 ? "MISSED" : "MISSED BY FAR"' "$2" "$3" "$4")
	echo "  target: $1 $2, $3 $4: $verdict"
	[ "$verdict" != "MISSED BY FAR" ] || CASE_FAILED=$((CASE_FAILED + 1))
}

# timed COMMAND...: its microseconds in $took.
timed()
{
	local began
	began=$(clock)
	"$@" || fail "$*"
	took=$(($(clock) - began))
}

reference() { gzip -dc "$one" | sha256sum >/dev/null; }
write() { echo "$2" >"$1"; }

# pull_new NAME: everything is fetched anew.
pull_new()
{
	[ ! -d "$FS/images/$1" ] || rmdir "$FS/images/$1"
	rm -rf "$STATE/blobs"
	timed write "$FS/images/ctl" "pull localhost:5000/$1:1"
}

by_hand()
{
	skopeo copy -q --insecure-policy --src-tls-verify=false docker://localhost:5000/one:1 "oci:$CASE_DIR/hand:1" &&
		umoci unpack --image "$CASE_DIR/hand:1" "$CASE_DIR/bundle" >/dev/null &&
		mke2fs -q -t ext4 -d "$CASE_DIR/bundle/rootfs" "$CASE_DIR/hand.ext4" 2G >/dev/null
}

registry_up 5000
layout one '{}' "$one"
layout two '{}' "$ROOTFS_CACHE/rootfs-1.tar.gz" "$ROOTFS_CACHE/rootfs-2.tar.gz"
push one 5000/one:1 && push two 5000/two:1 || fail "skopeo puts the images there"
rm -rf "$CASE_DIR/one" "$CASE_DIR/two"
up

isal_lib=$(ldconfig -p | sed -n 's/.*libisal\.so\.2 .*=> //p' | head -n 1)
[ -z "$isal_lib" ] || isal_lib=$(readlink -f "$isal_lib")
peer=() isal=() two=() zlib=() two_zlib=() floor=()
for ((round = 0; round < ROUNDS; round++)); do
	timed reference; peer+=("$took")
	floor+=("$("$BENCH/inflate" "$one")") || fail "inflate"
	pull_new one; isal+=("$took")
	pull_new two; two+=("$took")
	# Whoever opens the library, as each worker does, finds none.
	[ -z "$isal_lib" ] || mount --bind /dev/null "$isal_lib"
	pull_new one; zlib+=("$took")
	pull_new two; two_zlib+=("$took")
	[ -z "$isal_lib" ] || umount "$isal_lib"
done
before=$(requests 5000)
timed write "$FS/images/ctl" "pull localhost:5000/two:1"
again=$took asked=$(($(requests 5000) - before))
timed by_hand
hand=$took
rm -rf "$CASE_DIR/hand" "$CASE_DIR/bundle" "$CASE_DIR/hand.ext4"

base=$(least "${peer[@]}")
echo "gzip -dc | sha256sum of a layer of $(($(gzip -dc "$one" | wc -c) / 1000000)) MB: $(ms "$base"); of ${#peer[@]} rounds: ${peer[*]} us"
best=$(least "${isal[@]}")
if [ -n "$isal_lib" ]; then
	echo "pull, ISA-L: $(ms "$best"); ${isal[*]} us"
	target "pull with ISA-L / gzip | sha256sum" "$(ratio "$best" "$base")" at-most 0.35
else
	echo "no libisal2 on this machine"
fi
echo "pull, zlib: $(ms "$(least "${zlib[@]}")"); ${zlib[*]} us"
echo "  zlib alone, of a file in memory to nowhere: $(least "${floor[@]}") ms, $(ratio "$(least "${floor[@]}")000" "$base") x"
target "pull with zlib / gzip | sha256sum" "$(ratio "$(least "${zlib[@]}")" "$base")" at-most 0.5
echo "pull, zlib, of the same as two layers: $(ms "$(least "${two_zlib[@]}")"); ${two_zlib[*]} us"
target "pull of two layers with zlib / gzip | sha256sum" "$(ratio "$(least "${two_zlib[@]}")" "$base")" at-most 0.5
echo "skopeo copy, umoci unpack, mke2fs -d: $(ms "$hand")"
target "skopeo, umoci, mke2fs / pull" "$(ratio "$hand" "$best")" at-least 5
echo "pull of the same as two layers: $(ms "$(least "${two[@]}")"), $(ratio "$(least "${two[@]}")" "$best") x one layer; ${two[*]} us"
read -r took peak busy < <("$BENCH/mklayers" "$CASE_DIR/out" "$ROOTFS_CACHE/rootfs-1.tar.gz" "$ROOTFS_CACHE/rootfs-2.tar.gz") || fail "two layers"
echo "  two layers that are there already: $took ms, $busy ms of $(nproc) processors: $(ratio "$busy" "$took") at once; the worker had $((peak / 1024)) MiB"
echo "pull of the same tag again: $(ms "$again")"
target "second pull, requests" "$asked" at-most 1
target "second pull, ms" "$((again / 1000))" at-most 100

tar_of_many "$CASE_DIR/many.tar" 100000 1000
tar_of_many "$CASE_DIR/folder.tar" 40000 1
read -r took peak _ < <("$BENCH/mklayers" "$CASE_DIR/out" "$CASE_DIR/many.tar") || fail "100,000 files"
echo "100,000 files: $took ms, the worker had $((peak / 1024)) MiB"
target "memory for 100,000 files, MiB" "$((peak / 1024))" at-most 200
read -r took _ < <("$BENCH/mklayers" "$CASE_DIR/out" "$CASE_DIR/folder.tar") || fail "40,000 files"
echo "a folder of 40,000 entries: $took ms"
target "a folder of 40,000 entries, ms" "$took" at-most 1000
registry_down
[ "$CASE_FAILED" = 0 ] || case_logs
exit $((CASE_FAILED > 0))
