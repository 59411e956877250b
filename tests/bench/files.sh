#!/usr/bin/env bash
# Files of a running guest beside tar over ssh and sshfs to the same guest, and the raw rate of its channel; git status beside a local disk.
# FILES, MEGABYTES, TREES: how many small files, how large a large one, how many files the git tree that is prepared has.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/sshd.sh"
sshd_template
command -v sshfs >/dev/null || skip sshfs "no sshfs"
case_begin "$@"
up
sshd_up
W=$FS/vms/box/workspace
files=${FILES:-1000} megabytes=${MEGABYTES:-200} trees=${TREES:-20000} rounds=${BENCH_ROUNDS:-1}
clock() { perl -MTime::HiRes=time -e 'printf "%d\n", time() * 1e6'; }
# took COMMAND...: its time in milliseconds into $msec.
took()
{
	local began
	began=$(clock)
	"$@" >/dev/null || fail "$*"
	msec=$((($(clock) - began) / 1000))
}
ratio() { perl -e 'printf "%.2f", $ARGV[0] / ($ARGV[1] || 1)' "$1" "$2"; }

mkdir "$CASE_DIR/src" "$CASE_DIR/sshfs"
for ((i = 0; i < files; i++)); do head -c 4096 /dev/urandom >"$CASE_DIR/src/$i"; done
sshfs "${options[@]}" "$to:/root" "$CASE_DIR/sshfs" || fail "sshfs"
for ((round = 1; round <= rounds; round++)); do
	took cp -a "$CASE_DIR/src" "$W/in$round"; ours=$msec
	took sh -c "tar -C '$CASE_DIR/src' -cf - . | ssh ${options[*]} $to 'mkdir tar$round && tar -C tar$round --warning=no-timestamp -xf -'"; tar=$msec
	took cp -a "$CASE_DIR/src" "$CASE_DIR/sshfs/in$round"; sshfs=$msec
	echo "$files files of 4 KiB in: $ours ms; tar over ssh: $tar ms: $(ratio $ours $tar) x; sshfs: $sshfs ms: $(ratio $ours $sshfs) x"
	took cp -a "$W/in$round" "$CASE_DIR/out$round"; ours=$msec
	took sh -c "mkdir $CASE_DIR/tar$round && ssh ${options[*]} $to 'tar -C tar$round -cf - .' | tar -C $CASE_DIR/tar$round --warning=no-timestamp -xf -"; tar=$msec
	took cp -a "$CASE_DIR/sshfs/in$round" "$CASE_DIR/sshfsout$round"; sshfs=$msec
	echo "$files files of 4 KiB out: $ours ms; tar over ssh: $tar ms: $(ratio $ours $tar) x; sshfs: $sshfs ms: $(ratio $ours $sshfs) x"
	diff -r "$CASE_DIR/src" "$CASE_DIR/out$round" >/dev/null || fail "the same bytes"
	rm -rf "$CASE_DIR"/*out"$round" "$CASE_DIR"/tar"$round"
done
head -c $((megabytes << 20)) /dev/urandom >"$CASE_DIR/large"
for ((round = 1; round <= rounds; round++)); do
	# The channel's own rate: a job's streams, with nothing at their ends.
	took sh -c "'$BANGER_BIN/banger' vm exec -i box -- sh -c 'cat >/dev/null' <$CASE_DIR/large"; raw=$msec
	took cp "$CASE_DIR/large" "$W/large"; ours=$msec
	echo "$megabytes MiB in: $ours ms; raw: $raw ms: $(ratio $raw $ours) of its rate"
	took sh -c "'$BANGER_BIN/banger' vm exec box -- cat large >/dev/null"; raw=$msec
	# What the host's kernel has kept of it goes: a change that the guest makes.
	banger vm exec box -- sh -c 'printf x | dd of=large conv=notrunc status=none'
	took cp "$W/large" "$CASE_DIR/back"; ours=$msec
	echo "$megabytes MiB out: $ours ms; raw: $raw ms: $(ratio $raw $ours) of its rate"
done
rm "$W/large" "$CASE_DIR/back" "$CASE_DIR/large"

rm -r "$W"/in*
mkdir "$CASE_DIR/git"
perl -e '
	for my $i (0 .. $ARGV[1] - 1) {
		my $dir = sprintf "%s/p%d/lib%d", $ARGV[0], $i / 200, $i / 20 % 10;
		mkdir $dir =~ s{/lib\d+$}{}r; mkdir $dir;
		open my $f, ">", "$dir/$i.js" or die; print $f "module.exports = $i\n";
	}' "$CASE_DIR/git" "$trees"
chown -R "$OWNER" "$CASE_DIR/git"
export HOME=$CASE_DIR
git config --global safe.directory '*'
as_owner git -C "$CASE_DIR/git" init -q && as_owner git -C "$CASE_DIR/git" add . &&
	as_owner git -C "$CASE_DIR/git" -c user.name=n -c user.email=e commit -qm x
took sh -c "echo prepare $CASE_DIR/git >$W.ctl"
echo "a git tree of $trees files prepared: $msec ms"
git -C "$CASE_DIR/git" status --porcelain >/dev/null
took git -C "$W" status --porcelain
echo "git status, the first time: $msec ms"
for ((round = 1; round <= rounds; round++)); do
	took git -C "$CASE_DIR/git" status --porcelain; bare=$msec
	took git -C "$W" status --porcelain; ours=$msec
	echo "git status of $trees files again: $ours ms; on a local disk: $bare ms: $(ratio $ours $bare) x"
done
[ -z "$(git -C "$W" status --porcelain)" ] || fail "nothing has changed"
umount "$CASE_DIR/sshfs"
[ "$CASE_FAILED" = 0 ] || case_logs
exit $((CASE_FAILED > 0))
