#!/usr/bin/env bash
# The banger command: the same life in fewer keys, with exit codes and JSON that scripts can use.
. "$(dirname "$0")/../lib/case.sh"
case_begin "$@"
like "down: says what to do" "$(banger vm ls 2>&1)" 'banger up'
up
ok "version" banger version
like "where" "$(banger where)" "^$FS\$"
ok "create" banger vm create web --vcpus 2 --memory 192M
like "ls" "$(banger vm ls)" 'web +created'
is "ls --json" "$(banger vm ls --json | perl -MJSON::PP -0777 -ne 'print decode_json($_)->[0]{memory}')" 201326592
ok "set" banger vm set web vcpus=1 memory=256M
like "show" "$(banger vm show web)" 'vcpus +1'
fails "set of nonsense" banger vm set web memory=lots
like "says why" "$(banger vm set web memory=lots 2>&1)" 'memory'
ok "start" banger vm start web
is "exec" "$(banger vm exec web -- echo hi)" hi
ok "stats" banger vm stats web
ok "stats --json" sh -c "$BANGER_BIN/banger vm stats --json web | perl -MJSON::PP -0777 -ne 'decode_json(\$_)'"
ok "wait" timeout 60 "$BANGER_BIN/banger" vm wait web running
like "logs" "$(banger vm logs web)" 'start'
fails "delete of a running one" banger vm delete web
ok "pause" banger vm pause web
ok "resume" banger vm resume web
ok "stop" banger vm stop web
ok "rename" banger vm rename web www
ok "delete" banger vm delete www
is "gone" "$(banger vm ls --json | tr -d ' \n')" "[]"
banger vm run --rm --name once -- sh -c 'echo ran; exit 7' >"$CASE_DIR/out"
is "run: the command's exit code" $? 7
is "run: its output" "$(cat "$CASE_DIR/out")" ran
is "run --rm: nothing is left" "$(ls "$FS/vms")" ""
ok "image ls" banger image ls
ok "kernel ls" banger kernel ls
ok "image ls --json" sh -c "$BANGER_BIN/banger image ls --json | perl -MJSON::PP -0777 -ne 'decode_json(\$_)'"
banger doctor >"$CASE_DIR/doctor"
like "doctor" "$(cat "$CASE_DIR/doctor")" 'PASS'
banger nonsense >/dev/null 2>&1
is "usage errors are 2" $? 2
banger vm start none 2>"$CASE_DIR/err"
is "a VM that isn't there is 1" $? 1
like "and said so" "$(cat "$CASE_DIR/err")" 'none'
ok "a closed stdout is no crash" sh -c "$BANGER_BIN/banger vm ls >&-; [ \$? -lt 126 ]"
ok "--help" banger --help
ok "the man page is right" mandoc -T lint -W warning "$TOP/docs/man/banger.1"
case_end
