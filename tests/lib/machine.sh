# shellcheck shell=bash
# The machines that tests/host/run runs its cases on: a Debian under QEMU, whose memory and disk are kept as they were at a moment and taken back to
# it before each case, or a real one by ssh. Each has a folder in WORK:
#
#   host-N/ssh       ssh's configuration, in which it is called `host`
#   host-N/qmp       QEMU's monitor; not there for a real machine
#   host-N/screen    what it wrote to its serial line
#   host-N/lock      held by whoever uses it
#
# The processor is emulated, KVM in it too: a guest boots in 10 to 30 s. There is one, because two of them can't be relied on with KVM (QEMU 7.2). What one of them
# changes in the kernel's code the other may go on executing as it was: for ever, if that is the breakpoint by which a jump label is switched, as KVM does in
# the scheduler with its first VM and after its last. And a processor that is interrupted in a guest for the other's sake delivers the last interrupt that KVM
# injected once more, whether the guest has its interrupts on or not (target/i386/tcg/sysemu/svm_helper.c leaves exception_index set).
# The TSC is as good as QEMU's clock; after a saved moment the kernel's watchdog wouldn't believe that.

BOOT_SECONDS=${BOOT_SECONDS:-300}

# on_machine DIR COMMAND...: in the machine, as root.
on_machine()
{
	local dir=$1
	shift
	ssh -F "$dir/ssh" host "$@"
}

# monitor DIR COMMAND...: QEMU's monitor of the machine DIR does each COMMAND, in order. What they say; fails with the first that says `Error`.
monitor()
{
	perl -MIO::Socket::UNIX -MJSON::PP -e '
		my $s = IO::Socket::UNIX->new(Peer => shift) or die "QEMU has gone: $!\n";
		my ($json, $answer) = (JSON::PP->new, undef);
		sub ask {
			print {$s} $json->encode($_[0]), "\n";
			$s->flush;
			while (my $line = <$s>) {
				$answer = $json->decode($line);
				return if exists $answer->{return} || exists $answer->{error};
			}
			exit 0 if $_[0]{arguments}{"command-line"} eq "quit";
			die "QEMU ended\n";
		}
		<$s>;
		ask({execute => "qmp_capabilities"});
		for (@ARGV) {
			ask({execute => "human-monitor-command", arguments => {"command-line" => $_}});
			my $said = $answer->{error} ? $answer->{error}{desc} : $answer->{return};
			print $said;
			exit 1 if $answer->{error} || $said =~ /^Error/m;
		}
	' "$1/qmp" "${@:2}"
}

# machine_start DIR IMAGE [ARG...]: QEMU with a disk of its own over IMAGE's (tests/host/image). No packet of the machine's leaves: its network has one
# door, ours to its sshd, at a port that is free now.
machine_start()
{
	local dir=$1 image=$2 port
	shift 2
	mkdir -p "$dir"
	[ -e "$dir/disk" ] || qemu-img create -q -f qcow2 -F raw -b "$image/disk.ext4" "$dir/disk" || return 1
	port=$(perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0)->sockport')
	cat >"$dir/ssh" <<-END
		Host host
		HostName 127.0.0.1
		Port $port
		User root
		IdentityFile $image/key
		IdentitiesOnly yes
		UserKnownHostsFile /dev/null
		StrictHostKeyChecking no
		LogLevel ERROR
		BatchMode yes
		ConnectTimeout 180
		ServerAliveInterval 30
		ServerAliveCountMax 10
	END
	rm -f "$dir/qmp"
	qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 1 -m 3G -nodefaults -no-user-config -display none \
		-kernel "$image/vmlinuz" -initrd "$image/initrd.img" -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 panic=-1 tsc=reliable" \
		-drive "file=$dir/disk,format=qcow2,if=virtio,cache=unsafe" -device virtio-rng-pci -serial "file:$dir/screen" \
		-chardev "socket,id=qmp,path=$dir/qmp,server=on,wait=off" -mon chardev=qmp,mode=control \
		-netdev "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=n0 "$@" </dev/null &
	echo $! >"$dir/pid"
}

# machine_given DIR NAME: a machine that runs already, by ssh as root.
machine_given()
{
	mkdir -p "$1"
	printf 'Match host host\nHostName %s\nUser root\nBatchMode yes\nConnectTimeout 180\nServerAliveInterval 30\nServerAliveCountMax 10\n' "$2" >"$1/ssh"
}

# machine_await DIR [BOOT_ID]: until it answers; where BOOT_ID is given, until it has another.
machine_await()
{
	local dir=$1 old=${2:-} now end=$((SECONDS + BOOT_SECONDS))
	until now=$(timeout 20 ssh -F "$dir/ssh" host cat /proc/sys/kernel/random/boot_id 2>"$dir/why") && [ "$now" != "$old" ]; do
		if [ $SECONDS -ge $end ] || { [ -e "$dir/pid" ] && ! kill -0 "$(<"$dir/pid")" 2>/dev/null; }; then
			echo "the host didn't come up within $BOOT_SECONDS s: $(tail -n 1 "$dir/why")" >&2
			tail -n 30 "$dir/screen" >&2 2>/dev/null
			return 1
		fi
		sleep 0.5
	done
}

machine_end()
{
	[ -e "$1/pid" ] || return 0
	kill "$(<"$1/pid")" 2>/dev/null
	while kill -0 "$(<"$1/pid")" 2>/dev/null; do sleep 0.1; done
	rm "$1/pid"
}
