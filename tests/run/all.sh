#!/usr/bin/env bash
# Every test with the types beside them, the slowest tests and the coverage: what `make test` runs after lint.
#
# Unit and engine tests are independent of each other and share all cores.  The tests that start Ray and the
# serving engine run one after the other: each uses several processes, and some measure time or memory.  Lines
# are measured in all but the serving tests: engines have to load within their time limits.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=.venv/bin
work=.cache/tests
rm -rf "$work" && mkdir -p "$work/coverage"
failed=""

cores() { # clock ticks that all cores were busy, and all ticks, since the machine started
  awk '/^cpu / {idle = $5 + $6; for (i = 2; i <= 9; i++) all += $i; print all - idle, all}' /proc/stat
}

stage() { # NAME COMMAND...: run it, say how long it took and how busy the cores were, remember whether it failed
  local name=$1 began=$SECONDS before after
  shift
  echo "== $name"
  read -ra before < <(cores)
  "$@" || failed="$failed $name"
  read -ra after < <(cores)
  echo "== $name: $((SECONDS - began)) s," \
    "cores $((100 * (after[0] - before[0]) / (after[1] - before[1] + 1))) % busy"
}

measured() { # COMMAND...: run it and every Python process below it under coverage
  COVERAGE_PROCESS_START=$PWD/pyproject.toml COVERAGE_FILE=$PWD/$work/coverage/data "$@"
}

"$bin/mypy" >"$work/types.txt" 2>&1 &
types=$!
stage "unit and engine tests" measured "$bin/python" -m pytest tests --ignore tests/ray_local --ignore tests/serving \
  -n logical --maxprocesses 8 --dist worksteal --junit-xml "$work/unit.xml"
wait "$types" || failed="$failed types"
cat "$work/types.txt"
stage "Ray tests" measured "$bin/python" -m pytest tests/ray_local --junit-xml "$work/ray.xml"
stage "serving tests" "$bin/python" -m pytest tests/serving --junit-xml "$work/serving.xml"

"$bin/python" tests/run/slowest.py "$work"/*.xml
COVERAGE_FILE=$PWD/$work/coverage/data "$bin/python" -m coverage combine --quiet "$work/coverage"
COVERAGE_FILE=$PWD/$work/coverage/data "$bin/python" -m coverage json --quiet -o "$work/coverage.json"
stage "coverage" "$bin/python" tests/run/coverage_floor.py "$work/coverage.json"

echo "== $SECONDS s in all"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
