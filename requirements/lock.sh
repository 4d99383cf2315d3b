#!/usr/bin/env bash
# Regenerate the exact locks: base (what `make optimize` installs), dev (base + tests), cpu and gpu (base + serving).
# Needs `uv` (pip install uv).  The locks are installed with `pip install --no-deps`, so nothing else ever arrives.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  uv pip compile pyproject.toml --extra build --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --no-annotate --custom-compile-command "make lock" --quiet "$@"
}
compile --generate-hashes --output-file requirements/base.lock
compile --generate-hashes --extra dev --constraint <(grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' requirements/base.lock) \
  --output-file requirements/dev.lock
# No hashes: the CPU build of torch differs from index to index.
compile --extra cpu --override requirements/cpu.overrides --output-file requirements/cpu.lock
compile --extra gpu --generate-hashes --output-file requirements/gpu.lock
