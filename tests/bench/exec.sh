#!/usr/bin/env bash
# What banger itself takes of a job, without an emulator's share: the guest is processes of this machine. A job that does nothing, with and without a prepared
# checkout, beside the agent's own round trip and a spawn; and 100 MiB of output beside the same out of a file.
GUESTS=process
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
ROUNDS=${ROUNDS:-100}
src=$CASE_DIR/src
mkdir "$src"
export HOME=$CASE_DIR
up
mkdir "$FS/vms/box"
echo start >"$FS/vms/box/ctl" || { fail "start"; case_logs; exit 1; }
# each COMMAND...: the median of its runs, in microseconds.
each()
{
	perl -MTime::HiRes=time -e '
		my ($rounds, @command) = @ARGV;
		open my $said, ">&", \*STDOUT or die;
		open STDOUT, ">", "/dev/null" or die;
		my @took;
		for (1 .. $rounds) {
			my $began = time;
			system(@command) == 0 or exit 1;
			push @took, (time - $began) * 1e6;
		}
		printf $said "%d\n", (sort { $a <=> $b } @took)[$rounds / 2]' "$ROUNDS" "$@"
}
exec_true() { each timeout 60 "$BANGER_BIN/banger" vm exec box -- true; }
banger vm exec box -- true || fail "a job"
bare=$(exec_true)
chown "$OWNER" "$src"
as_owner sh -c "cd $src && git init -q -b main . && git -c user.name=me -c user.email=me@example.com commit -q --allow-empty -m one"
echo "prepare $src" >"$FS/vms/box/workspace.ctl" || fail "prepare"
prepared=$(exec_true)
asked=$(each cat "$FS/vms/box/health")
spawns() { ROUNDS=5 each "$BANGER_BIN/banger" vm exec box -- sh -c 'i=0; while [ $i -lt '"$1"' ]; do /bin/true; i=$((i + 1)); done'; }
spawned=$((($(spawns 200) - $(spawns 0)) / 200))
echo "exec of true: $bare us, in a VM with a checkout $prepared us; the agent asked: $asked us, a spawn: $spawned us: $((prepared - asked - spawned)) us over both"
banger vm exec box -- dd if=/dev/zero of=zeros bs=1M count=100 2>/dev/null
raw=$(ROUNDS=5 each dd if="$FS/vms/box/workspace/zeros" of=/dev/null bs=1M iflag=direct status=none)
out=$(ROUNDS=5 each "$BANGER_BIN/banger" vm exec box -- dd if=zeros bs=64k 2>/dev/null)
echo "100 MiB: the channel $((104857600 / raw)) MB/s, a job's output $((104857600 / out)) MB/s"
as_owner sh -c "cd $src && git -c user.name=me -c user.email=me@example.com commit -q --allow-empty -m two"
like "what has moved on is said" "$(banger vm exec box -- true 2>&1)" 'moved on'
[ "${bare:-0}" -gt 0 ] && [ "${prepared:-0}" -gt 0 ] && [ "${raw:-0}" -gt 0 ] && [ "${out:-0}" -gt 0 ] || fail "measured nothing"
pass "measured"
case_end
