#!/usr/bin/env bash
# Regenerate the exact locks: base (what `make optimize` installs, and the bus on Valkey), cpu and gpu (base + serving
# and training), dev (cpu + Kafka's client + the library's database + tests).
# Needs `uv` (pip install uv).  The locks are installed with `pip install --no-deps`, so nothing else ever arrives.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  uv pip compile pyproject.toml --extra build --extra live --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --no-annotate --custom-compile-command "make lock" --quiet "$@"
}
pins() { grep -oE '^[A-Za-z0-9_.-]+==[^ ]+' "$1"; }
compile --generate-hashes --output-file requirements/base.lock
# The hash of torch is PyPI's; install.sh brings the CPU build first, so pip never compares it.
compile --extra cpu --extra train --generate-hashes --override requirements/cpu.overrides \
  --constraint <(pins requirements/base.lock) --output-file requirements/cpu.lock
compile --extra cpu --extra train --extra kafka --extra library --extra dev --generate-hashes --override requirements/cpu.overrides \
  --constraint <(pins requirements/cpu.lock) --output-file requirements/dev.lock
compile --extra gpu --extra train --generate-hashes --constraint <(pins requirements/base.lock) --output-file requirements/gpu.lock
