#!/usr/bin/env bash
# What banger itself takes of a job, without an emulator's share: the guest's agent is a process of this machine (processvm.c says how), and so are its jobs. A job
# that does nothing, with and without a prepared checkout, beside the agent's own round trip and a spawn; and 100 MiB of output beside the same out of a file.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
BENCH=${BENCH:-$(dirname "$BANGER_BIN")/bench}
ROUNDS=${ROUNDS:-100}
guest=$CASE_DIR/guest firmware=$CASE_DIR/firmware src=$CASE_DIR/src
mkdir "$guest" "$firmware" "$src"
cp "$BENCH/processvm" "$CASE_DIR/qemu"
chmod 0755 "$CASE_DIR/qemu" "$firmware"
mount --bind "$CASE_DIR/qemu" /usr/bin/qemu-system-x86_64
mount --bind "$firmware" /usr/share/seabios
mount --bind "$guest" /root
export HOME=$CASE_DIR
# As soon as the VM's secret is there the agent knows it, as a guest's does from its disk.
timeout "$PATIENCE" perl -MIO::Socket::UNIX -MFcntl -MTime::HiRes=sleep -e '
	my ($place, $run, @agent) = @ARGV;
	my $door = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $place, Listen => 5) or die "$place: $!";
	chmod 0777, $place;
	my @token;
	sleep .02 until @token = grep { -s } glob "$run/fsd/vm/*/token";
	open my $f, "<", $token[0] or die "$token[0]: $!";
	local $/;
	fcntl $door, F_SETFD, 0;
	exec @agent, "--fd", fileno $door, "--listen", unpack "H*", <$f>' \
	"$firmware/guest" "$RUN" setsid "$BANGER_BIN/banger-guest" agent --root "$guest" --tree "$guest" </dev/null &
agent=$!
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
dd if=/dev/zero of="$guest/workspace/zeros" bs=1M count=100 status=none
raw=$(ROUNDS=5 each dd if="$FS/vms/box/workspace/zeros" of=/dev/null bs=1M iflag=direct status=none)
out=$(ROUNDS=5 each "$BANGER_BIN/banger" vm exec box -- dd if=/root/workspace/zeros bs=64k status=none)
echo "100 MiB: the channel $((104857600 / raw)) MB/s, a job's output $((104857600 / out)) MB/s"
as_owner sh -c "cd $src && git -c user.name=me -c user.email=me@example.com commit -q --allow-empty -m two"
like "what has moved on is said" "$(banger vm exec box -- true 2>&1)" 'moved on'
[ "${bare:-0}" -gt 0 ] && [ "${prepared:-0}" -gt 0 ] && [ "${raw:-0}" -gt 0 ] && [ "${out:-0}" -gt 0 ] || fail "measured nothing"
pass "measured"
kill $agent 2>/dev/null
case_end
