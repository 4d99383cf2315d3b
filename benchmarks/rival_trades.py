"""Which trades other backtesters share with the screen, trade by trade, and why the others differ.

The part of `benchmarks.screen` that counts: it needs no idle machine.  The rivals run in interpreters that
`AIOPT_BENCH_RIVALS_PYTHON` and `AIOPT_BENCH_JESSE_PYTHON` name.
"""

from __future__ import annotations

from benchmarks import screen
from benchmarks._harness import Figure


def run() -> list[Figure]:
    """Count and return the counts, per rival by `benchmarks._trade_differences.REASONS`."""
    counts = [figure for figure in screen.rivals() if figure.unit == "trades"]
    if not counts:
        names = " or ".join(screen.RIVALS)
        raise SystemExit(f"error: name an interpreter that has the rivals: {names}=PYTHON")
    return [Figure(name="points", value=screen.RIVAL_POINTS, unit="trials"), *counts]
