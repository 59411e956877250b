#!/usr/bin/env bash
# Images from elsewhere than a registry: OCI layouts and archives, docker's archives, standard input, ext4 files; good and hostile.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"
busybox_tar "$CASE_DIR/base.tar"
mkdir -p "$CASE_DIR/upper/etc"
echo one >"$CASE_DIR/upper/etc/marker"
: >"$CASE_DIR/upper/etc/.wh.group"
tar -C "$CASE_DIR/upper" --owner=0 --group=0 --mtime=@0 -cf "$CASE_DIR/upper.tar" .
layout app '{"Env":["PATH=/bin","GREETING=hello world"],"Cmd":["/bin/sh"],"User":"user"}' "$CASE_DIR/base.tar" "$CASE_DIR/upper.tar"
copy() { skopeo copy -q --insecure-policy "$@"; }
cd "$CASE_DIR" || exit 1
ok "skopeo: an OCI layout" copy oci:app:latest oci:oci-dir:latest
ok "skopeo: an OCI archive" copy oci:app:latest oci-archive:oci.tar:latest
ok "skopeo: a docker archive" copy oci:app:latest docker-archive:docker.tar:localhost/team/app:1
gzip -k oci.tar
zstd -q docker.tar
# As docker 25 writes it: a layout, and manifest.json beside it.
cp -r oci-dir both
manifest=$(jq -r '.manifests[0].digest' both/index.json)
jq --arg b blobs/sha256/ '[{Config: ($b + .config.digest[7:]), RepoTags: ["localhost/app:1"], Layers: [.layers[] | $b + .digest[7:]]}]' "both/blobs/sha256/${manifest#*:}" >both/manifest.json
tar -C both -cf both.tar .
chmod -R a+rX "$CASE_DIR"
up

file_of() { debugfs -R "dump $2 /dev/stdout" "$STATE/images/$(ls -t "$STATE/images" | head -n 1)" 2>/dev/null; }
listing() { local f; f=$STATE/images/$(ls -t "$STATE/images" | head -n 1); for d in / /bin /etc /tmp; do debugfs -R "ls -p $d" "$f" 2>/dev/null | awk -F/ '$6 != "." && $6 != ".." {print $3, $4, $5, $6, $7}'; done; }
reference=
for source in app oci-dir oci.tar oci.tar.gz docker.tar docker.tar.zst both.tar; do
	name=of-${source//./-}
	is "import $source" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/$source as $name")" OK
	[ -n "$reference" ] || reference=$(listing)
	like "$source: files" "$(listing)" 'marker'
	is "$source: the same files" "$(listing)" "$reference"
	is "$source: the upper layer's file" "$(file_of "$name" /etc/marker)" one
	is "$source: what it took away" "$(file_of "$name" /etc/group)" ""
	is "$source: environment" "$(tail -n 1 "$FS/images/$name/env")" "GREETING=hello world"
	is "$source: user" "$(cat "$FS/images/$name/user")" user
	is "$source: platform" "$(cut -d/ -f1,2 <"$FS/images/$name/platform")" linux/amd64
	is "$source: layers" "$(wc -l <"$FS/images/$name/layers")" 2
	like "$source: digest" "$(cat "$FS/images/$name/digest")" '^sha256:[0-9a-f]{64}$'
done
for source in app oci-dir oci.tar oci.tar.gz both.tar; do
	is "$source: the manifest's digest" "$(cat "$FS/images/of-${source//./-}/digest")" "$(jq -r '.manifests[0].digest' "$([ "$source" = app ] && echo app || echo oci-dir)/index.json")"
done
is "docker's archive: its digest hangs on nothing but what is in it" "$(cat "$FS/images/of-docker-tar/digest")" "$(cat "$FS/images/of-docker-tar-zst/digest")"
ok "e2fsck of them" sh -c "for f in $STATE/images/*.ext4; do e2fsck -fn \$f || exit 1; done"
is "a name is made of the path's" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/docker.tar")" OK
ok "and is there" test -d "$FS/images/docker"
is "no blob is kept" "$(ls "$STATE/blobs" 2>/dev/null)" ""

mkdir "$FS/vms/box"
echo of-docker-tar >"$FS/vms/box/image"
ok "a VM of docker's archive starts" sh -c "echo start > $FS/vms/box/ctl"
is "with its files" "$(banger vm exec box -- cat /etc/marker)" one
is "and environment" "$(banger vm exec box -- sh -c 'echo $GREETING')" "hello world"

# Several images in one.
cp -r app two && jq '.manifests += [.manifests[0] | .annotations["org.opencontainers.image.ref.name"] = "other"]' app/index.json >two/index.json
tar -C two -cf two.tar .
chmod -R a+rX two two.tar
imported() { ls "$FS/images"; find "$STATE/images" "$STATE/blobs" -mindepth 1 2>/dev/null | wc -l; }
before=$(imported)
# bad WHAT PATH ERRNO PATTERN: how it ends, what the log says, and that nothing is left.
bad()
{
	is "$1" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/$2 as bad")" "$3"
	like "$1: says" "$(tail -n 1 "$FS/log")" "$4"
	is "$1: nothing is left" "$(imported)" "$before"
}
bad "two images in a layout" two EINVAL 'there are 2 images in it: latest, other: say which by `import PATH tag latest as NAME`'
bad "two images in an archive" two.tar EINVAL 'latest, other'
bad "a tag that isn't there" "two.tar tag none" ENOENT 'no image none in it: it has latest, other'
bad "a platform that isn't there" "oci.tar platform linux/arm64" ENOENT 'linux/arm64'
bad "a tag of a root file system" "base.tar tag x" EINVAL 'tag'
is "one of the two by its tag" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/two.tar tag other as chosen")" OK
is "another platform" "$(errno_write "$FS/images/ctl" "import $CASE_DIR/docker.tar tag localhost/team/app:1 as tagged")" OK
ok "rmdir" rmdir "$FS/images/tagged" "$FS/images/chosen"

# Hostile and broken ones: change NAME FROM COMMAND...: a copy of folder FROM, changed by COMMAND within, and its tar.
change()
{
	local name=$1 from=$2
	shift 2
	cp -r "$from" "$name" && (cd "$name" && "$@") && tar -C "$name" -cf "$name.tar" . && chmod -R a+rX "$name" "$name.tar"
}
m=$(jq -r '.manifests[0].digest[7:]' app/index.json)
c=$(jq -r '.config.digest[7:]' "app/blobs/sha256/$m")
l=$(jq -r '.layers[1].digest[7:]' "app/blobs/sha256/$m")
for which in manifest:$m configuration:$c layer:$l; do
	what=${which%%:*} hex=${which#*:}
	change "no-$what" app rm "blobs/sha256/$hex"
	bad "no $what, folder" "no-$what" EBADMSG "$what.*missing"
	bad "no $what, archive" "no-$what.tar" EBADMSG "$what.*missing"
	change "other-$what" app perl -e 'my $f = "blobs/sha256/$ARGV[0]"; open F, "+<", $f or die; seek F, -s($f) / 2, 0; print F "Z"; close F' "$hex"
	bad "a wrong $what, folder" "other-$what" EBADMSG "$hex|$what"
	bad "a wrong $what, archive" "other-$what.tar" EBADMSG "$hex|$what"
	change "link-$what" app sh -c "mv blobs/sha256/$hex ../kept-$what; ln -s ../../../kept-$what blobs/sha256/$hex"
	bad "$what is a symbolic link, folder" "link-$what" EBADMSG 'link'
	bad "$what is a symbolic link, archive" "link-$what.tar" EBADMSG 'link'
	change "dir-$what" app sh -c "rm blobs/sha256/$hex; mkdir blobs/sha256/$hex"
	bad "$what is a folder, folder" "dir-$what" EBADMSG "$hex"
	change "fifo-$what" app sh -c "rm blobs/sha256/$hex; mkfifo blobs/sha256/$hex"
	bad "$what is a fifo, folder" "fifo-$what" EBADMSG "$hex"
	change "long-$what" app sh -c "echo >>blobs/sha256/$hex"
	bad "$what with a byte more, folder" "long-$what" EBADMSG "$hex|$what"
	bad "$what with a byte more, archive" "long-$what.tar" EBADMSG "$hex|$what"
done
change blobs-link app sh -c 'mv blobs ../kept-blobs; ln -s ../kept-blobs blobs'
bad "blobs is a symbolic link" blobs-link EBADMSG 'link'
change up-digest app sh -c 'jq ".manifests[0].digest = \"sha256:../../../base.tar\"" index.json >x; mv x index.json'
bad "a digest that is a path, folder" up-digest EBADMSG 'digest'
bad "a digest that is a path, archive" up-digest.tar EBADMSG 'digest'
change no-json app sh -c 'echo "[" >index.json'
bad "index.json is none, folder" no-json EBADMSG 'index.json'
bad "index.json is none, archive" no-json.tar EBADMSG 'index.json'
change large-json app sh -c 'head -c 9000000 /dev/zero | tr "\0" " " >>index.json'
bad "an index.json without end (CVE-2023-25153), folder" large-json EFBIG 'index.json has [0-9]+ bytes: the most is'
bad "an index.json without end (CVE-2023-25153), archive" large-json.tar EFBIG 'index.json has [0-9]+ bytes: the most is'
change no-image app sh -c 'echo "{\"schemaVersion\":2,\"manifests\":[]}" >index.json'
bad "an index of nothing" no-image EBADMSG 'no image in it'
change version app sh -c 'echo "{\"imageLayoutVersion\":\"9.0.0\"}" >oci-layout'
bad "another version's layout" version ENOTSUP '9.0.0'
change no-index app rm index.json
bad "blobs and no index" no-index.tar EBADMSG 'neither index.json nor manifest.json'
head -c $(($(stat -c %s oci.tar) / 2)) oci.tar >cut.tar
head -c $(($(stat -c %s oci.tar.gz) / 2)) oci.tar.gz >cut.tar.gz
chmod a+r cut.tar*
bad "a truncated archive" cut.tar EBADMSG 'cut|[Tt]runcated|damaged'
bad "a truncated packed archive" cut.tar.gz EBADMSG 'cut|[Tt]runcated|damaged'

mkdir docker && tar -C docker -xf docker.tar
layer='.[0].Layers[1]'
dchange() { change "$1" docker sh -c "jq '$2' manifest.json >x; mv -f x manifest.json"; }
dchange d-up "$layer = \"../../../etc/passwd\""
bad "../ in manifest.json's Layers" d-up.tar EBADMSG "'../../../etc/passwd', which is no file inside"
dchange d-abs "$layer = \"/etc/passwd\""
bad "an absolute name in Layers" d-abs.tar EBADMSG 'no file inside'
dchange d-config '.[0].Config = "../x"'
bad "../ in Config" d-config.tar EBADMSG 'no file inside'
dchange d-none "$layer = \"none.tar\""
bad "a layer that isn't there" d-none.tar EBADMSG 'layer 2, none.tar, is missing'
dchange d-less 'del(.[0].Layers[1])'
bad "fewer layers than the configuration has" d-less.tar EBADMSG 'layers'
dchange d-swap '.[0].Layers |= reverse'
bad "layers in another order" d-swap.tar EBADMSG 'diff_id'
dchange d-two '. + [.[0] | .RepoTags = ["localhost/other:2"]]'
bad "two images in docker's" d-two.tar EINVAL 'localhost/team/app:1, localhost/other:2'
dchange d-not '{}'
bad "manifest.json is no list" d-not.tar EBADMSG 'manifest.json|images'
change d-link docker sh -c 'f=$(jq -r ".[0].Layers[1]" manifest.json); rm -f $f; ln -s ../../../etc/passwd $f'
# A link at the top is what root file systems have: it is taken for one, and there it is a link and no more.
change d-deep docker sh -c 'mkdir $0; ln -s ../../etc/passwd $0/layer.tar; jq ".[0].Layers[1] = \"$0/layer.tar\"" manifest.json >x; mv -f x manifest.json' "$m"
bad "a layer that is a link that leads out" d-deep.tar EBADMSG 'link to what'
head -c $(($(stat -c %s docker.tar) / 2)) docker.tar >d-cut.tar
chmod a+r d-cut.tar
bad "docker's archive, truncated" d-cut.tar EBADMSG 'cut|[Tt]runcated|damaged'

# Standard input, and the command.
mkdir -m 1777 spool small
ok "import of standard input" sh -c "TMPDIR=$CASE_DIR/spool '$BANGER_BIN/banger' image import - piped <oci.tar.gz"
is "is the image" "$(cat "$FS/images/piped/digest")" "$(cat "$FS/images/of-oci-tar/digest")"
is "and says where it came from" "$(cat "$FS/images/piped/ref")" "standard input"
ok "of a pipe, without a name" sh -c "cat base.tar | TMPDIR=$CASE_DIR/spool '$BANGER_BIN/banger' image import -"
ok "is called stdin" test -d "$FS/images/stdin"
is "a path, without a name" "$(banger image import two.tar 2>&1 | grep -o 'say which by')" 'say which by'
like "a tag" "$(banger image import --tag other two.tar)" '^two sha256:'
like "import of a folder" "$(banger image import oci-dir folder)" '^folder sha256:'
cp oci.tar "with tag in.tar" && cp oci.tar "one as two.tar"
like "a path with a word of the verb's" "$(banger image import "with tag in.tar" 2>&1)" 'rename it'
like "and one that a name helps" "$(banger image import "one as two.tar" three)" '^three sha256:'
rmdir "$FS/images/three"
for name in piped stdin two folder; do rmdir "$FS/images/$name"; done
before=$(imported)
like "garbage in standard input" "$(head -c 100000 /dev/urandom | TMPDIR=$CASE_DIR/spool banger image import - bad 2>&1)" ': standard input: .*tar'
mount -t tmpfs -o size=64k,mode=1777 small small
like "no room for it" "$(TMPDIR=$CASE_DIR/small banger image import - bad <oci.tar 2>&1)" 'No space left.*TMPDIR'
is "leaves nothing there" "$(ls small)" ""
umount small
for signal in INT TERM; do
	mkfifo "pipe-$signal"
	TMPDIR=$CASE_DIR/spool "$BANGER_BIN/banger" image import - bad <"pipe-$signal" &
	pid=$!
	exec 8>"pipe-$signal"
	head -c 5000 oci.tar >&8
	await sh -c "test -s $CASE_DIR/spool/banger-stdin-*"
	is "what others may do with the file" "$(stat -c '%a %U' spool/banger-stdin-*)" "600 $OWNER"
	kill -$signal $pid
	wait $pid
	is "SIG$signal while it comes: cancelled" $? 130
	exec 8>&-
done
is "nothing is left of all that" "$(ls spool)" ""
is "nor an image" "$(imported)" "$before"

# An ext4 that somebody else made.
mke2fs -q -t ext4 -d "$CASE_DIR/busybox-root" fs.ext4 64M >/dev/null 2>&1
chmod a+r fs.ext4
sum=sha256:$(sha256sum <fs.ext4 | cut -d' ' -f1)
is "register an ext4" "$(errno_write "$FS/images/ctl" "register $CASE_DIR/fs.ext4 as reg")" OK
is "its digest" "$(cat "$FS/images/reg/digest")" "$sum"
like "its reference" "$(cat "$FS/images/reg/ref")" 'fs.ext4$'
copy=$STATE/images/$(ls -t "$STATE/images" | head -n 1)
is "the copy is nobody's to change" "$(stat -c %a "$copy")" 444
printf changed | dd of=fs.ext4 bs=1 seek=1000000 conv=notrunc status=none
is "what becomes of the original is nothing to it" "sha256:$(sha256sum <"$copy" | cut -d' ' -f1)" "$sum"
mkdir "$FS/vms/reg"
echo reg >"$FS/vms/reg/image"
ok "a VM of it starts" sh -c "echo start > $FS/vms/reg/ctl"
like "with its files" "$(banger vm exec reg -- cat /etc/passwd)" '^user:'
ok "and changes" banger vm exec reg -- sh -c 'echo x >/etc/new; sync'
is "nothing of the image" "sha256:$(sha256sum <"$copy" | cut -d' ' -f1)" "$sum"

before=$(imported)
# bad_fs WHAT FILE ERRNO PATTERN
bad_fs()
{
	chmod a+r "$CASE_DIR/$2"
	is "register: $1" "$(errno_write "$FS/images/ctl" "register $CASE_DIR/$2 as bad")" "$3"
	like "register: $1: says" "$(tail -n 1 "$FS/log")" "$4"
	is "register: $1: nothing is left" "$(imported)" "$before"
}
change_fs() { cp fs.ext4 "$1" && debugfs -w -R "$2" "$1" >/dev/null 2>&1; }
change_fs dirty.ext4 "feature needs_recovery"
bad_fs "a journal that isn't empty" dirty.ext4 EUCLEAN 'journal.*e2fsck'
change_fs error.ext4 "set_super_value state 2"
bad_fs "not clean" error.ext4 EUCLEAN 'clean.*e2fsck'
cp fs.ext4 cut.ext4 && truncate -s 40M cut.ext4
bad_fs "cut off" cut.ext4 EBADMSG 'cut off'
cp fs.ext4 super.ext4 && printf '\377\377' | dd of=super.ext4 bs=1 seek=1050 conv=notrunc status=none
bad_fs "a damaged superblock" super.ext4 EBADMSG 'e2fsck'
change_fs root.ext4 "set_inode_field <2> mode 0100644"
bad_fs "a root that is no folder" root.ext4 EBADMSG 'e2fsck'
mke2fs -q -O journal_dev journal.ext4 16M >/dev/null 2>&1
bad_fs "a journal" journal.ext4 EBADMSG 'journal'
printf 'QFI\373' >q.qcow2 && truncate -s 1M q.qcow2
bad_fs "a qcow2" q.qcow2 EBADMSG 'qemu-img convert'
truncate -s 1M disk && printf '\125\252' | dd of=disk bs=1 seek=510 conv=notrunc status=none
bad_fs "a disk with partitions" disk EBADMSG 'partitions'
bad_fs "a tar" base.tar EBADMSG 'import'
: >nothing
bad_fs "an empty file" nothing EBADMSG 'no ext4'
like "register by the command" "$(banger image register fs.ext4 again)" '^again sha256:'
is "register: a folder" "$(errno_write "$FS/images/ctl" "register $CASE_DIR/busybox-root as bad")" EISDIR
is "register: not there" "$(errno_write "$FS/images/ctl" "register $CASE_DIR/none as bad")" ENOENT
case_end
