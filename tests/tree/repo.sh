#!/usr/bin/env bash
# workspace.ctl prepare: a checkout goes in as it stands, then what differs, and nothing of the guest's is lost.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"

# The owner's checkout: history, tags, a merge of kinds of files, what is ignored, what is not committed, a submodule.
export HOME=$CASE_DIR/home GIT_CONFIG_NOSYSTEM=1
SRC=$CASE_DIR/src
mkdir -p "$HOME" "$SRC" "$CASE_DIR/lib"
chown "$OWNER" "$HOME" "$SRC" "$CASE_DIR/lib"
# The daemon looks for the owner's home where everybody does.
cp -a /etc "$CASE_DIR/etc"
sed -i "s|^\($OWNER:.*\):[^:]*:\([^:]*\)$|\1:$HOME:\2|" "$CASE_DIR/etc/passwd"
mount --bind "$CASE_DIR/etc" /etc
cat >"$HOME/.gitconfig" <<END
[user]
	name = Nobody Else
	email = else@example.com
[includeIf "gitdir:$SRC/"]
	path = $HOME/work.inc
END
printf '[user]\n\temail = work@example.com\n' >"$HOME/work.inc"
owner_git() { as_owner git -C "$SRC" "$@"; }
as_owner sh -e <<END
cd $CASE_DIR/lib
git init -q -b main .
echo lib > lib.c
git add .
git commit -q -m lib
cd $SRC
git init -q -b main .
echo 'int main(void) { return 0; }' > main.c
printf 'a\0b' > binary
printf 'ignored/\n*.o\n' > .gitignore
mkdir -p deep/er 'with space'
echo deep > deep/er/file
echo x > 'with space/a b'
printf n > 'new
line'
ln -s main.c link
ln -s /etc/passwd outside
printf '#!/bin/sh\necho hi\n' > run.sh
chmod 0755 run.sh
git add .
git -c protocol.file.allow=always submodule -q add $CASE_DIR/lib vendor/lib
git commit -q -m first
git tag -m one v1
echo more >> main.c
echo aaaa > same
touch -d 2040-01-01 same
git add same
git commit -q -a -m second
echo bbbb > same
touch -d 2040-01-01 same
echo uncommitted >> deep/er/file
echo untracked > untracked
mkdir ignored
echo secret > ignored/file
echo object > main.o
git rm -q --cached run.sh
git config remote.origin.url https://me:token@example.com/repo.git
mkfifo pipe
ln -s /etc/shadow out
END
up
as_owner mkdir "$FS/vms/box"
W=$FS/vms/box/workspace
prepare() { errno_write "$FS/vms/box/workspace.ctl" "prepare $*"; }
is "prepare of a stopped VM is EBUSY" "$(prepare "$SRC")" EBUSY
like "error says what to do" "$(cat "$FS/vms/box/error")" 'echo start'
ok "start" sh -c "echo start > $FS/vms/box/ctl"
is "info is empty" "$(cat "$FS/vms/box/workspace.info")" ""
is "a path must be absolute" "$(prepare src)" EINVAL
is "and be there" "$(prepare /no/such/folder)" ENOENT
is "prepare" "$(prepare "$SRC")" OK

guest_files() { banger vm exec box -- sh -c 'find . -path "*/.git" -prune -o ! -type d -print' | sort; }
host_files() { (cd "$SRC" && find . -name .git -prune -o ! -type d -print | grep -v -e ignored/ -e '\.o$' -e ./pipe -e ./out$) | sort; }
is "the same files, without what is ignored" "$(guest_files)" "$(host_files)"
bytes='find . -path "*/.git" -prune -o -type f -print0 | grep -zv -e ignored/ -e "\.o$" | LC_ALL=C sort -z | xargs -0 cat'
is "the same bytes" "$(banger vm exec box -- sh -c "$bytes" | sha256sum)" "$(cd "$SRC" && sh -c "$bytes" | sha256sum)"
is "modes" "$(banger vm exec box -- stat -c %a run.sh main.c | tr '\n' ' ')" "755 644 "
is "a link is a link" "$(banger vm exec box -- readlink link)" main.c
like "what was left out is in the log" "$(cat "$FS/vms/box/log")" 'left out: out: a link'
info() { sed -n "s/^$1 //p" "$FS/vms/box/workspace.info"; }
is "info: source" "$(info source)" "$SRC"
is "info: head" "$(info head)" "$(owner_git rev-parse HEAD)"
is "info: not stale, dirty" "$(info stale)$(info dirty)" 01

# A git in the guest: the one that is brought, when it is first needed.
status() { cat "$FS/vms/box/workspace.status"; }
in_guest() { banger vm exec box -- sh -c "$1"; }
is "nothing has changed" "$(status)" ""
is "so the patch is empty" "$(cat "$FS/vms/box/workspace.patch" | wc -c)" 0
in_guest 'ln -s /run/banger/git/bin/git /bin/git'
is "the guest's git finds its repository" "$(in_guest 'git log --format=%s')" $'second\nfirst'
# A link's own time isn't brought.
is "it need read no file again" "$(in_guest 'git diff-files --name-only' | grep -vE '^(link|outside)$')" "$(owner_git diff-files --name-only)"
is "and the state that the host's has" "$(in_guest 'git status --porcelain')" "$(owner_git status --porcelain | grep -v -e ' out$')"
is "what git has learned of the files there holds here" "$(cd "$FS/vms/box/workspace" && git -c safe.directory='*' diff-files --name-only)" \
	"$(in_guest 'git diff-files --name-only')"
is "tags" "$(in_guest 'git describe')" "$(owner_git describe)"
is "the submodule's history" "$(in_guest 'git -C vendor/lib log --format=%s')" lib
is "name and mail, by the rules of git" "$(in_guest 'git config user.name; git config user.email')" $'Nobody Else\nwork@example.com'
is "no password comes along" "$(in_guest 'git config remote.origin.url')" https://example.com/repo.git
is "a whole repository" "$(in_guest 'git fsck --full 2>&1 | grep -v ^dangling')" ""

# Work in the guest, of every kind.
ok "work in the guest" in_guest 'set -e; echo edited >> main.c; rm link; chmod 0755 binary; printf "b\0c" >> binary; mv run.sh ran.sh
mkdir -p new/folder; echo new > "new/folder/a file"; printf n2 > "$(printf "two\nlines")"; echo changed > vendor/lib/lib.c
mkdir -p ignored; echo x > ignored/more; echo y > more.o; rm -r "with space"'
index=$(in_guest 'sha256sum .git/index')
cat "$FS/vms/box/workspace.patch" >"$CASE_DIR/patch"
is "the guest's index was not touched" "$(in_guest 'sha256sum .git/index')" "$index"
cp -a "$SRC" "$CASE_DIR/applied"
ok "git apply takes it" as_owner git -C "$CASE_DIR/applied" apply "$CASE_DIR/patch"
bytes='find . -name .git -prune -o \( -type f -o -type l \) -print0 | grep -zv -e ignored/ -e "\.o$" -e ./out$ | LC_ALL=C sort -z | xargs -0 -n 1 sh -c '"'"'echo "$0"; stat -c %a "$0"; if [ -L "$0" ]; then readlink "$0"; else cat "$0"; fi'"'"
is "and makes of the host's what the guest's is" "$(cd "$CASE_DIR/applied" && sh -c "$bytes" | sha256sum)" "$(in_guest "$bytes" | sha256sum)"
like "status names them" "$(status)" $'^M\tmain.c$'
like "in submodules too" "$(status)" $'^M\tvendor/lib/lib.c$'
in_guest 'touch .git/banger/index.lock; echo newer >> "new/folder/a file"; rm main.c; mkdir main.c; echo in >main.c/in'
like "again, when what is new has changed, and after one that was killed" "$(status)" $'^A\tnew/folder/a file$'
like "and a folder has come where a file was" "$(status)" $'^A\tmain.c/in$'
in_guest 'rm -r main.c; git checkout -q main.c; echo edited >> main.c; echo new > "new/folder/a file"'
is "a bundle of nothing" "$(errno_call open "$FS/vms/box/workspace.bundle")$(cat "$FS/vms/box/workspace.bundle" 2>&1 | grep -o 'No data')" "OKNo data"
in_guest 'git commit -q -a -m "from the guest"'
cat "$FS/vms/box/workspace.bundle" >"$CASE_DIR/bundle"
ok "git fetch takes the bundle" owner_git fetch -q "$CASE_DIR/bundle" main:from-guest
is "the guest's commit" "$(owner_git log -1 --format=%s/%an from-guest)" "from the guest/Nobody Else"

# Again: what differs, and nothing that is the guest's.
is "prepare of what has not moved leaves the guest's commits" "$(prepare "$SRC"; in_guest 'git log -1 --format=%s')" $'OK\nfrom the guest'
as_owner sh -c "cd $SRC && echo third >> deep/er/file && git commit -q -a -m third"
is "stale now" "$(info stale)" 1
is "they would be lost" "$(prepare "$SRC")" EEXIST
like "error names what" "$(cat "$FS/vms/box/error")" '\.git .*commits'
is "nothing was changed" "$(in_guest 'tail -n 1 deep/er/file')" uncommitted
as_owner sh -c "cd $SRC && git reset -q --hard from-guest && git submodule -q update && echo fourth > fourth && git add . && git commit -q -m fourth && echo five > five"
is "what the host took over is no conflict" "$(prepare "$SRC")" OK
is "so there is no error" "$(cat "$FS/vms/box/error")" ""
is "the host's commits are there" "$(in_guest 'git log --format=%s' | head -n 2)" $'fourth\nfrom the guest'
is "and its new files" "$(in_guest 'cat fourth five')" $'fourth\nfive'
in_guest 'echo mine > five; rm fourth; echo theirs > note'
as_owner sh -c "cd $SRC && echo five2 > five"
is "a file changed on both sides" "$(prepare "$SRC")" EEXIST
like "is named" "$(cat "$FS/vms/box/error")" ': five:'
is "and kept" "$(in_guest 'cat five')" mine
is "unless force is said" "$(prepare force "$SRC")" OK
is "then the host's is there" "$(in_guest 'cat five')" five2
is "what the host has not touched is the guest's still" "$(in_guest 'cat note; ls fourth 2>&1 | grep -c No')" $'theirs\n1'
as_owner rm "$SRC/five"
is "a file that the host removed" "$(prepare "$SRC"; in_guest 'ls five 2>&1 | grep -c No')" $'OK\n1'

# An index in two files, of another version, with a cache of what isn't tracked and a file that git was told not to look at; and none at all.
mkdir "$CASE_DIR/odd" "$CASE_DIR/none"
chown "$OWNER" "$CASE_DIR/odd" "$CASE_DIR/none"
as_owner sh -e <<END
cd $CASE_DIR/odd
git init -q -b main .
for i in 1 2 3 4; do echo \$i > f\$i; done
touch -d 2020-01-01 f1 f2 f3 f4
git add .
git commit -q -m first
git update-index --index-version 4
git update-index --split-index
git update-index --untracked-cache
git update-index --assume-unchanged f3
echo changed >> f3
echo changed >> f4
git init -q -b main $CASE_DIR/none
echo new > $CASE_DIR/none/file
END
for vm in odd none; do
	as_owner mkdir "$FS/vms/$vm"
	ok "start" sh -c "echo start > $FS/vms/$vm/ctl"
	is "prepare" "$(errno_write "$FS/vms/$vm/workspace.ctl" "prepare $CASE_DIR/$vm")" OK
	is "nothing has changed" "$(cat "$FS/vms/$vm/workspace.status")" ""
done
in_vm() { banger vm exec "$1" -- /run/banger/git/bin/git "${@:2}"; }
ok "the index was in two files" sh -c "ls $CASE_DIR/odd/.git/sharedindex.*"
is "in the guest it is one" "$(banger vm exec odd -- sh -c 'ls .git' | grep index)" index
is "which knows all but what differs" "$(in_vm odd diff-files --name-only)" $'f3\nf4'
is "and looks at every file" "$(in_vm odd ls-files -v)" $'H f1\nH f2\nH f3\nH f4'
is "where there is none, nothing is in it" "$(in_vm none status --porcelain)" "?? file"
case_end
