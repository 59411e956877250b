#!/usr/bin/env bash
# What listens in a guest, and its ports on the host's loopback: without a network to it, by the agent; as they are set and as they begin to listen; at each
# start, over a pause and a daemon's end; with ports that are taken.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
BOX=$FS/vms/box
guest() { banger vm exec box -- "$@"; }
# put LINE...: in one write.
put()
{
	errno_write "$BOX/publish" "$(printf '%s\n' "$@")"
}
hello() { curl -s -m "$PATIENCE" http://127.0.0.1:8080/; }
# other PORT: a program of somebody else's on the host.
other()
{
	perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 1) or die; sleep' "$1" &
	OTHER=$!
	await bash -c "exec 3<>/dev/tcp/127.0.0.1/$1"
}

ok "create with -p" banger vm create box -p 8080:80 -p 7000 -p 8001-8002:81-82 -p auto
is "is publish" "$(cat "$BOX/publish")" $'8080 80\n7000 7000\n8001-8002 81-82\nauto 1024-65535'
is "none" "$(echo >"$BOX/publish"; cat "$BOX/publish" "$BOX/published" "$BOX/ports")" ""
for bad in 80 '8080 80 x' 'a b' '0 80' '8080 65536' '8001-8003 1-2' '8003-8001 1-3' $'8080 80\n8080 81' '8080 80-81'; do
	like "'${bad//$'\n'/, }'" "$(put "$bad")" '^(EINVAL|ERANGE|EEXIST)$'
done
is "ports of root's" "$(put '80 80')" EACCES
like "why" "$(cat "$BOX/error")" 'ports below 1024 are root.s'
is "set while it is stopped" "$(put '8080 80' '9000-9001 7000-7001')" OK
is "reads as it was written" "$(cat "$BOX/publish")" $'8080 80\n9000-9001 7000-7001'
is "nothing is open" "$(cat "$BOX/published")" $'8080 80 closed 0\n9000 7000 closed 0\n9001 7001 closed 0'

other 9001
ok "start" sh -c "echo start >$BOX/ctl"
is "one is taken" "$(cat "$BOX/published")" $'8080 80 open 0\n9000 7000 open 0\n9001 7001 taken 0'
like "said in its log" "$(cat "$BOX/log")" 'publish: port 9001 of the host: another program listens there'
kill $OTHER
eventually "and had when it is free" grep -qx '9001 7001 open 0' "$BOX/published"
fails "nothing listens in the guest yet" curl -sf -m "$PATIENCE" http://127.0.0.1:8080/
is "nothing" "$(cat "$BOX/ports")" ""

guest sh -c 'mkdir -p /tmp/www; echo hello >/tmp/www/index.html; head -c 3000000 /dev/zero >/tmp/www/big'
guest httpd -p 127.0.0.1:80 -h /tmp/www
is "127.0.0.1" "$(hello)" hello
is "::1" "$(curl -s 'http://[::1]:8080/')" hello
is "3 MB" "$(curl -s http://127.0.0.1:8080/big | wc -c)" 3000000
ok "the guest's network isn't needed" guest ip link set eth0 down
is "without it" "$(hello)" hello

# What listens, and in its words nothing that means something to a terminal.
"$BANGER_BIN/banger" vm exec box -- nc -ll -p 7000 -e $'a b\e[31m\nc\\' 2>/dev/null &
job=$!
eventually "two listen" sh -c "[ \$(wc -l <$BOX/ports) = 2 ]"
eventually "which, and what they speak" sh -c "! grep -q ' ? ' $BOX/ports"
like "http" "$(sed -n 1p "$BOX/ports")" '^80 tcp 127\.0\.0\.1 http [0-9]+ httpd httpd -p 127\.0\.0\.1:80 -h /tmp/www$'
like "something else" "$(sed -n 2p "$BOX/ports")" '^7000 tcp :: - [0-9]+ nc nc -ll -p 7000 -e a b\\033\[31m\\012c\\134$'
like "a table of it" "$(banger vm ports box)" '^80 +tcp +127\.0\.0\.1 +http +8080 +[0-9]+ +httpd '
is "JSON" "$(banger vm ports --json box | perl -MJSON::PP -0e '$p = decode_json(<>)->[1]; print "$p->{port} $p->{host} ", $p->{speaks} // "none"')" "7000 9000 none"

# While it runs.
other 8090
is "a port that is taken" "$(put '8090 80' '8091 80')" EADDRINUSE
like "why" "$(cat "$BOX/error")" 'port 8090 of the host: another program listens there'
is "nothing has changed" "$(cat "$BOX/publish"; cut -d' ' -f3 "$BOX/published" | uniq)" $'8080 80\n9000-9001 7000-7001\nopen'
kill $OTHER
timeout "$PATIENCE" cat "$BOX/stream/ports" >"$CASE_DIR/stream" 2>/dev/null &
is "others, and as they begin to listen" "$(put '8080 80' 'auto 3000-7999')" OK
eventually "what listens already" grep -qx '7000 7000 open 0' "$BOX/published"
fails "an old one is closed" curl -s -m "$PATIENCE" http://127.0.0.1:9000/
"$BANGER_BIN/banger" vm exec box -- httpd -f -p 3000 -h /tmp/www &
web=$!
eventually "what begins to" grep -qx '3000 3000 open 0' "$BOX/published"
is "is reached" "$(curl -s http://127.0.0.1:3000/)" hello
kill $web $job
eventually "until it ends" sh -c "[ \"\$(cat $BOX/published)\" = '8080 80 open 0' ]"
like "streamed" "$(cat "$CASE_DIR/stream")" '^listen 3000 ::$'
eventually "both ends" grep -qx 'close 3000 ::' "$CASE_DIR/stream"

exec 5<>/dev/tcp/127.0.0.1/8080
eventually "a connection is seen" grep -qx '8080 80 open 1' "$BOX/published"
like "and is use" "$(cat "$BOX/idle")" '^uses 1$'
ok "pause" sh -c "echo pause >$BOX/ctl"
hello >"$CASE_DIR/paused" &
curl=$!
eventually "who connects now waits" sh -c "ss -Htn state established dport = :8080 | grep -q ."
ok "resume" sh -c "echo resume >$BOX/ctl"
wait $curl
is "and is answered" "$(cat "$CASE_DIR/paused")" hello
kill -9 "$(fsd_pid)"
is "a daemon's end is the connection's" "$(timeout "$PATIENCE" cat <&5 2>&1 | head -c 100)" ""
exec 5<&-
ok "another daemon" banger up --owner "$OWNER" -o accel=tcg
eventually "has the ports" sh -c "[ \"\$(curl -s -m 5 http://127.0.0.1:8080/)\" = hello ]"
ok "kill" sh -c "echo kill >$BOX/ctl"
is "closed" "$(cat "$BOX/published")" '8080 80 closed 0'
fails "refused" curl -s -m "$PATIENCE" http://127.0.0.1:8080/
case_end
