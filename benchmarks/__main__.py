"""Run benchmarks by name, all of them by default: `python -m benchmarks [NAME …]`.

Prints one JSON document per benchmark on stdout, progress on stderr, and writes
`benchmarks/results/NAME.json`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import msgspec

from aiopt.errors import EXIT_BAD_INPUT, EXIT_OK, did_you_mean
from benchmarks._harness import RESULTS, record


def names() -> list[str]:
    """Return the modules beside this one that are benchmarks."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in found if not module.name.startswith("_"))


def main(wanted: list[str]) -> int:
    """Run the benchmarks named and return the exit code."""
    known = names()
    for name in wanted:
        if name not in known:
            print(f"error: no benchmark {name!r}.{did_you_mean(name, known)}", file=sys.stderr)
            return EXIT_BAD_INPUT
    for name in wanted or known:
        print(f"benchmark {name} …", file=sys.stderr)
        module = importlib.import_module(f"benchmarks.{name}")
        result = record(name, module.run, (module.__doc__ or "").strip().splitlines()[0])
        print(msgspec.json.encode(result).decode(), flush=True)
        print(f"written to {RESULTS / name}.json", file=sys.stderr)
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
