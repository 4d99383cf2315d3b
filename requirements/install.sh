#!/usr/bin/env bash
# Create .venv from an exact lock without resolving anything.   usage: install.sh base|dev|cpu|gpu
set -euo pipefail
cd "$(dirname "$0")/.."
lock="requirements/${1:?usage: install.sh base|dev|cpu|gpu}.lock"
need_mb=3500
case "$1" in cpu|dev) need_mb=6000 ;; gpu) need_mb=16000 ;; esac

fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

python=""
for candidate in "${PYTHON:-}" python3.11 python3; do
  [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
  if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "3.11" ]; then
    python=$candidate; break
  fi
done
[ -n "$python" ] || fail "Python 3.11 is needed (the locks are for it), but none of ${PYTHON:-}${PYTHON:+, }python3.11, python3 is one. Install it (e.g. apt-get install python3.11 python3.11-venv) or run: make PYTHON=/path/to/python3.11 ..."
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) ;;
  *) fail "The locks are for Linux on x86-64, but this is $(uname -s) on $(uname -m). Use such a machine, or resolve pyproject.toml yourself." ;;
esac
free_mb=$(df -Pm . | awk 'NR==2 {print $4}')
[ "$free_mb" -ge "$need_mb" ] || fail "$need_mb MB of free disk space are needed here, but there are $free_mb MB. Free space or clone the project to a larger disk."

if [ ! -x .venv/bin/python ]; then
  echo "creating .venv with $("$python" --version)"
  "$python" -m venv .venv 2>/dev/null || { rm -rf .venv; fail "The venv module of $python must work, but it does not. Install it, e.g. apt-get install python3.11-venv."; }
fi
echo "installing $(grep -cE '^[A-Za-z0-9_.-]+==' "$lock") packages from $lock (a few minutes on a slow line)"
pip_install() { .venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --quiet "$@"; }
if [ "$1" = cpu ] || [ "$1" = dev ]; then
  # The CPU build of torch first, from wherever it is: with it in place the lock's torch==2.13.0 is satisfied, and
  # the CUDA build with its libraries never arrives.
  torch=$(grep -oE '^torch==[^ +]+' "$lock")+cpu
  pip_install "$torch" 2>/dev/null \
    || pip_install --index-url "${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}" "$torch" \
    || fail "$torch must come from a package index that has the CPU builds of torch. Name it: TORCH_CPU_INDEX=URL."
fi
pip_install -r "$lock" \
  || fail "Installing $lock failed (pip says why above). Check the network or the package index, then run the same command again."
.venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --no-build-isolation --quiet -e . \
  || fail "Installing the project itself failed (pip says why above)."
touch ".venv/.installed-$1"
