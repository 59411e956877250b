# shellcheck shell=bash
# A registry on the case's own loopback (Debian's docker-registry), and OCI images made by hand: sourced by cases after case.sh.

# registry_up PORT [YAML]: a registry at localhost:PORT; YAML goes into its configuration's http or auth sections as it stands.
registry_up()
{
	local port=$1 dir=$CASE_DIR/registry-$1
	mkdir -p "$dir/data"
	cat >"$dir/config.yml" <<-YML
		version: 0.1
		log: {level: error, accesslog: {disabled: false}}
		storage: {filesystem: {rootdirectory: $dir/data}, delete: {enabled: true}}
		http:
		  addr: 127.0.0.1:$port
	YML
	printf '%s\n' "${2:-}" >>"$dir/config.yml"
	OTEL_TRACES_EXPORTER=none docker-registry serve "$dir/config.yml" >"$dir/log" 2>&1 &
	REGISTRY_PIDS="${REGISTRY_PIDS:-} $!"
	await bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" || diag "$(cat "$dir/log")"
}

registry_down()
{
	local pid
	for pid in ${REGISTRY_PIDS:-}; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	REGISTRY_PIDS=
}

# requests PORT: how many the registry has answered so far.
requests()
{
	grep -c '"\(GET\|HEAD\|PUT\|POST\|PATCH\) /' "$CASE_DIR/registry-$1/log"
}

# layout NAME CONFIG-JSON TAR...: an OCI layout CASE_DIR/NAME of these layers (gzipped here, unless they are called .gz), tagged "latest". CONFIG-JSON: the configuration's `config`.
layout()
{
	perl -MJSON::PP -MDigest::SHA=sha256_hex -e '
		my ($dir, $config, $arch, @tars) = @ARGV;
		mkdir $dir; mkdir "$dir/blobs"; mkdir "$dir/blobs/sha256";
		sub blob { my $data = shift; my $hex = sha256_hex($data); open my $f, ">", "$dir/blobs/sha256/$hex" or die; print $f $data; close $f; return {digest => "sha256:$hex", size => length $data} }
		sub slurp { local (@ARGV, $/) = ($_[0]); my $x = <>; return $x }
		my $json = JSON::PP->new->canonical;
		my (@layers, @diffs);
		for (@tars) {
			my $packed = /\.gz$/;
			push @diffs, "sha256:" . ($packed ? `gzip -dc $_ | sha256sum` =~ s/\s.*//sr : sha256_hex(slurp($_)));
			push @layers, {%{blob($packed ? slurp($_) : scalar `gzip -nc $_`)}, mediaType => "application/vnd.oci.image.layer.v1.tar+gzip"};
		}
		my $c = blob($json->encode({architecture => $arch, os => "linux", config => $json->decode($config), rootfs => {type => "layers", diff_ids => \@diffs}}));
		my $m = blob($json->encode({schemaVersion => 2, mediaType => "application/vnd.oci.image.manifest.v1+json",
			config => {%$c, mediaType => "application/vnd.oci.image.config.v1+json"}, layers => \@layers}));
		open my $f, ">", "$dir/index.json" or die;
		print $f $json->encode({schemaVersion => 2, manifests => [{%$m, mediaType => "application/vnd.oci.image.manifest.v1+json",
			annotations => {"org.opencontainers.image.ref.name" => "latest"}}]});
		close $f;
		open $f, ">", "$dir/oci-layout"; print $f "{\"imageLayoutVersion\":\"1.0.0\"}"; close $f;
	' "$CASE_DIR/$1" "$2" "${ARCH:-amd64}" "${@:3}"
}

# push NAME PORT/PATH:TAG [SKOPEO-ARG...]: a layout into the registry.
push()
{
	local from=$1 to=$2
	shift 2
	skopeo copy -q --insecure-policy --dest-tls-verify=false "$@" "oci:$CASE_DIR/$from:latest" "docker://localhost:$to"
}

# busybox_tar FILE: a layer that has a shell.
busybox_tar()
{
	local root=$CASE_DIR/busybox-root applet
	mkdir -p "$root/bin" "$root/etc" "$root/tmp"
	cp /bin/busybox "$root/bin/busybox"
	for applet in sh ls cat echo env id pwd mount sleep stat sync; do ln -sf busybox "$root/bin/$applet"; done
	printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n' >"$root/etc/passwd"
	printf 'root:x:0:\nuser:x:1000:\n' >"$root/etc/group"
	tar -C "$root" --owner=0 --group=0 --sort=name --mtime=@0 -cf "$1" .
}

# picture DIR: all that a tar tells of each file below it, a line each: what two copies of one tree have in common.
picture()
{
	perl -MDigest::SHA -MTime::HiRes=lstat -MFile::Find -MFcntl=:mode -e '
		my ($top) = @ARGV;
		# llistxattr, lgetxattr of x86-64
		sub xattrs {
			my ($path, $names, @all) = (shift, "\0" x 4096);
			my $n = syscall(195, $path, $names, 4096);
			for my $name (split /\0/, substr($names, 0, $n > 0 ? $n : 0)) {
				my $value = "\0" x 4096;
				my $k = syscall(192, $path, $name, $value, 4096);
				push @all, "$name=" . unpack("H*", substr($value, 0, $k > 0 ? $k : 0));
			}
			return join ",", sort @all;
		}
		my %first;
		find({no_chdir => 1, preprocess => sub { sort @_ }, wanted => sub {
			my $path = $File::Find::name;
			my ($dev, $ino, $mode, $links, $uid, $gid, $rdev, $size, undef, $mtime) = lstat $path;
			my $name = substr($path, length $top) || "/";
			my @line = ($name, sprintf("%o", $mode), $uid, $gid, sprintf("%.6f", $mtime), xattrs($path));
			push @line, "size=$size", Digest::SHA->new(256)->addfile($path)->hexdigest if S_ISREG($mode);
			push @line, "dev=$rdev" if S_ISCHR($mode) || S_ISBLK($mode);
			push @line, "to=" . readlink $path if S_ISLNK($mode);
			push @line, "same as " . ($first{$ino} //= $name) if $links > 1 && !S_ISDIR($mode);
			print "@line\n";
		}}, $top);
	' "$1"
}

# unpacked PORT/PATH:TAG NAME: what skopeo and umoci make of it, at CASE_DIR/NAME.
unpacked()
{
	skopeo copy -q --insecure-policy --src-tls-verify=false "docker://localhost:$1" "oci:$CASE_DIR/$2.oci:latest" &&
		umoci --log=error unpack --image "$CASE_DIR/$2.oci:latest" "$CASE_DIR/$2.bundle" && ln -sfn "$2.bundle/rootfs" "$CASE_DIR/$2"
}

# cutter PORT TO: carries connections from PORT to TO, and cuts the first two that have sent 100 kB; CASE_DIR/cut has a line for each of them.
cutter()
{
	: >"$CASE_DIR/cut"
	perl -MIO::Socket::INET -MIO::Select -e '
		my ($port, $to, $told) = @ARGV;
		my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Listen => 16, ReuseAddr => 1) or die $!;
		$SIG{CHLD} = "IGNORE";
		while (1) {
			my $c = $l->accept or next;
			if (fork) { close $c; next }
			close $l;
			my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$to") or exit;
			my ($sel, $sent) = (IO::Select->new($c, $s), 0);
			while (1) {
				for my $from ($sel->can_read) {
					sysread($from, my $data, 65536) or exit;
					$sent += length $data if $from == $c;
					if ($sent > 100000 && -s $told < 8) { open my $f, ">>", $told; print $f "cut\n"; exit }
					my $other = $from == $c ? $s : $c;
					for (my $at = 0; $at < length $data;) { $at += syswrite($other, $data, length($data) - $at, $at) // exit }
				}
			}
		}
	' "$1" "$2" "$CASE_DIR/cut" &
	REGISTRY_PIDS="${REGISTRY_PIDS:-} $!"
	await bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"
}

# registry_pl MODE PORT ARG...: tests/lib/registry.pl, whose log is CASE_DIR/MODE-PORT.
registry_pl()
{
	local mode=$1 port=$2
	shift 2
	perl "$TOP/tests/lib/registry.pl" "$mode" "$port" "$CASE_DIR/$mode-$port" "$@" 2>"$CASE_DIR/$mode-$port.err" &
	REGISTRY_PIDS="${REGISTRY_PIDS:-} $!"
	await bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" || diag "$(cat "$CASE_DIR/$mode-$port.err")"
}

# password_line USER PASSWORD: as htpasswd -B makes it.
password_line()
{
	perl -e 'printf "%s:%s\n", $ARGV[0], crypt($ARGV[1], q{$2y$05$abcdefghijklmnopqrstuu})' "$1" "$2"
}

# certificate NAME SUBJECT [CA]: CASE_DIR/NAME.key and NAME.crt for localhost; signed by CA, or by itself as a CA.
certificate()
{
	local name=$CASE_DIR/$1
	if [ -n "${3:-}" ]; then
		openssl req -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$2" &&
			openssl x509 -req -in "$name.csr" -CA "$CASE_DIR/$3.crt" -CAkey "$CASE_DIR/$3.key" -CAcreateserial -days 2 \
				-extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$name.crt"
	else
		openssl req -x509 -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.crt" -subj "/CN=$2" -days 2 \
			-addext basicConstraints=critical,CA:TRUE
	fi >"$name.log" 2>&1 || diag "$(cat "$name.log")"
}
