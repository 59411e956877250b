# shellcheck shell=bash
# Tars to measure with: a Debian of about 500 MB as one layer and as two, made once by the system's own apt; trees of many files.

ROOTFS_CACHE=${ROOTFS_CACHE:-/var/cache/banger-tests}

# rootfs_make: fills ROOTFS_CACHE with rootfs.tar.gz (all of it), and with rootfs-1.tar.gz and rootfs-2.tar.gz (its first and its second half).
# By the host's network, which cases haven't: to be called before case_begin, where it does nothing once a case is inside.
rootfs_make()
{
	[ -z "${CASE_INSIDE:-}" ] && [ ! -e "$ROOTFS_CACHE/rootfs-2.tar.gz" ] || return 0
	local work
	mkdir -p "$ROOTFS_CACHE"
	work=$(mktemp -d "$ROOTFS_CACHE/making.XXXXXX")
	if mmdebstrap --quiet --variant=minbase --include=build-essential,git,vim,python3 \
		"$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" "$work/rootfs.tar" </dev/null &&
		tar_halve "$work/rootfs.tar" "$work/rootfs-1.tar" "$work/rootfs-2.tar" && gzip -n "$work"/*.tar; then
		mv "$work"/rootfs.tar.gz "$work"/rootfs-1.tar.gz "$ROOTFS_CACHE" && mv "$work/rootfs-2.tar.gz" "$ROOTFS_CACHE"
	fi
	rm -rf "$work"
	[ -e "$ROOTFS_CACHE/rootfs-2.tar.gz" ] || { echo "no Debian to measure with: mmdebstrap says why"; return 1; }
}

# tar_halve TAR FIRST SECOND: its entries into two tars of about the same size.
tar_halve()
{
	perl -e '
		my ($from, @to) = @ARGV;
		open my $in, "<:raw", $from or die "$from: $!\n";
		my @out = map { open my $f, ">:raw", $_ or die "$_: $!\n"; $f } @to;
		my ($half, $at, $which, $begins, $head) = ((-s $from) / 2, 0, 0, 1);
		while (read($in, $head, 512) == 512 && $head =~ /[^\0]/) {
			# What says more of the next entry stays with it.
			my ($size, $kind) = (oct(substr($head, 124, 11)), substr($head, 156, 1));
			$which = 1 if $begins && $at > $half;
			$begins = $kind !~ /[xgLK]/;
			my $left = ($size + 511) & ~511;
			$at += 512 + $left;
			print {$out[$which]} $head;
			while ($left > 0) {
				my $n = read($in, my $data, $left < 1 << 20 ? $left : 1 << 20) or die "$from is cut off\n";
				print {$out[$which]} $data;
				$left -= $n;
			}
		}
		for (@out) { print {$_} "\0" x 1024; close $_ or die "$!\n" }
	' "$@"
}

# tar_of_many FILE COUNT FOLDERS: COUNT small files in so many folders.
tar_of_many()
{
	perl -e '
		my ($file, $count, $folders) = @ARGV;
		open my $out, ">:raw", $file or die "$file: $!\n";
		sub entry {
			my ($name, $kind, $data) = @_;
			my $head = pack "a100 a8 a8 a8 a12 a12 A8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12", $name, $kind ? "0000755" : "0000644",
				"0000000", "0000000", sprintf("%011o", length $data), "00000000001", "", $kind || 0, "", "ustar", "00", "", "", "", "", "";
			substr($head, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $head;
			print $out $head, $data, "\0" x (-length($data) % 512);
		}
		entry("folder-$_/", 5, "") for 1 .. $folders;
		entry(sprintf("folder-%d/a-file-of-many-%06d", 1 + $_ % $folders, $_), 0, "file $_\n") for 1 .. $count;
		print $out "\0" x 1024;
		close $out or die "$file: $!\n";
	' "$@"
}
