#!/usr/bin/env bash
# Nothing dies with the daemons: guests ask for a page all the time, while either unit, both and the package go and come again. Who watches a
# program in a guest goes on watching it.
. "$(dirname "$0")/../lib/host.sh"
host_begin ready
export DEBIAN_FRONTEND=noninteractive
VMS=(one two three four)
[ ! -e "$TOP/bin/firecracker" ] || install -m 0755 "$TOP/bin/firecracker" "$TOP/bin/jailer" /usr/local/bin/

# The world that the guests ask, behind the host's NAT.
ip netns add world
ip link add world0 type veth peer name eth0 netns world
ip addr add 192.0.2.1/24 dev world0 && ip link set world0 up
# Answers come in by it; the administrator's to allow where it isn't the way out (docs/privileges.md).
echo 1 >/proc/sys/net/ipv4/conf/world0/forwarding
ip -n world addr add 192.0.2.2/24 dev eth0 && ip -n world link set eth0 up
ip netns exec world perl -MIO::Socket::INET -e '
	$| = 1;
	my $s = IO::Socket::INET->new(LocalAddr => "192.0.2.2", LocalPort => 80, Listen => 64, ReuseAddr => 1) or die;
	$SIG{CHLD} = "IGNORE";
	while (1) {
		my $c = $s->accept or next;
		# Whoever says nothing holds up nobody else.
		next if fork;
		alarm 300;
		my ($what) = <$c> =~ m{^GET /(\w+)};
		while (<$c>) { last if /^\r?$/ }
		print $c "HTTP/1.0 200 OK\r\n\r\n$what\n";
		close $c;
		print "$what\n";
		exit;
	}' >"$CASE_DIR/asked" &
world=$!

for vm in "${VMS[@]}"; do
	mkdir "$FS/vms/$vm" && echo 128M >"$FS/vms/$vm/memory"
	case $vm in
	one | two) echo qemu >"$FS/vms/$vm/engine" ;;
	*) ! grep -q firecracker "$FS/host/engines" || echo firecracker >"$FS/vms/$vm/engine" ;;
	esac
	(errno_write "$FS/vms/$vm/ctl" start >"$CASE_DIR/$vm.start") &
	starting+=($!)
done
wait "${starting[@]}"
is "${#VMS[@]} start at once" "$(sort -u "$CASE_DIR"/*.start)" OK
diag "by $(cat "$FS"/vms/*/engine | sort -u | xargs), on $(cat "$FS"/vms/*/storage | sort -u | xargs)"

# Each guest's program goes on until it is told to stop; then it says how often it asked and how often in vain, and when that was.
# shellcheck disable=SC2016
asking='n=0 bad=0 since= longest=0
until [ -e /tmp/enough ]; do
	read -r begun _ </proc/uptime
	got=$(printf "GET /$0 HTTP/1.0\r\n\r\n" | nc -w $1 192.0.2.2 80 2>&1 | tail -n 1)
	read -r now _ </proc/uptime
	n=$((n + 1)) took=$((${now%.*} - ${begun%.*}))
	[ "$took" -le "$longest" ] || longest=$took
	if [ "$got" != "$0" ]; then
		bad=$((bad + 1))
		since="$since, the ${n}th from $begun to $now: $got"
	fi
	sleep 1
done
echo "$n asked, $bad in vain$since; the longest took $longest s"'
for vm in "${VMS[@]}"; do
	as_owner banger vm exec "$vm" -- sh -c "$asking" "$vm" "$PATIENCE" >"$CASE_DIR/$vm.said" 2>&1 &
	clients+=($!)
done

# How often each has asked, in order of their names.
asked() { for vm in "${VMS[@]}"; do grep -c "^$vm" "$CASE_DIR/asked"; done | xargs; }
# Each has asked twice since SINCE: one of these began after it.
all_asked() { awk -v n="${#VMS[@]}" -v now="$(asked)" -v then="$since" 'BEGIN {split(now, a); split(then, b); for (i = 1; i <= n; i++) if (a[i] < b[i] + 2) exit 1}'; }
pids() { (cd "$FS/vms" && timeout "$PATIENCE" cat "${VMS[@]/%//pid}" | xargs); }
guests()
{
	local vm
	for vm in "${VMS[@]}"; do
		as_owner timeout "$PATIENCE" banger vm exec "$vm" -- cat /proc/sys/kernel/random/boot_id >"$CASE_DIR/$vm.boot" 2>&1 &
		asking_boot+=($!)
	done
	wait "${asking_boot[@]}"
	asking_boot=()
	(cd "$CASE_DIR" && cat "${VMS[@]/%/.boot}" | xargs)
}
another() { [ "$(unit "$1" ActiveState)" = active ] && [ "$(unit "$1" MainPID)" != 0 ] && [ "$(unit "$1" MainPID)" != "$2" ]; }
# The states, and in how many milliseconds they were there.
states() { timeout "$PATIENCE" perl -MTime::HiRes=time -e '$t = time; for (@ARGV) { open(my $f, "<", "$_/state"); chomp($s = <$f>); push @s, $s } print "@s ", int((time() - $t) * 1e3)' "${VMS[@]/#/$FS/vms/}"; }
# What is a second on a machine; an emulated one's is longer.
second=1000
! host_emulated || second=10000
units=(banger-helper.service banger.service)
old=()
remember() { old=("$(unit "${units[0]}" MainPID)" "$(unit "${units[1]}" MainPID)"); }

since=$(asked)
eventually "all ask" all_asked
was=$(pids) booted=$(guests)

# survived WHAT UNIT...: the UNITs are others than they were; all else is what it was.
survived()
{
	local what=$1 states i
	shift
	for i in 0 1; do
		case " $* " in *" ${units[i]} "*) await another "${units[i]}" "${old[i]}" || fail "$what: another ${units[i]}" ;; esac
	done
	states=$(states)
	is "$what: they run" "${states% *}" "${VMS[*]/*/running}"
	ok "$what: known within a second: ${states##* } ms" test "${states##* }" -lt $second
	is "$what: in the same processes" "$(pids)" "$was"
	is "$what: the same guests, which answer" "$(guests)" "$booted"
	since=$(asked)
	eventually "$what: and go on asking" all_asked
	remember
}

remember
for i in 1 0; do
	ok "${units[i]} is restarted" systemctl restart "${units[i]}"
	survived "restart of ${units[i]}" "${units[i]}"
	kill -9 "${old[i]}"
	survived "kill -9 of ${units[i]}" "${units[i]}"
	ok "${units[i]} is stopped" systemctl stop "${units[i]}"
	since=$(asked)
	eventually "meanwhile they ask" all_asked
	ok "${units[i]} is started" systemctl start "${units[i]}"
	survived "stop and start of ${units[i]}" "${units[i]}"
done
kill -9 "${old[@]}"
survived "kill -9 of both" "${units[@]}"

# Who asks while a daemon ends is answered by the next one, once. Debian 12's kernel does not ask it again by itself.
cut=
for deed in "mkdir $FS/vms/cut" "mv $FS/vms/cut $FS/vms/moved" "rmdir $FS/vms/moved"; do
	systemctl reset-failed "${units[1]}"
	# shellcheck disable=SC2086
	as_owner timeout "$PATIENCE" $deed & asker=$!
	kill -9 "${old[1]}"
	wait $asker || cut="$cut$deed; "
	await another "${units[1]}" "${old[1]}" || fail "$deed: another ${units[1]}"
	remember
done
is "mkdir, mv and rmdir over a daemon's end" "$cut$(ls -d "$FS"/vms/{cut,moved} 2>/dev/null)" ""

# A newer package.
dpkg-deb -R "$PACKAGE" "$CASE_DIR/newer"
sed -i 's/^Version: .*/&+newer/' "$CASE_DIR/newer/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$CASE_DIR/newer" "$CASE_DIR/newer.deb" >/dev/null
ok "apt installs a newer package" apt-get install -y -q "$CASE_DIR/newer.deb"
like "it is the newer" "$(dpkg-query -W -f '${Version}' banger)" '\+newer$'
survived "upgrade" "${units[@]}"

# The host's clock is set.
for by in "30 seconds" "30 seconds ago"; do
	date -s "$by" >/dev/null
	for vm in "${VMS[@]}"; do eventually "$by: the clock of $vm follows" guest_on_time "$vm"; done
done

for vm in "${VMS[@]}"; do as_owner banger vm exec "$vm" -- touch /tmp/enough; done
wait "${clients[@]}"
for vm in "${VMS[@]}"; do
	said=$(tail -n 1 "$CASE_DIR/$vm.said")
	like "$vm asked, and never in vain: $said" "$(cat "$CASE_DIR/$vm.said")" '^[1-9][0-9]+ asked, 0 in vain;'
done
for vm in "${VMS[@]}"; do
	is "$vm stops" "$(errno_write "$FS/vms/$vm/ctl" stop)" OK
	is "and is deleted" "$(errno_call rmdir "$FS/vms/$vm")" OK
done
kill "$world"
ip netns del world
rm -f /usr/local/bin/firecracker /usr/local/bin/jailer
host_be_patient
host_end
