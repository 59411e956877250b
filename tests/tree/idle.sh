#!/usr/bin/env bash
# A VM that nobody uses is stopped; what uses it holds it: an open `keep`, also under another daemon, an open file, a job. However its holder ends.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
BOX=$FS/vms/box
mkdir "$BOX"
is "never by itself" "$(cat "$BOX/autostop")" max
for bad in 0 -1 1s x 99999999999; do
	like "autostop '$bad'" "$(errno_write "$BOX/autostop" "$bad")" '^(EINVAL|ERANGE)$'
done
ok "start" sh -c "echo start >$BOX/ctl"
like "not in use" "$(cat "$BOX/idle")" '^uses 0$'

exec 9<"$BOX/keep"
is "it can be set while it runs" "$(errno_write "$BOX/autostop" 2)" OK
is "seconds" "$(cat "$BOX/autostop")" 2
sleep infinity <"$BOX/keep" 9<&- &
holder=$!
eventually "two hold it" grep -qx 'uses 2' "$BOX/idle"
exec 9<&-
eventually "one does" grep -qx 'uses 1' "$BOX/idle"
kill -9 "$(fsd_pid)"
ok "another daemon" banger up --owner "$OWNER" -o accel=tcg
like "holds it as before" "$(cat "$BOX/idle")" '^uses 1$'
ok "for longer than it may be idle" sh -c "sleep 3; grep -qx running $BOX/state"
kill -9 $holder
wait $holder 2>/dev/null
is "a holder that is killed lets go" "$(timeout "$PATIENCE" cat "$BOX/wait/stopped")" stopped
like "its log says why" "$(cat "$BOX/log")" 'autostop: nobody has used it for 2 s'

ok "start" sh -c "echo start >$BOX/ctl"
exec 7<>"$BOX/exec/clone"
read -r n <&7
env printf 'sleep\n3\n' >"$BOX/exec/$n/cmd"
echo start >"$BOX/exec/$n/ctl"
exec 8>"$BOX/workspace/file" 7<&-
like "a job and a file" "$(cat "$BOX/idle")" '^uses 2$'
is "the job ends" "$(timeout "$PATIENCE" cat "$BOX/exec/$n/wait/exit")" 0
like "the file holds it" "$(sleep 3; cat "$BOX/state")" running
exec 8>&-
is "until it is closed" "$(timeout "$PATIENCE" cat "$BOX/wait/stopped")" stopped
case_end
