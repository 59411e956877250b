#!/usr/bin/env bash
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
ROOTFS_CACHE=/var/cache/banger-tests
one=$ROOTFS_CACHE/rootfs.tar.gz
ROUNDS=${ROUNDS:-3}
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
registry_up 5000
regpid=${REGISTRY_PIDS##* }
layout one '{}' "$one"
push one 5000/one:1 || exit 1
rm -rf "$CASE_DIR/one"
up
fsd=$(pgrep -f "banger-fsd.*$CASE_DIR" | head -1); [ -n "$fsd" ] || fsd=$(pgrep -n banger-fsd)
tck() { awk '{sub(/^.*\) /,""); print $12*10, $13*10, $14*10, $15*10}' /proc/$1/stat; }
isal_lib=$(readlink -f "$(ldconfig -p | sed -n 's/.*libisal\.so\.2 .*=> //p' | head -n 1)")
go() {
  [ ! -d "$FS/images/one" ] || rmdir "$FS/images/one"
  rm -rf "$STATE/blobs"
  local f0 r0 f1 r1 b e
  read -ra f0 < <(tck $fsd); read -ra r0 < <(tck $regpid)
  b=$(clock); echo "pull localhost:5000/one:1" > "$FS/images/ctl"; e=$(clock)
  read -ra f1 < <(tck $fsd); read -ra r1 < <(tck $regpid)
  echo "$1 wall $(((e-b)/1000)) fsd u$((f1[0]-f0[0])) s$((f1[1]-f0[1])) worker u$((f1[2]-f0[2])) s$((f1[3]-f0[3])) reg u$((r1[0]-r0[0])) s$((r1[1]-r0[1])) load $(cut -d' ' -f1 /proc/loadavg)"
}
ref() { local b e; b=$(clock); gzip -dc "$one" | sha256sum >/dev/null; e=$(clock); echo "ref wall $(((e-b)/1000))"; }
cp=$(which bash >/dev/null)
for ((i=0;i<ROUNDS;i++)); do
  ref
  go isal
  mount --bind /dev/null "$isal_lib"
  if [ -n "${PERF:-}" ] && [ $i = 1 ]; then perf ${PERFCMD:-record -a -g -F 2000} -o /tmp/zl/perf.data sleep ${SL:-3} >/dev/null 2>&1 & p=$!; fi
  go zlib
  [ -z "${p:-}" ] || { kill -INT $p; wait $p; p=; }
  umount "$isal_lib"
done
sha256sum "$STATE"/images/*/*.ext4 "$STATE"/images/*.ext4 2>/dev/null
ls -R "$STATE/images" 2>/dev/null| head
registry_down
