#!/usr/bin/env bash
# Figures: a start through the tree beside Firecracker alone, with the same kernel, initramfs, disks and machine, in turns; what the helper has of it; rounds of
# a whole life (storage.sh has the helper's calls one by one). In an emulated host times are a multiple of a real one's: the ratios count. They are printed; what measured nothing fails.
. "$(dirname "$0")/../lib/host.sh"
[ -x "$TOP/bin/firecracker" ] && [ -x "$TOP/bin/jailer" ] || skip firecracker "no firecracker and jailer: BANGER_FIRECRACKER_DIR, or PATH"
host_begin ready
install -m 0755 "$TOP/bin/firecracker" "$TOP/bin/jailer" /usr/local/bin/
VM=$FS/vms/box1
hand=$CASE_DIR/hand
mkdir "$hand"
now() { echo "${EPOCHREALTIME/./}"; }
middle() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
times() { perl -e 'printf "%.2f", $ARGV[0] / $ARGV[1]' "$1" "$2"; }
define() { as_owner mkdir "$VM" && echo firecracker >"$VM/engine" && echo 128M >"$VM/memory" && echo 256M >"$VM/disk"; }

# What it runs on is asked of Firecracker itself; each path of the jail's becomes that of a copy.
ok "a VM of Firecracker's" define
is "which runs" "$(errno_write "$VM/ctl" start)" OK
root=/proc/$(vm_pid box1)/root id=$(ls /run/banger/jails)
perl -MIO::Socket::UNIX -MJSON::PP -e '
	my ($sock, $root, $hand) = @ARGV;
	my $s = IO::Socket::UNIX->new(Peer => $sock) or die "$sock: $!";
	print {$s} "GET /vm/config HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n";
	$s->flush;
	my ($length, $body);
	while (<$s>) { $length = $1 if /^Content-Length: *(\d+)/i; last if /^\r?$/ }
	read $s, $body, $length;
	my $c = decode_json($body);
	my $copy = sub {
		my ($from, $to) = ("$root/$_[0]", "$hand/" . $_[0] =~ s{.*/}{}r);
		system(-b $from ? ("dd", "if=$from", "of=$to", "bs=1M", "conv=sparse", "status=none") : ("cp", "--sparse=always", $from, $to)) == 0 or die;
		$_[0] = $to;
	};
	$copy->($_) for @{$c->{"boot-source"}}{qw(kernel_image_path initrd_path)};
	$copy->($_->{path_on_host}) for @{$c->{drives}};
	$_->{host_dev_name} = "byhand" for @{$c->{"network-interfaces"}};
	$c->{vsock}{uds_path} = "$hand/vsock";
	my %keep = map { $_ => 1 } qw(machine-config boot-source drives network-interfaces vsock entropy);
	delete $c->{$_} for grep { !$keep{$_} || !defined $c->{$_} } keys %$c;
	open my $f, ">", "$hand/config" or die;
	print $f encode_json($c);
' "/run/banger/jails/$id/api.sock" "$root" "$hand" || fail "what it runs on"
cp "/run/banger/fsd/vm/$id/token" "$hand/token"
echo stop >"$VM/ctl"
ip tuntap add dev byhand mode tap vnet_hdr

ours=() bare=() life=() share=()
for ((round = 1; round <= ${ROUNDS:-5}; round++)); do
	began=$(now)
	echo start >"$VM/ctl" || { fail "start"; break; }
	ours+=($(($(now) - began)))
	echo stop >"$VM/ctl" || { fail "stop"; break; }
	rm -f "$hand/vsock"
	began=$(now)
	/usr/local/bin/firecracker --no-api --config-file "$hand/config" >"$hand/log" 2>&1 </dev/null &
	vmm=$!
	"$TOP/bin/hellowait" "$hand/vsock" "$hand/token" 1000 || { fail "by hand: no agent"; diag "$(tail -n 5 "$hand/log")"; }
	bare+=($(($(now) - began)))
	kill "$vmm"
	wait "$vmm" 2>/dev/null
	# The calls of that start, by the helper's own clock.
	share+=("$(journalctl --no-pager -o json -u banger-helper | perl -MJSON::PP -ne '
		my $j = decode_json($_);
		next unless $j->{CALL} && $j->{OPERATION};
		$of{$j->{OPERATION}} += $j->{DURATION_USEC};
		$last = $j->{OPERATION} if $j->{CALL} eq "launch";
		END { print $of{$last} }')")
done
ip link del byhand
ok "the VM is deleted" as_owner rmdir "$VM"
for ((round = 1; round <= ${LIVES:-2}; round++)); do
	began=$(now)
	define && echo start >"$VM/ctl" && echo stop >"$VM/ctl" && as_owner rmdir "$VM" || break
	life+=($(($(now) - began)))
done
is "${LIVES:-2} whole lives" ${#life[@]} "${LIVES:-2}"
ok "a start was measured" test "${#bare[@]}" -gt 0 -a "${#share[@]}" -gt 0 -a "${bare[0]:-0}" -gt 0 -a "${share[0]:-0}" -gt 0
a=$(middle "${ours[@]}") b=$(middle "${bare[@]}") c=$(middle "${share[@]}")
diag "start to agent: $a us, Firecracker alone $b us: $(times "$a" "$b") x"
diag "  ${ours[*]}; alone ${bare[*]}"
diag "the helper's share of a start: $c us, $(times "$c" "$b") of Firecracker's alone: ${share[*]}"
diag "define, start, stop, delete: $(middle "${life[@]}") us"

rm -f /usr/local/bin/{firecracker,jailer}
host_end
