#!/usr/bin/env bash
# Every test with the types beside them, the slowest tests and the coverage: what `make test` runs after lint.
#
# Unit and engine tests are independent of each other and share all cores.  The tests that start Ray and the
# serving engine run one after the other: each uses several processes, and some measure time or memory.  Their
# lines are not measured: a driver of Ray ends without a word when it runs under coverage.
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=.venv/bin
work=.cache/tests
rm -rf "$work" && mkdir -p "$work/coverage"
failed=""

stage() { # NAME COMMAND...: run it, say how long it took, remember whether it failed
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || failed="$failed $name"
  echo "== $name: $((SECONDS - began)) s"
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
stage "Ray and serving tests" "$bin/python" -m pytest tests/ray_local tests/serving --junit-xml "$work/ray.xml"

"$bin/python" tests/run/slowest.py "$work"/*.xml
COVERAGE_FILE=$PWD/$work/coverage/data "$bin/python" -m coverage combine --quiet "$work/coverage"
COVERAGE_FILE=$PWD/$work/coverage/data "$bin/python" -m coverage json --quiet -o "$work/coverage.json"
stage "coverage" "$bin/python" tests/run/coverage_floor.py "$work/coverage.json"

echo "== $SECONDS s in all"
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
