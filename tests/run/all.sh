#!/usr/bin/env bash
# Every test with the types beside them, the slowest tests and the coverage: what `make test` runs after lint.
#
# Two things run side by side.  The tests that start Ray and the serving engine run one after the other: each uses
# several processes, and some measure time or memory, so a core is theirs first.  Unit and engine tests are
# independent of each other and of time: they fill what those leave idle, and have all cores once those are done.
# Lines are measured in all but the serving tests: engines have to load within their time limits.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=.venv/bin
work=.cache/tests
rm -rf "$work" && mkdir -p "$work/coverage"
# Hundreds of processes start here; without compiled modules on disk each compiles what it imports, a second at most.
unset PYTHONDONTWRITEBYTECODE

busy() { # clock ticks that all cores were busy, and all ticks, since the machine started
  awk '/^cpu / {idle = $5 + $6; for (i = 2; i <= 9; i++) all += $i; print all - idle, all}' /proc/stat
}

stage() { # NAME COMMAND...: run it, say how long it took, remember whether it failed
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || echo "$name" >>"$work/failed"
  echo "== $name: $((SECONDS - began)) s"
}

tests() { # NAME COMMAND...: a stage of tests; failed ones (1) may be run once more at the end, all else counts now
  local name=$1 began=$SECONDS code=0
  shift
  echo "== $name"
  "$@" -o cache_dir="$work/pytest-${name%% *}" --junit-xml "$work/${name%% *}.xml" || code=$?
  case $code in
    0) ;;
    1) echo "$name" >>"$work/once_more" ;;
    *) echo "$name" >>"$work/failed" ;;
  esac
  echo "== $name: $((SECONDS - began)) s"
}

measured() { # COMMAND...: run it and every Python process below it under coverage
  COVERAGE_PROCESS_START=$PWD/pyproject.toml COVERAGE_FILE=$PWD/$work/coverage/data "$@"
}

on_engines() {
  trap 'exit 130' INT
  # Ray makes its workers nicer than all else; here unit tests are what may wait.
  export RAY_worker_niceness=0
  tests "Ray tests" measured "$bin/python" -m pytest tests/ray_local
  tests "serving tests" "$bin/python" -m pytest tests/serving
}

alone() {
  # A test may wait long for a core.
  tests "unit and engine tests" measured nice -n 10 "$bin/python" -m pytest tests --ignore tests/ray_local \
    --ignore tests/serving -n logical --maxprocesses 8 --dist worksteal -o timeout=1800
}

read -ra before < <(busy)
stage "types" nice -n 19 "$bin/mypy" >"$work/types.txt" 2>&1 &
types=$!
# As a job of its own it does not ignore Ctrl-C, which tests send to commands; ending this script ends it too.
set -m
on_engines >"$work/engines.txt" 2>&1 </dev/null &
engines=$!
set +m
trap 'kill "$types" 2>/dev/null; kill -INT -- "-$engines" 2>/dev/null && wait' EXIT
trap 'exit 130' INT TERM
alone
wait "$types"
cat "$work/types.txt"
# What the tests on Ray and the serving engine have said until now, and the rest of it while they run.
tail -n +1 -f --pid "$engines" "$work/engines.txt"
wait "$engines"
trap - EXIT
read -ra after < <(busy)
if [ -e "$work/once_more" ]; then
  stage "$(paste -sd ',' "$work/once_more"), once more" "$bin/python" tests/run/once_more.py "$work"/pytest-*
fi

"$bin/python" tests/run/slowest.py "$work"/*.xml
COVERAGE_FILE=$PWD/$work/coverage/data "$bin/python" -m coverage combine --quiet "$work/coverage"
COVERAGE_FILE=$PWD/$work/coverage/data "$bin/python" -m coverage json --quiet -o "$work/coverage.json"
stage "coverage" "$bin/python" tests/run/coverage_floor.py "$work/coverage.json"

echo "== $SECONDS s in all, cores $((100 * (after[0] - before[0]) / (after[1] - before[1] + 1))) % busy during the tests"
[ ! -e "$work/failed" ] || { echo "failed: $(paste -sd ',' "$work/failed")" >&2; exit 1; }
