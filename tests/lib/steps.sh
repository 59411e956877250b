# shellcheck shell=bash
# Daemons that are killed at a counted step (tests/fault/steps.c), and again while the next one recovers. Behind case.sh.

RECOVERY=0   # at which step the next recovery is cut off: one further each time, so that all of its steps come round
RECOVERIES=0 # how many were
KNOWN=()     # of each recovery: the milliseconds from its beginning to the state that is right

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# Daemons that count, of the case's own copies, since each program's numbers lie beside it; and a VM that runs, $VM.
steps_begin()
{
	local program
	mkdir -m 0755 "$CASE_DIR/bin"
	cp "$(dirname "$BANGER_BIN")"/fault/* "$CASE_DIR/bin/" || { fail "make programs"; exit 1; }
	BANGER_BIN=$CASE_DIR/bin
	for program in banger-fsd banger-helper; do
		steps_arm $program 0
		chmod 0666 "$BANGER_BIN/$program.steps"
	done
	up
	VM=$FS/vms/box
	mkdir "$VM"
	is "a VM that runs" "$(errno_write "$VM/ctl" start)" OK
}

# steps_arm PROGRAM N: it counts from 0 again, and is killed at its Nth step, whoever it is by then; never for N = 0.
steps_arm()
{
	# shellcheck disable=SC2059
	printf "\\0\\0\\0\\0\\0\\0\\0\\0\\x$(printf '%x' $(($2 % 256)))\\x$(printf '%x' $(($2 / 256)))\\0\\0\\0\\0\\0\\0" 1<>"$BANGER_BIN/$1.steps"
}

# How many steps PROGRAM has done.
steps_count()
{
	od -An -t u8 -N 8 "$BANGER_BIN/$1.steps" | tr -d ' '
}

gone() { [ ! -d "/proc/$1" ] || grep -q 'State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null; }

# spared PROGRAM PID: no step kills it from here on. Fails where one has before.
spared()
{
	steps_arm "$1" 0
	case $1 in
	banger-fsd)
		for _ in {1..36}; do
			gone "$2" && return 1
			timeout 5 cat "$FS/metrics" >/dev/null && return 0
		done
		return 1
		;;
	*)
		nap 0.2
		! gone "$2"
		;;
	esac
}

# killed PROGRAM N COMMAND...: COMMAND is done while PROGRAM dies at its Nth step; it goes on as $actor. Fails where PROGRAM doesn't come to that many;
# COMMAND is over then.
killed()
{
	local program=$1 n=$2 pid end=$((SECONDS + PATIENCE))
	shift 2
	case $program in
	banger-fsd) pid=$(fsd_pid) ;;
	*) pid=$(helper_pid) ;;
	esac
	steps_arm "$program" "$n"
	"$@" >"$CASE_DIR/acted" 2>&1 &
	actor=$!
	until gone "$pid"; do
		if ! kill -0 $actor 2>/dev/null; then
			# That step may come after the answer, and while it is looked at.
			[ "$(steps_count "$program")" -lt "$n" ] && spared "$program" "$pid" && return 1
		fi
		if [ $SECONDS -ge $end ]; then
			fail "$what: $program dies at step $n, or the command ends"
			diag "$(steps_count "$program") steps, said so far: $(cat "$CASE_DIR/acted")"
			diag "$(ps -Lo pid,tid,stat,wchan:32,args -p "$pid,$actor")"
			kill -9 "$pid" "$actor"
			end=$((SECONDS + PATIENCE))
		fi
		nap 0.02
	done
	steps_arm "$program" 0
}

# answered ANSWER: what killed() began has come to its end, and says ANSWER; "": whatever.
answered()
{
	local end=$((SECONDS + PATIENCE))
	while kill -0 $actor 2>/dev/null; do
		[ $SECONDS -lt $end ] || { fail "$what: an answer"; kill -9 $actor; break; }
		nap 0.02
	done
	wait $actor
	[ -z "$1" ] || [ "$(cat "$CASE_DIR/acted")" = "$1" ] || { fail "$what: the answer is $1"; diag "$(cat "$CASE_DIR/acted")"; }
}

# recovered PROGRAM: `banger up`, which is cut off too, and again; then the VM's state is what its process says.
recovered()
{
	local program=$1 began
	RECOVERY=$((RECOVERY + 1))
	steps_arm "$program" $RECOVERY
	if banger up --owner "$OWNER" >"$CASE_DIR/up.log" 2>&1; then
		# It has come to its end: round again.
		RECOVERY=0
	else
		RECOVERIES=$((RECOVERIES + 1))
	fi
	steps_arm "$program" 0
	began=$(now_ms)
	banger up --owner "$OWNER" >"$CASE_DIR/up.log" 2>&1 || { fail "up after $what"; diag "$(cat "$CASE_DIR/up.log")"; return; }
	await state_right || fail "$what: the state is right"
	KNOWN+=($(($(now_ms) - began)))
}

# What VM's FILES say, in a row.
shown()
{
	timeout "$PATIENCE" cat "${@/#/$VM/}" | xargs
}

# What runs has a process. One that is being brought down may end while it is looked at, and is known to have at the next look.
state_right()
{
	local vm=$FS/vms/box state pid
	state=$(timeout "$PATIENCE" cat "$vm/state") pid=$(timeout "$PATIENCE" cat "$vm/pid")
	case $state in
	running) [ "$pid" != 0 ] && ! gone "$pid" ;;
	created | starting | stopping | stopped | failed) ;;
	*) false ;;
	esac
}

# Nothing of a VM that is down is left.
nothing_left()
{
	local left
	left=$(ip -o link | grep -o 'bg0-[0-9]*'; find "$RUN/fsd/vm" "$RUN/jails" -mindepth 1; pgrep --ns $$ --nslist net -fa 'qemu-system|reaper')
	[ -z "$left" ] || { fail "$what: nothing is left"; diag "$left"; }
}

# each PROGRAM FIRST STRIDE WHAT ANSWER THEN COMMAND...: PROGRAM is killed at the FIRST step of COMMAND, and so on to the last; COMMAND's answer is ANSWER,
# or any where that is "". THEN is done after each.
each()
{
	local program=$1 first=$2 stride=$3 name=$4 answer=$5 then=$6 n
	shift 6
	for ((n = first; ; n += stride)); do
		what="$name, step $n"
		killed "$program" $n "$@" || break
		recovered "$program"
		answered "$answer"
		$then
	done
	ok "$name: cut off at each of $n steps" test $n -ge $((first + 5 * stride))
}

# The middle one of the recoveries, and the worst.
recoveries()
{
	local sorted
	mapfile -t sorted < <(printf '%s\n' "${KNOWN[@]}" | sort -n)
	diag "${#KNOWN[@]} recoveries, $RECOVERIES cut off; the state was right after ${sorted[$((${#sorted[@]} / 2))]} ms, at worst ${sorted[-1]} ms"
	ok "the state is right within a second" test "${sorted[$((${#sorted[@]} / 2))]}" -lt 1000
	ok "and each was cut off while it came up, wherever it had got to" test "$RECOVERIES" -ge $((${#KNOWN[@]} / 2))
}
