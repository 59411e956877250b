#!/usr/bin/env bash
# Registries behind proxies: those that the variables say which `banger up` was called with, for the registries that they say.
. "$(dirname "$0")/../lib/case.sh"
. "$(dirname "$0")/../lib/registry.sh"
case_begin "$@"

busybox_tar "$CASE_DIR/base.tar"
layout app '{"Entrypoint":["/bin/sh"]}' "$CASE_DIR/base.tar"
certificate site registry.example
registry_up 5000
registry_up 5001 "  tls: {certificate: $CASE_DIR/site.crt, key: $CASE_DIR/site.key}"
push app 5000/plain/app:1
push app 5001/tls/app:1

# proxy PORT [USER:PASSWORD]; the names that it is asked for exist for it only.
proxy()
{
	: >"$CASE_DIR/proxy-$1"
	perl "$TOP/tests/lib/proxy.pl" "$1" "$CASE_DIR/proxy-$1" 5000 5001 "${@:2}" 2>"$CASE_DIR/proxy-$1.err" &
	REGISTRY_PIDS="${REGISTRY_PIDS:-} $!"
	await bash -c "exec 3<>/dev/tcp/127.0.0.1/$1" || diag "$(cat "$CASE_DIR/proxy-$1.err")"
}
proxy 3128
proxy 3129 'one:two words'
pull() { banger image pull "$@" 2>&1; }

https_proxy=http://localhost:3128 http_proxy=http://127.0.0.1:3129 no_proxy=near.example,.inner.example up
echo 'registry.example near.example plain.example:80 plain.example' >"$FS/config/registry_insecure"
like "by https: through its proxy" "$(pull registry.example/tls/app:1)" '^app sha256:'
is "asked for the registry" "$(sort -u "$CASE_DIR/proxy-3128")" "CONNECT registry.example:443"
is "and the other one wasn't" "$(cat "$CASE_DIR/proxy-3129")" ""
like "a registry that needs none" "$(pull near.example/tls/app:1)" 'near\.example.*has no address'
like "nor one below such a domain" "$(pull a.inner.example/tls/app:1)" 'a\.inner\.example.*has no address'
like "nor this machine" "$(pull localhost:5000/plain/app:1 local)" '^local sha256:'
is "asked it for nothing" "$(sort -u "$CASE_DIR/proxy-3128")" "CONNECT registry.example:443"
ok "down" down

https_proxy=http://one:two%20words@localhost:3129 up
like "a proxy with a login" "$(pull registry.example/tls/app:1)" '^app sha256:'
is "is asked" "$(sort -u "$CASE_DIR/proxy-3129")" "CONNECT registry.example:443"
ok "down" down

https_proxy=http://one:wrong@localhost:3129 up
like "a login that is wrong" "$(pull registry.example/tls/app:1)" 'the proxy says no \(HTTP status 407\)'
is "is in no log" "$(grep -rl wrong "$FS/log" "$STATE/fsd.log" "$STATE/log")" ""
ok "down" down

https_proxy=http://localhost:3130 up
like "a proxy that isn't there is named" "$(pull registry.example/tls/app:1)" 'no connection to the proxy localhost:3130'
registry_down
case_end
