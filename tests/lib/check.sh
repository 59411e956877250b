# shellcheck shell=bash
# The stages of scripts/check.

check_begin()
{
	CHECK_PATTERN=$1
	CHECK_DIR=$(mktemp -d /tmp/banger-check.XXXXXX)
	chmod 0755 "$CHECK_DIR"
	CHECK_COUNTS=$CHECK_DIR/counts
	CASE_SECONDS=${CASE_SECONDS:-1200} # what hangs fails, and holds up nobody for ever
	echo "0 0 0" >"$CHECK_COUNTS"
	export CHECK_SUMMARY=$CHECK_DIR/summary
	: >"$CHECK_SUMMARY"
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

# failed NAME: one thing that failed.
failed()
{
	count 0 1
	echo "failed: $1" >>"$CHECK_SUMMARY"
}

# skipped NAME REASON
skipped()
{
	count 0 0 1
	echo "skipped: $1: $2" >>"$CHECK_SUMMARY"
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
		failed "$name"
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

# unit_tests NAME BUILD [BUT]: all of its unit tests, but for those whose names match BUT.
unit_tests()
{
	local name
	for name in tests/unit/*/*.c; do
		name=${name#tests/unit/} name=${name%.c}
		[ -z "${3:-}" ] || ! grep -Eqx -- "$3" <<<"$name" || continue
		listed "unit-$1/$name" "$2/unit/$name"
	done
}

# Unit tests of what has threads.
UNITS_THREADED=(job/{job,op} store/{store,store_trouble} registry/{blobs,blobs_follow,blobs_prune,pull} image/{layers,layers_at_once,stream})

# thread_tests BUILD: them, under ThreadSanitizer.
thread_tests()
{
	local name
	for name in "${UNITS_THREADED[@]}"; do
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

# The longest begin first, so that none is left to run alone: tests by their names without folders, in this order.
TESTS_LONG='storage|restart|install|doctor|killed-helper|killed-fsd|killed-running|ssh-brought|many|cgroup|firecracker|figures|power-cut|network|spoof|umoci|registry|files|filetrouble|stopped|hostile_floods|stream|layers_at_once'

# sorted_tests TEST...: a line each.
sorted_tests()
{
	printf '%s\n' "$@" | perl -e '
		my ($n, %place) = 0;
		$place{$_} = $n++ for split /\|/, shift;
		print sort { place($a) <=> place($b) } <STDIN>; # equals stay in order
		sub place { my ($name) = $_[0] =~ m{([^/=]+)=}; $place{$name} // $n }' "$TESTS_LONG"
}

# case_tests NAME FOLDER BIN [BUT [ONLY]]: its cases with the programs in BIN, but for those whose names match BUT, or ONLY those that match. ThreadSanitizer wants no
# random addresses where the kernel makes very random ones.
case_tests()
{
	local file name how=()
	[ -z "${GUESTS:-}" ] || how+=("GUESTS=$GUESTS")
	[[ $3 != */tsan/* ]] || how+=(setarch -R)
	for file in "$2"/*.sh; do
		name=$(basename "$file" .sh)
		[ -z "${4:-}" ] || ! grep -Eqx -- "$4" <<<"$name" || continue
		[ -z "${5:-}" ] || grep -Eqx -- "$5" <<<"$name" || continue
		listed "$1/$name" timeout -k 30 "$CASE_SECONDS" env "BANGER_BIN=$PWD/$3" "${how[@]}" bash "$file"
	done
}

# run_tests WHAT JOBS TEST...
run_tests()
{
	local what=$1 jobs=$2 began=$SECONDS
	shift 2
	[ $# -gt 0 ] || return 0
	mapfile -t tests < <(sorted_tests "$@")
	tests/harness.pl -j "$jobs" -o "$CHECK_COUNTS" "${tests[@]//$'\x1f'/ }"
	echo "$what: $# programs ($((SECONDS - began)) s)"
}

# host_tests BUILD: the cases that run in a whole host, of what is in BUILD. Each host keeps a processor busy: beside other cases they don't come to an end in
# their time.
host_tests()
{
	local names
	mapfile -t names < <(cd tests/host && for file in *.sh; do listed "host/${file%.sh}" ""; done)
	[ ${#names[@]} -gt 0 ] || return 0
	mapfile -t names < <(sorted_tests "${names[@]}" | sed 's|^host/||; s/=.*//')
	echo "--- tests/host"
	# Where there was no host, no case of it has counted.
	HOST_SECONDS=${HOST_SECONDS:-2500} B=$1 COUNTS=$CHECK_COUNTS tests/host/run "${names[@]}" || [ $? != 3 ] || failed "tests/host: no host"
}

# Sizes that show that each benchmark works; without them it measures at those that the documentation's figures are of.
bench_sizes()
{
	case $1 in
	disk) echo SIZE=150 ;;
	files) echo FILES=300 MEGABYTES=60 TREES=1000 ;;
	prepare) echo SIZE_MIB=60 FILES=2000 MIB=30 ;;
	pull) echo BENCH_ROUNDS=1 ;;
	start) echo BENCH_ROUNDS=4 ;;
	tree) echo ROUNDS=2000 ;;
	esac
}

# Figures, side by side with a peer; printed, and failing only when they measured nothing.
stage_bench()
{
	local file name began why
	for file in tests/bench/*.sh; do
		name=$(basename "$file" .sh) began=$SECONDS
		grep -Eq -- "$CHECK_PATTERN" <<<"bench/$name" || continue
		echo "--- bench/$name"
		env $(bench_sizes "$name") bash "$file" | tee "$CHECK_DIR/bench.log"
		if [ "${PIPESTATUS[0]}" != 0 ]; then
			failed "bench/$name"
		elif why=$(grep -m 1 '^1\.\.0' "$CHECK_DIR/bench.log"); then
			skipped "bench/$name" "${why#1..0 # SKIP }"
		else
			count 1 0
		fi
		echo "--- bench/$name: $((SECONDS - began)) s"
	done
}

check_end()
{
	local p f s
	read -r p f s <"$CHECK_COUNTS"
	echo "after $((SECONDS / 60)) min $((SECONDS % 60)) s"
	sort "$CHECK_SUMMARY" # failures first
	echo "$p passed, $f failed, $s skipped"
	[ "$f" = 0 ] && [ "$p" -gt 0 ]
}
