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
