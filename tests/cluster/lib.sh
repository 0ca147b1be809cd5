# shellcheck shell=bash
# What the scripts of this folder share: messages, waiting for a predicate, and processes that are known by id and command line.
# In DIR: `pids` has a line "name pid" for each process, `cmd/NAME` its command line (NUL between arguments), `log/NAME.log` its output.
# Sourced, never run. All functions that deal with processes expect DIR to be the current directory.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

need() { # PROGRAM... : one message for all that is missing
  local program missing=()
  for program in "$@"; do
    command -v "$program" > /dev/null || missing+=("$program")
  done
  [[ ${#missing[@]} -eq 0 ]] || die "missing: ${missing[*]} (tests/cluster/install gets all but Go 1.26 from Debian)"
}

wait_until() { # SECONDS WHAT COMMAND... : until the command succeeds; fails loudly with the last output
  local limit=$1 what=$2 end=$((SECONDS + $1)) output
  shift 2
  until output=$("$@" 2>&1); do
    ((SECONDS < end)) || { say "after $limit s still not: $what"; [[ -z $output ]] || printf '%s\n' "$output" | tail -n 20 >&2; return 1; }
    sleep 0.3
  done
}

start() { # NAME COMMAND... : in the background, detached, recorded
  local name=$1; shift
  mkdir -p cmd log
  printf '%s\0' "$@" > "cmd/$name"
  setsid "$@" >> "log/$name.log" 2>&1 < /dev/null &
  echo "$name $!" >> pids
}

pid_of() { # NAME : the recorded id
  [[ -e pids ]] && awk -v name="$1" '$1 == name { pid = $2 } END { if (pid) print pid; else exit 1 }' pids
}

runs() { # NAME PID : the process lives, and is still the one that was recorded (ids are reused). After a fork and before
  # its exec it has the command line of a shell, hence the second look. A pipe, for cmp -s trusts file sizes and /proc has none.
  local try
  for try in 1 2; do
    [[ -r /proc/$2/cmdline ]] || return 1
    # shellcheck disable=SC2002
    if cat "/proc/$2/cmdline" 2> /dev/null | cmp -s "cmd/$1" -; then return 0; fi
    [[ $try == 2 ]] || sleep 0.05
  done
  return 1
}

stop() { # NAME PID [SIGNAL] : ends it, by force after 5 s
  runs "$1" "$2" || return 0
  kill -"${3:-TERM}" "$2" 2> /dev/null || return 0
  local _
  for _ in $(seq 50); do runs "$1" "$2" || return 0; sleep 0.1; done
  kill -KILL "$2" 2> /dev/null || return 0
  for _ in $(seq 50); do runs "$1" "$2" || return 0; sleep 0.1; done
  say "$1 ($2) cannot be stopped"
  return 1
}

tails() { # the last lines of each log that has any, for a failure
  local log
  for log in log/*.log; do
    [[ -s $log ]] || continue
    printf -- '--- %s\n' "$log" >&2
    tail -n 8 "$log" | cut -c1-400 >&2
  done
}
