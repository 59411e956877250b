#!/usr/bin/env bash
# Ports of the guest on the host's loopback: without a network to it, by the agent; at each start, over a daemon's end, with ports that are taken.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
up
BOX=$FS/vms/box
mkdir "$BOX"
guest() { banger vm exec box -- "$@"; }
# put LINE...: in one write.
put() { errno_write "$BOX/publish" "$(printf '%s\n' "$@")"; }

is "none by itself" "$(cat "$BOX/publish" "$BOX/published")" ""
for bad in 80 '8080 80 x' 'a b' '0 80' '8080 65536' '8001-8003 1-2' '8003-8001 1-3' $'8080 80\n8080 81' '8080 80-81'; do
	like "'${bad//$'\n'/, }'" "$(put "$bad")" '^(EINVAL|ERANGE|EEXIST)$'
done
is "ports of root's" "$(put '80 80')" EACCES
like "why" "$(cat "$BOX/error")" 'ports below 1024 are root.s'
is "set while it is stopped" "$(put '8080 80' '9000-9001 7000-7001')" OK
is "reads as it was written" "$(cat "$BOX/publish")" $'8080 80\n9000-9001 7000-7001'
is "nothing listens" "$(cat "$BOX/published")" $'8080 80 closed 0\n9000 7000 closed 0\n9001 7001 closed 0'

# Another program has one of them.
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 9001, Listen => 1) or die; sleep' &
other=$!
await bash -c 'exec 3<>/dev/tcp/127.0.0.1/9001'
ok "start" sh -c "echo start >$BOX/ctl"
is "one is taken" "$(cat "$BOX/published")" $'8080 80 open 0\n9000 7000 open 0\n9001 7001 taken 0'
like "said in its log" "$(cat "$BOX/log")" 'publish: port 9001 of the host: another program listens there'
kill $other
eventually "and had when it is free" grep -qx '9001 7001 open 0' "$BOX/published"

guest sh -c 'mkdir -p /tmp/www; echo hello >/tmp/www/index.html; head -c 3000000 /dev/zero >/tmp/www/big'
fails "nothing listens in the guest yet" curl -sf -m 20 http://127.0.0.1:8080/
guest httpd -p 127.0.0.1:80 -h /tmp/www
is "127.0.0.1" "$(curl -s http://127.0.0.1:8080/)" hello
is "::1" "$(curl -s 'http://[::1]:8080/')" hello
is "3 MB" "$(curl -s http://127.0.0.1:8080/big | wc -c)" 3000000
ok "the guest's network isn't needed" guest ip link set eth0 down
is "without it" "$(curl -s http://127.0.0.1:8080/)" hello
case_end
