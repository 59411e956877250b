# shellcheck shell=bash
# The stages of scripts/check.

check_begin()
{
	CHECK_PATTERN=$1
	CHECK_DIR=$(mktemp -d /tmp/banger-check.XXXXXX)
	chmod 0755 "$CHECK_DIR"
	CHECK_COUNTS=$CHECK_DIR/counts
	echo "0 0 0" >"$CHECK_COUNTS"
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
	trap 'rm -rf "$CHECK_DIR"' EXIT
	trap 'exit 130' INT TERM
}

# count PASSED FAILED [SKIPPED]
count()
{
	local p f s
	read -r p f s <"$CHECK_COUNTS"
	echo "$((p + $1)) $((f + $2)) $((s + ${3:-0}))" >"$CHECK_COUNTS"
}

# stage NAME COMMAND...: one thing that passes or fails; its output is shown when it fails.
stage()
{
	local name=$1 began=$SECONDS
	shift
	if "$@" >"$CHECK_DIR/stage.log" 2>&1; then
		echo "$name: ok ($((SECONDS - began)) s)"
		count 1 0
	else
		echo "$name: FAILED ($((SECONDS - began)) s)"
		tail -n 60 "$CHECK_DIR/stage.log"
		count 0 1
		return 1
	fi
}

check_format()
{
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
}

check_tree_doc()
{
	"$1/banger-fsd" --print-tree-doc | diff -u docs/tree.md -
}

# Lists of NAME=COMMAND, blanks in COMMAND given as \x1f (run_tests turns them back).
listed()
{
	local name=$1
	shift
	grep -Eq -- "$CHECK_PATTERN" <<<"$name" || return 0
	local IFS=$'\x1f'
	echo "$name=$*"
}

unit_tests()
{
	local source
	for source in tests/unit/*/*.c; do
		source=${source#tests/unit/}
		listed "unit-$1/${source%.c}" "$2/unit/${source%.c}"
	done
}

# What has threads, under ThreadSanitizer; which wants no random addresses where the kernel makes very random ones.
thread_tests()
{
	local name
	for name in job/job job/op store/store store/store_trouble registry/blobs registry/blobs_follow registry/blobs_prune \
		registry/pull image/layers image/layers_at_once image/stream; do
		listed "unit-tsan/$name" setarch -R "$1/unit/$name"
	done
}

fuzz_tests()
{
	local source name
	for source in tests/fuzz/*.c; do
		name=$(basename "$source" .c)
		[ "$name" = replay ] || listed "fuzz/$name" "$1/fuzz/$name" "tests/fuzz/corpus/$name"
	done
}

# The longest cases begin first, so that none is left to run alone.
CASES_LONG='umoci|many|doctor|spoof|registry|storage|restart|firecracker'

# case_tests NAME FOLDER [BUT]: all of its cases, but for those whose names match BUT.
case_tests()
{
	local file
	for file in $(ls "$2"/*.sh | grep -E "/($CASES_LONG)\.sh$") $(ls "$2"/*.sh | grep -Ev "/($CASES_LONG)\.sh$"); do
		[ -z "${3:-}" ] || ! grep -Eqx -- "$3" <<<"$(basename "$file" .sh)" || continue
		listed "$1/$(basename "$file" .sh)" bash "$file"
	done
}

run_tests()
{
	local jobs=$1
	shift
	[ $# -gt 0 ] || return 0
	tests/harness.pl -j "$jobs" -o "$CHECK_COUNTS" "${@//$'\x1f'/ }"
}

# host_tests BUILD: the cases that run in a whole host, of what is in BUILD.
host_tests()
{
	local names
	names=$(case_tests host tests/host | sed 's|^host/||; s/=.*//')
	[ -n "$names" ] || return 0
	echo "--- tests/host"
	# Where there was none, its counts are as they were.
	B=$1 COUNTS=$CHECK_COUNTS tests/host/run $names || [ $? != 3 ] || count 0 1
}

# Figures, side by side with a peer; printed, and failing only when they measured nothing.
stage_bench()
{
	local file
	for file in tests/bench/*.sh; do
		[ -e "$file" ] || continue
		grep -Eq -- "$CHECK_PATTERN" <<<"bench/$(basename "$file" .sh)" || continue
		echo "--- bench/$(basename "$file" .sh)"
		if bash "$file"; then count 1 0; else count 0 1; fi
	done
}

check_end()
{
	local p f s
	read -r p f s <"$CHECK_COUNTS"
	echo "$p passed, $f failed, $s skipped"
	[ "$f" = 0 ] && [ "$p" -gt 0 ]
}
