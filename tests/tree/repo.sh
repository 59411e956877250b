#!/usr/bin/env bash
# workspace.ctl prepare: a checkout goes in as it stands, then what differs, and nothing of the guest's is lost.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"

# The owner's checkout: history, tags, a merge of kinds of files, what is ignored, what is not committed, a submodule.
export HOME=$CASE_DIR/home GIT_CONFIG_NOSYSTEM=1
SRC=$CASE_DIR/src
mkdir -p "$HOME" "$SRC" "$CASE_DIR/lib"
chown "$OWNER" "$HOME" "$SRC" "$CASE_DIR/lib"
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
git commit -q -a -m second
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
case_end
