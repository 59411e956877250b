#!/usr/bin/env bash
# A checkout of SIZE_MIB in FILES files into a guest: prepare beside tar over ssh to the same guest, and beside `tar c | vm exec tar x` over the same channel;
# again with one file changed; a job's start, its output, and a published port's.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/sshd.sh"
sshd_template
case_begin "$@"
SIZE_MIB=${SIZE_MIB:-300} FILES=${FILES:-10000} MIB=${MIB:-100}
SRC=$CASE_DIR/src
mkdir "$SRC"
chown "$OWNER" "$SRC"
export HOME=$CASE_DIR
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
# took COMMAND...: milliseconds.
took() { local began; began=$(clock); "$@" >/dev/null 2>&1 || { fail "$*"; return; }; echo $((($(clock) - began) / 1000)); }
ratio() { perl -e 'printf "%.2f", $ARGV[0] / $ARGV[1]' "$1" "$2"; }
perl -e '
	my ($dir, $files, $bytes) = @ARGV;
	srand 1;
	for my $i (1 .. $files) {
		my $d = "$dir/d" . ($i % 100);
		mkdir $d;
		open my $f, ">", "$d/f$i" or die;
		print $f join("", map { chr 32 + rand 90 } 1 .. 1024) x ($bytes / $files / 1024 + 1);
	}' "$SRC" "$FILES" $((SIZE_MIB << 20))
chown -R "$OWNER" "$SRC"
as_owner sh -c "cd $SRC && git init -q -b main . && git config user.name me && git config user.email me@example.com && git add . && git commit -q -m one"
up
sshd_up
prepare() { echo "prepare $SRC" >"$FS/vms/box/workspace.ctl"; }
by_tar() { tar -C "$SRC" -c . | banger vm exec -i --cwd /root/tar box -- tar x; }
banger vm exec box -- mkdir /root/tar
tar=$(took by_tar)
by_ssh() { tar -C "$SRC" -c . | ssh "${options[@]}" "$to" tar -C tar -x; }
banger vm exec box -- sh -c 'rm -r /root/tar && mkdir /root/tar'
ssh=$(took by_ssh)
banger vm exec box -- rm -r /root/tar
ours=$(took prepare)
again=$(took prepare)
echo more >>"$SRC/d1/f1"
one=$(took prepare)
echo "$FILES files, $SIZE_MIB MiB, and their history: prepare $ours ms, tar c | ssh tar x $ssh ms: $(ratio "$ours" "$ssh")," \
	"tar c | vm exec tar x $tar ms: $(ratio "$ours" "$tar");" \
	"again: nothing changed $again ms, one file $one ms"

# What was prepared is on the guest's disk first: that it still writes is no job's time.
banger vm exec box -- sync
spawn() { banger vm exec box -- true; }
spawn
for i in {1..15}; do all[i]=$(took spawn); done
# The agent's own round trip: a question that it answers at once.
ask() { cat "$FS/vms/box/health"; }
for i in {1..15}; do asked[i]=$(took ask); done
# What a spawn costs in the guest by itself: a shell's, 100 of them.
spawns() { banger vm exec box -- sh -c 'i=0; while [ $i -lt '"$1"' ]; do /bin/true; i=$((i + 1)); done'; }
for i in 1 2 3 4 5; do
	many=$(took spawns 100) none=$(took spawns 0)
	spawned[i]=$(((many - none) / 100))
done
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
echo "exec of true: $(median "${all[@]}") ms; the agent asked: $(median "${asked[@]}") ms, a spawn in the guest: $(median "${spawned[@]}") ms"
# What the channel gives: a file of the guest's, read past the host's cache; then the same bytes as a job's output.
banger vm exec box -- dd if=/dev/zero of=/root/workspace/zeros bs=1M count="$MIB" 2>/dev/null
raw() { dd if="$FS/vms/box/workspace/zeros" of=/dev/null bs=1M iflag=direct; }
out() { banger vm exec box -- dd if=/root/workspace/zeros bs=64k | cat; }
into() { dd if=/dev/zero bs=1M count="$MIB" status=none | banger vm exec -i box -- dd of=/dev/null bs=64k; }
for i in 1 2 3 4 5; do raws[i]=$(took raw) outs[i]=$(took out) intos[i]=$(took into); done
raw_ms=$(median "${raws[@]}") ms=$(median "${outs[@]}") in_ms=$(median "${intos[@]}")
rate() { echo $(((MIB << 20) / 1000 / $1)); }
echo "$MIB MiB: the channel $(rate "$raw_ms") MB/s, a job's output $(rate "$ms") MB/s: $(ratio "$raw_ms" "$ms"); its input $(rate "$in_ms") MB/s"
# A server in the guest, on a port of the host's.
banger vm exec -d box -- perl -MIO::Socket::INET -e '
	my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => 8000, ReuseAddr => 1) or die;
	while (my $c = $l->accept) { print $c "x" x 65536 for 1 .. 16 * $ARGV[0]; close $c }' "$MIB" >/dev/null
echo 18000 8000 >"$FS/vms/box/publish" || fail "publish"
published() { [ "$(cat </dev/tcp/127.0.0.1/18000 | wc -c)" = $((MIB << 20)) ]; }
await published || fail "publish"
for i in 1 2 3 4 5; do ports[i]=$(took published); done
port_ms=$(median "${ports[@]}")
echo "$MIB MiB out of a published port: $(rate "$port_ms") MB/s: $(ratio "$ms" "$port_ms") of a job's output"
[ "${ours:-0}" -gt 0 ] && [ "${ssh:-0}" -gt 0 ] && [ "${tar:-0}" -gt 0 ] && [ "${ms:-0}" -gt 0 ] || fail "measured nothing"
pass "measured"
case_end
