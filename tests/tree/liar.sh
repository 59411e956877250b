#!/usr/bin/env bash
# A guest whose agent lies: names, sizes, links, data that nobody asked for. It gets errors; nothing that it says is more than text, and nobody is held up.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
BOX=$FS/vms/box
W=$BOX/workspace
mkdir "$BOX"
ok "start" sh -c "echo start >$BOX/ctl"
ok "a file of the true guest's" sh -c "echo true >$W/real"

# Another one answers in its place.
SOCKETS=$(dirname "$(find "$RUN/fsd/vm" -name agent.sock)")
kill -9 "$(fsd_pid)"
mv "$SOCKETS/agent.sock" "$SOCKETS/real.sock"
# lie [LENGTH [VERSION]]: who answers from here on.
lie()
{
	rm -f "$SOCKETS/agent.sock"
	setpriv --reuid="$OWNER" --regid="$(id -g $OWNER)" --clear-groups perl "$TOP/tests/lib/liar.pl" "$SOCKETS/agent.sock" "$@" &
	liar=$!
	await test -S "$SOCKETS/agent.sock"
}
lied()
{
	kill $liar
	wait $liar 2>/dev/null
}
lie
ok "another daemon" banger up --owner "$OWNER" -o accel=tcg
eventually "hears it" grep -qx 'agent liar' "$BOX/health"
daemon=$(fsd_pid)
memory() { awk '/^VmRSS/ {print $2}' "/proc/$daemon/status"; }
before=$(memory)
# soon COMMAND...: its output and how it ended, within PATIENCE.
soon() { timeout -k 5 "$PATIENCE" "$@" 2>&1; }

is "names are bytes" "$(soon ls -AU -b "$W/names" | sort)" "$(printf '%s\n' '...' '\ ' '\377\376' 'esc\033[31m' 'new\nline' 'plain' "$(printf 'x%.0s' {1..255})" | sort)"
for d in slash dots nul long empty cut; do
	like "no folder's: $d" "$(soon ls -A "$W/$d")" 'Input/output error'
done
is "nothing was made by them" "$(ls /tmp/x 2>/dev/null)" ""
is "a folder without an end has a beginning" "$(timeout 5 ls -U "$W/endless" 2>/dev/null | head -n 1)" n0
timeout 5 ls -U "$W/stuck" >/dev/null 2>&1
pass "one that stays where it is can be left"
soon ls -A "$W/self/self/self" >/dev/null
pass "a folder in itself"
like "sizes" "$(stat -c %s "$W/huge")" '^9223372036854775807$'
is "of the largest file a part" "$(soon head -c 100 "$W/huge")" "$(printf 'h%.0s' {1..100})"
for f in more beyond type zero; do
	like "refused: $f" "$(soon cat "$W/$f")" 'Input/output error'
done
like "a file that is shorter than it is" "$(soon cat "$W/less" | tr -d '\0')" '^less'
is "a link is text" "$(readlink "$W/shadow")" /etc/shadow
for l in nullink longlink nolink; do
	fails "no link: $l" readlink "$W/$l"
done
like "neither devices nor other users' rights" "$(grep " $FS " /proc/self/mountinfo)" 'nosuid,nodev'
fails "not a disk" head -c 1 "$W/disk"
fails "more was written than there was" sh -c "echo x >$W/twice && sync $W/twice"
is "an answer that came three times" "$(soon cat "$W/twice")" 'once......'
is "and others that nobody waits for" "$(soon cat "$W/unasked")" 'unasked...'
is "after six million changes" "$(soon cat "$W/flood")" 'flood.....'
like "no errno" "$(soon cat "$W/errno")" 'Input/output error|not connected|busy|Device'
eventually "it is heard again" grep -qx 'agent liar' "$BOX/health"
soon cat "$W/short" >/dev/null
eventually "it broke off in a word, and is heard again" grep -qx 'agent liar' "$BOX/health"
timeout 2 cat "$W/silent" >/dev/null 2>&1
is "who says nothing holds up nobody" "$(soon cat "$W/twice")" 'once......'
is "no terminal is written to" "$(cat "$BOX/stats" "$BOX/health" "$BOX/ports" | LC_ALL=C tr -d '\n -~')" ""
is "ports: a line a listener" "$(cut -d' ' -f1-6 "$BOX/ports")" $'80 tcp 0.0.0.0 http 1 a\\012b\\040c\n81 tcp :: http 1 -\n82 tcp 0.0.0.0 http 1 -'
fails "output without credit" timeout -k 5 "$PATIENCE" "$BANGER_BIN/banger" vm exec box -- true
like "statfs" "$(soon stat -f -c %T "$W")" .
ok "the daemon is the same" test "$(fsd_pid)" = "$daemon"
# What was freed AddressSanitizer keeps for a while, to 256 MiB (quarantine_size_mb).
grep -aq __asan_init "$BANGER_BIN/banger-fsd" && room=524288 || room=65536
ok "of a size as before" test $(($(memory) - before)) -lt $room

# One of a banger that knew no tokens, which an upgrade has left running: it hears a hello that has none.
lied
mv "$SOCKETS/token" "$SOCKETS/token.away"
lie 20
eventually "an agent without a token is heard" grep -qx 'agent liar' "$BOX/health"
exec 7<>"$BOX/exec/clone"
read -r job <&7
echo true >"$BOX/exec/$job/cmd"
lied
mv "$SOCKETS/token.away" "$SOCKETS/token"
# One of a banger that speaks otherwise.
lie 52 2
eventually "of another protocol it is known" grep -q . "$BOX/error"
is "and what to type" "$(cat "$BOX/error")" "0 agent: the guest's agent speaks version 2, banger 1: echo restart > ctl"
is "it runs" "$(cat "$BOX/state")" running
is "its agent is lost" "$(cat "$BOX/health")" "agent lost"
like "exec says where to look" "$(soon "$BANGER_BIN/banger" vm exec box -- true)" 'does not answer.*vms/box/health'
fails "a job doesn't start" sh -c "echo start >$BOX/exec/$job/ctl"
like "and why" "$(cat "$BOX/error")" "agent does not answer: see health"
exec 7>&-
ok "its console is there" grep -q . "$BOX/console"
lied
mv "$SOCKETS/real.sock" "$SOCKETS/agent.sock"
eventually "the true guest is heard" grep -q "^agent [0-9]" "$BOX/health"
is "all is well" "$(cat "$BOX/error")" ""
is "and has its files" "$(cat "$W/real")" true
mv "$SOCKETS/agent.sock" "$SOCKETS/real.sock"
kill -9 "$(fsd_pid)"
lie 52 2
ok "a daemon that came later" banger up --owner "$OWNER" -o accel=tcg
eventually "knows it too" grep -q 'echo restart > ctl' "$BOX/error"
lied
rm "$SOCKETS/real.sock"
ok "it stops" sh -c "echo stop >$BOX/ctl"
is "and nothing is wrong any more" "$(cat "$BOX/error")" ""
case_end
