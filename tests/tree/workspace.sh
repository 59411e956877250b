#!/usr/bin/env bash
# vms/NAME/workspace/ of a running VM: the tools that people use, byte for byte.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
mkdir "$FS/vms/box"
is "workspace of a stopped VM is EBUSY" "$(errno_call open "$FS/vms/box/workspace/x")" EBUSY
ok "start" sh -c "echo start > $FS/vms/box/ctl"
W=$FS/vms/box/workspace
src=$CASE_DIR/src
mkdir -p "$src/dir/deep" "$src/empty"
cp "$TOP"/lib/*.c "$src/dir/"
head -c 3000000 /dev/urandom >"$src/big"
: >"$src/nothing"
printf 'a\nb\n' >"$src/dir/with space"
printf 'x' >"$src/dir/"$'new\nline'
ln -s ../big "$src/dir/link"
ln -s /etc/passwd "$src/absolute"
chmod 0755 "$src/dir/err.c"
chmod 0600 "$src/big"
touch -d '2001-02-03 04:05:06.123456789' "$src/dir/io.c"
touch -d '1999-01-01' "$src/empty"
chown -R "$OWNER" "$src"

ok "cp -a" as_owner cp -a "$src" "$W/src"
ok "the same bytes" diff -r --no-dereference "$src" "$W/src"
picture() { (cd "$1" && find . -printf '%p %y %m %s %T@ %l\n' | grep -v '^\. ' | sed -E '/ d [0-7]+ /s/ d ([0-7]+) [0-9]+/ d \1 -/' | sort); }
is "the same modes, sizes, times and links" "$(diff <(picture "$src") <(picture "$W/src") && echo same)" same
is "the guest has them" "$(banger vm exec box -- sh -c 'sha256sum < src/big')" "$(sha256sum <"$src/big")"
is "root's, in the guest" "$(banger vm exec box -- stat -c %u src/big)" 0
is "what the guest writes is there at once" "$(banger vm exec box -- sh -c 'echo hello > made'; cat "$W/made")" hello
is "and what it changes" "$(banger vm exec box -- sh -c 'echo more >> made'; tail -n 1 "$W/made")" more
ok "mv" as_owner mv "$W/made" "$W/moved"
ok "mv over" as_owner sh -c "echo other > $W/other && mv $W/moved $W/other"
is "took its place" "$(head -n 1 "$W/other")" hello
ok "ln" as_owner ln "$W/other" "$W/hard"
is "two names" "$(stat -c %h "$W/hard")" 2
ok "rm" as_owner rm "$W/hard"
ok "mkdir -p" as_owner mkdir -p "$W/a/b/c"
is "rmdir of a full one" "$(errno_call rmdir "$W/a")" ENOTEMPTY
is "mkdir twice" "$(errno_call mkdir "$W/a")" EEXIST
ok "append" as_owner sh -c "echo 1 > $W/n; echo 2 >> $W/n; echo 3 >> $W/n"
is "appended" "$(tr '\n' ' ' <"$W/n")" "1 2 3 "
ok "truncate" as_owner truncate -s 3 "$W/n"
is "truncated" "$(stat -c %s "$W/n")" 3
ok "a hole" as_owner truncate -s 10M "$W/sparse"
is "its size" "$(stat -c %s "$W/sparse")" 10485760
ok "write in the middle" as_owner dd if="$src/big" of="$W/sparse" bs=4096 seek=100 count=3 conv=notrunc status=none
is "is there" "$(dd if="$W/sparse" bs=4096 skip=100 count=3 status=none | sha256sum)" "$(dd if="$src/big" bs=4096 count=3 status=none | sha256sum)"
ok "tar out of it" sh -c "tar -C $W -cf $CASE_DIR/out.tar src"
mkdir "$CASE_DIR/out"
ok "is the same" sh -c "tar -C $CASE_DIR/out -xf $CASE_DIR/out.tar && diff -r --no-dereference $src $CASE_DIR/out/src"
ok "tar into it" as_owner tar -C "$W/a" -xf "$CASE_DIR/out.tar" --no-same-owner
ok "is the same there" diff -r --no-dereference "$src" "$W/a/src"
ok "vim" as_owner env HOME="$CASE_DIR" vim.tiny -N -u NONE -es -c '%s/^$/edited/' -c 'normal ggOfirst line' -c wq "$W/src/dir/err.c"
is "edited" "$(head -n 1 "$W/src/dir/err.c")" "first line"
ok "sed -i" as_owner sed -i 's/first/1st/' "$W/src/dir/err.c"
is "sed did" "$(head -n 1 "$W/src/dir/err.c")" "1st line"
ok "rsync" as_owner rsync -a --delete "$src/" "$W/src/"
is "rsync made it the same again" "$(diff -r --no-dereference "$src" "$W/src" && echo same)" same
is "a link is the guest's, not followed here" "$(readlink "$W/src/absolute")" /etc/passwd
exec 7<"$W/other"
rm "$W/other"
is "an open file outlives its name" "$(head -n 1 <&7)" hello
exec 7<&-
for i in {1..300}; do echo "$i" >"$src/empty/$i"; done
ok "300 small files" as_owner cp -a "$src/empty" "$W/many"
is "all listed" "$(ls "$W/many" | wc -l)" 300
ok "rm -r" as_owner rm -r "$W/many" "$W/src" "$W/a"
fails "gone in the guest" banger vm exec box -- test -e src
ok "a mode stays" as_owner sh -c "install -m 0711 $src/big $W/mode && test \$(stat -c %a $W/mode) = 711"
like "statfs is the guest's disk" "$(stat -f -c %b "$W")" '^[1-9]'
ok "stop" sh -c "echo stop > $FS/vms/box/ctl"
ok "start" sh -c "echo start > $FS/vms/box/ctl"
is "every byte is there" "$(sha256sum <"$W/mode")" "$(sha256sum <"$src/big")"
case_end
