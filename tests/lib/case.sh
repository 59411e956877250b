# shellcheck shell=bash
# What a case of tests/tree, tests/fault and tests/bench is made of. A case begins with
#
#   . "$(dirname "$0")/../lib/case.sh"
#   case_begin          # namespaces, an instance of its own, the picture of the machine before
#   ...
#   ok "what must hold" COMMAND ARG...
#   case_end            # banger down, the leak audit, the plan
#
# Each case has its own network and mount namespace, its own runtime and state folders and its own daemons, so that cases run side
# by side and no packet leaves. BANGER_BIN names the folder of the programs (build/bin).

set -u
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BANGER_BIN=${BANGER_BIN:-$TOP/build/bin}
# Waiting for something has one limit, generous: two loaded cores under emulation, perhaps with sanitizers.
PATIENCE=${PATIENCE:-180}
OWNER=nobody
CASE_COUNT=${CASE_COUNT:-0}
CASE_FAILED=${CASE_FAILED:-0}
CASE_UP=0
[ "${GUESTS:-}" != process ] || . "$TOP/tests/lib/process_guests.sh"

CASE_MIRRORS=()
mirrors_gone()
{
	[ ${#CASE_MIRRORS[@]} = 0 ] || umount -l "${CASE_MIRRORS[@]}"
	CASE_MIRRORS=()
}

# mirror DIR: an empty folder of the owner's where links are shown and not followed, as in the tree.
mirror()
{
	install -d -o "$OWNER" -g "$(id -g "$OWNER")" "$1"
	mount --bind "$1" "$1" && mount -o remount,bind,nosymfollow "$1" && CASE_MIRRORS+=("$1")
}

# skip KEY REASON: the whole case, when the machine lacks something; a failure where BANGER_MUST_WORK names KEY.
skip()
{
	: "${2:?a reason}"
	case ",${BANGER_MUST_WORK:-}," in
	*,"$1",*)
		echo "1..1"
		echo "not ok 1 - must work here: $2"
		exit 1
		;;
	esac
	echo "1..0 # SKIP $2"
	exit 0
}

# skip_part KEY WHAT REASON: likewise for one of the case's tests.
skip_part()
{
	: "${3:?a reason}"
	case ",${BANGER_MUST_WORK:-}," in
	*,"$1",*) fail "$2: must work here: $3" ;;
	*) pass "$2 # SKIP $3" ;;
	esac
}

diag()
{
	printf '%s\n' "$*" | sed 's/^/# /'
}

pass()
{
	CASE_COUNT=$((CASE_COUNT + 1))
	echo "ok $CASE_COUNT - $1"
}

fail()
{
	CASE_COUNT=$((CASE_COUNT + 1))
	CASE_FAILED=$((CASE_FAILED + 1))
	echo "not ok $CASE_COUNT - $1"
}

# ok WHAT COMMAND...: COMMAND must succeed.
ok()
{
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then
		pass "$what"
	else
		fail "$what"
		diag "status $? of: $*"
		diag "$out"
	fi
}

# fails WHAT COMMAND...: COMMAND must fail.
fails()
{
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then
		fail "$what"
		diag "succeeded: $*"
		diag "$out"
	else
		pass "$what"
	fi
}

# is WHAT GOT WANTED: two strings are the same.
is()
{
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1"
		diag "got:    $2"
		diag "wanted: $3"
	fi
}

# like WHAT GOT PATTERN: a string matches an extended regular expression.
like()
{
	if grep -Eq -- "$3" <<<"$2"; then
		pass "$1"
	else
		fail "$1"
		diag "got:    $2"
		diag "wanted: /$3/"
	fi
}

# errno_of COMMAND...: the name of the error a write to FILE ends with: errno_write FILE TEXT prints OK, EINVAL, ...
errno_write()
{
	perl -e '
		use Errno;
		my ($file, $text) = @ARGV;
		sysopen(my $f, $file, 1) or do { report() };
		my $n = syswrite($f, $text);
		report() unless defined $n;
		print "OK\n";
		sub report { my $e = $! + 0; for (sort keys %!) { if (Errno->can($_) && Errno->$_ == $e) { print "$_\n"; exit 0 } } print "$e\n"; exit 0 }
	' "$1" "$2"
}

# errno_call mkdir|rmdir|unlink|rename|open PATH [PATH]: likewise for a system call.
errno_call()
{
	perl -e '
		use Errno;
		my ($call, @p) = @ARGV;
		my $ok = $call eq "mkdir" ? mkdir($p[0]) : $call eq "rmdir" ? rmdir($p[0]) : $call eq "unlink" ? unlink($p[0]) :
			$call eq "rename" ? rename($p[0], $p[1]) : $call eq "open" ? open(my $f, "<", $p[0]) : die;
		if ($ok) { print "OK\n"; exit 0 }
		my $e = $! + 0;
		for (sort keys %!) { if (Errno->can($_) && Errno->$_ == $e) { print "$_\n"; exit 0 } }
	' "$@"
}

# nap SECONDS: without a process for it. Thousands of them in a case use up the numbers of processes, and a shell that finds one again waits for the wrong one.
exec {NAP}<> <(:)
nap()
{
	read -r -t "$1" <&"$NAP"
}

# eventually WHAT COMMAND...: COMMAND succeeds within PATIENCE.
eventually()
{
	local what=$1 end=$((SECONDS + PATIENCE))
	shift
	while ! "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then
			fail "$what"
			diag "not within $PATIENCE s: $*"
			return 1
		fi
		nap 0.1
	done
	pass "$what"
}

# await COMMAND...: waits for it like eventually, without being a test.
await()
{
	local end=$((SECONDS + PATIENCE))
	while ! "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then
			diag "not within $PATIENCE s: $*"
			return 1
		fi
		nap 0.05
	done
	return 0
}

# as_owner COMMAND...: as the unprivileged user that the instance belongs to.
as_owner()
{
	setpriv --reuid="$OWNER" --regid="$(id -g $OWNER)" --clear-groups -- "$@"
}

# guest_on_time VM: the guest's clock is the host's, to a second.
guest_on_time()
{
	local from guest till
	from=$(date +%s) guest=$(as_owner "$BANGER_BIN/banger" vm exec "$1" -- date +%s) till=$(date +%s)
	[ "$guest" -ge $((from - 1)) ] && [ "$guest" -le $((till + 1)) ]
}

banger()
{
	"$BANGER_BIN/banger" "$@"
}

# What the kernel holds of banger and of this namespace: the leak audit compares two of these.
audit_picture()
{
	echo "links:"; ip -o link | sed 's/^[0-9]*: //; s/\(.*\) \\.*/\1/' | awk '{print $1}' | sort
	echo "nft:"; nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'
	echo "mounts:"; awk '{print $5, $(NF-2)}' /proc/self/mountinfo | grep -F "$CASE_DIR" | sort
	echo "loops:"; losetup -a 2>/dev/null | grep -F "$CASE_DIR"
	echo "processes:"; audit_processes
	echo "run:"; find "$BANGER_RUN_BASE" -mindepth 1 2>/dev/null | sort
}

# Processes of this case: whoever has its folder in arguments or environment, or lives in its network namespace, but for ourselves.
audit_processes()
{
	local here pid
	here=$(readlink /proc/self/ns/net)
	for pid in /proc/[0-9]*; do
		[ "$(readlink "$pid/ns/net" 2>/dev/null)" = "$here" ] || continue
		tr '\0' ' ' <"$pid/cmdline" 2>/dev/null | cut -c1-120 | grep -E 'banger-(fsd|helper|files)|qemu-system|reaper'
	done | sort
}

# The state folder that cases start from: a pulled kernel and the busybox image, made once a run (tests/template).
case_template()
{
	[ -n "${BANGER_TEMPLATE:-}" ] && [ -d "$BANGER_TEMPLATE" ] || return 0
	mkdir -p "$BANGER_STATE_BASE"
	# Images and kernels never change once they are there: linked, not copied. The rest is the case's own.
	cp -al "$BANGER_TEMPLATE" "$BANGER_STATE_BASE/banger"
	rm -rf "$BANGER_STATE_BASE"/banger/banger.db* "$BANGER_STATE_BASE"/banger/*log "$BANGER_STATE_BASE"/banger/ssh
	cp -a "$BANGER_TEMPLATE"/banger.db* "$BANGER_TEMPLATE"/ssh "$BANGER_STATE_BASE/banger/"
}

case_begin()
{
	[ "$(id -u)" = 0 ] || skip root "needs root"
	[ -c /dev/fuse ] || skip fuse "no /dev/fuse"
	[ -c /dev/net/tun ] || skip tun "no /dev/net/tun"
	if [ -z "${CASE_INSIDE:-}" ]; then
		why=$(unshare --net --mount --propagation private true 2>&1) || skip netns "no network namespaces: $why"
		export CASE_INSIDE=1
		exec unshare --net --mount --propagation private -- bash "$0" "$@"
	fi
	trap 'case_cut_off "$BASH_COMMAND"' INT TERM
	trap case_cleanup EXIT
	ip link set lo up
	CASE_DIR=$(mktemp -d /tmp/banger-case.XXXXXX)
	chmod 0755 "$CASE_DIR"
	export BANGER_RUN_BASE=$CASE_DIR/run BANGER_STATE_BASE=$CASE_DIR/state
	mkdir -p "$BANGER_RUN_BASE" "$BANGER_STATE_BASE"
	unset BANGER_INSTANCE
	FS=$BANGER_RUN_BASE/banger/fs
	RUN=$BANGER_RUN_BASE/banger
	STATE=$BANGER_STATE_BASE/banger
	case_template
	if [ "${GUESTS:-}" = process ]; then
		process_guests || { fail "guests that are processes"; exit 1; }
	fi
	audit_picture >"$CASE_DIR/before"
}

# up [ARG...]: banger up with the emulator chosen (proving KVM is a case of its own).
up()
{
	CASE_UP=1
	if ! banger up --owner "$OWNER" -o accel=tcg "$@" >"$CASE_DIR/up.log" 2>&1; then
		fail "banger up"
		diag "$(cat "$CASE_DIR/up.log")"
		case_logs
		exit 1
	fi
}

down()
{
	CASE_UP=0
	banger down >"$CASE_DIR/down.log" 2>&1 || { diag "$(cat "$CASE_DIR/down.log")"; return 1; }
}

fsd_pid()
{
	cat "$RUN/fsd/pid"
}

# Its children are of its session, and may have lower numbers; those of another have names of their own.
helper_pid()
{
	pgrep --ns $$ --nslist net -f "banger-helper --owner $(id -u $OWNER)" | while read -r p; do
		[ "$(ps -o sid=,comm= -p "$p" | xargs)" = "$p banger-helper" ] && echo "$p"
	done
}

# Not 0 of one that doesn't run: kill takes that for its caller's process group.
vm_pid()
{
	sed 's/^0$/none/' "$FS/vms/$1/pid"
}

case_logs()
{
	local log
	for log in "$STATE/fsd.log" "$RUN/helper.log" "$CASE_DIR/helper.log"; do
		[ -s "$log" ] && { diag "--- $log"; tail -n 25 "$log" | sed 's/^/# /'; }
	done
	for log in "$STATE"/vms/*/console; do
		[ -s "$log" ] && { diag "--- $log"; tail -c 1500 "$log" | tr -d '\r' | sed 's/^/# /'; }
	done
}

# The case is told to end before it has: where it is, and what of it runs.
case_cut_off()
{
	diag "cut off at: $1 (lines ${BASH_LINENO[*]})"
	ps -o pid,stat,wchan:32,etimes,args -p "$(pgrep --ns $$ --nslist net | paste -sd,)" | grep -v '\[.*]$' | cut -c1-160 | sed 's/^/# /'
	case_logs
	exit 130
}

# Nothing that a sanitizer or an assertion had to say may go unseen.
case_scan_logs()
{
	local found
	cat "$RUN/helper.log" >>"$CASE_DIR/helper.log" 2>/dev/null
	found=$(grep -aE 'Sanitizer|runtime error|==[0-9]+==|[Aa]ssertion' "$STATE/fsd.log" "$CASE_DIR/helper.log" 2>/dev/null | head -n 20)
	if [ -n "$found" ]; then
		fail "no sanitizer reports"
		diag "$found"
	else
		pass "no sanitizer reports"
	fi
}

case_cleanup()
{
	local status=$? pid
	if [ "$CASE_UP" = 1 ]; then
		banger down >/dev/null 2>&1
	fi
	for pid in $(ls /proc | grep -E '^[0-9]+$'); do
		[ "$pid" = $$ ] && continue
		[ "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" = "$(readlink /proc/self/ns/net)" ] || continue
		tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qE 'banger-(fsd|helper|files)|qemu-system|reaper' && kill -9 "$pid"
	done
	umount -l "$FS" 2>/dev/null
	mirrors_gone
	[ -z "${GUESTS_DIR:-}" ] || process_guests_end
	[ -n "${KEEP:-}" ] || rm -rf "$CASE_DIR"
	exit $status
}

case_end()
{
	mirrors_gone
	[ "$CASE_FAILED" = 0 ] || case_logs
	cp "$RUN/helper.log" "$CASE_DIR/helper.log" 2>/dev/null
	if [ "$CASE_UP" = 1 ]; then
		ok "banger down" down
	fi
	case_scan_logs
	audit_picture >"$CASE_DIR/after"
	if diff -u "$CASE_DIR/before" "$CASE_DIR/after" >"$CASE_DIR/leaks"; then
		pass "leak audit: as before"
	else
		fail "leak audit: as before"
		diag "$(cat "$CASE_DIR/leaks")"
	fi
	echo "1..$CASE_COUNT"
	exit $((CASE_FAILED > 0))
}
