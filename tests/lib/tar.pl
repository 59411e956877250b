# Tars byte by byte, for tests: what no archiver would write, and what each would write in its own way.
#
#   require "tests/lib/tar.pl";
#   write_tar("FILE", entry("etc/", mode => 0755), entry("etc/x", data => "text", mtime => "1.5", xattr => {"user.a" => "b"}));
#
# A name that ends with "/" is a folder. What doesn't fit into an ustar header (long names, fractions of seconds, negative times, large ids) goes into a pax
# header; `pax => {...}` adds records to it as they stand, `raw => {...}` overrides fields of the header after that.
use strict;
use warnings;

my %ustar_fields = (name => [0, 100], mode => [100, 8], uid => [108, 8], gid => [116, 8], size => [124, 12], mtime => [136, 12], type => [156, 1],
	link => [157, 100], magic => [257, 8], major => [329, 8], minor => [337, 8], prefix => [345, 155]);

sub tar_header
{
	my (%field) = @_;
	my $h = "\0" x 512;
	while (my ($name, $value) = each %field) {
		my ($at, $size) = @{$ustar_fields{$name}};
		substr($h, $at, $size) = substr($value . "\0" x $size, 0, $size);
	}
	substr($h, 148, 8) = " " x 8;
	substr($h, 148, 8) = sprintf("%06o\0 ", unpack("%32C*", $h));
	return $h;
}

sub tar_padded
{
	my ($data) = @_;
	return $data . "\0" x (-length($data) % 512);
}

sub pax_record
{
	my ($key, $value) = @_;
	my $n = length($key) + length($value) + 3;
	my $total = $n + length($n);
	$total = $n + length($total);
	return "$total $key=$value\n";
}

sub pax_header
{
	my ($type, $records) = @_;
	return tar_header(name => "pax", mode => "0000644", uid => "0000000", gid => "0000000", size => sprintf("%011o", length $records),
		mtime => "00000000000", type => $type, magic => "ustar\00000") . tar_padded($records);
}

sub entry
{
	my ($name, %o) = @_;
	my $data = $o{data} // "";
	my $type = $o{type} // ($name =~ m{/\z}s ? "5" : defined $o{symlink} ? "2" : defined $o{hard} ? "1" : "0");
	my $link = $o{symlink} // $o{hard} // "";
	my %pax;
	$pax{path} = $name if length $name > 100;
	$pax{linkpath} = $link if length $link > 100;
	my $mtime = $o{mtime} // 1700000000;
	$pax{mtime} = $mtime if $mtime !~ /\A\d{1,10}\z/;
	for my $id (qw(uid gid)) {
		$pax{$id} = $o{$id} if ($o{$id} // 0) > 07777777;
	}
	$pax{"SCHILY.xattr.$_"} = $o{xattr}{$_} for keys %{$o{xattr} // {}};
	my $records = join "", map { pax_record($_, $pax{$_}) } sort keys %pax;
	$records .= join "", map { pax_record($_, $o{pax}{$_}) } sort keys %{$o{pax} // {}};
	my %h = (name => substr($name, 0, 100), mode => sprintf("%07o", $o{mode} // ($type eq "5" ? 0755 : $type eq "2" ? 0777 : 0644)),
		uid => sprintf("%07o", ($o{uid} // 0) & 07777777), gid => sprintf("%07o", ($o{gid} // 0) & 07777777), size => sprintf("%011o", length $data),
		mtime => $pax{mtime} ? "00000000000" : sprintf("%011o", $mtime), type => $type, link => substr($link, 0, 100), magic => "ustar\00000",
		major => sprintf("%07o", $o{major} // 0), minor => sprintf("%07o", $o{minor} // 0), %{$o{raw} // {}});
	return (length $records ? pax_header("x", $records) : "") . tar_header(%h) . tar_padded($data);
}

sub write_tar
{
	my ($file, @entries) = @_;
	open my $f, ">:raw", $file or die "$file: $!";
	print $f @entries, "\0" x 1024;
	close $f or die "$file: $!";
}

1;
