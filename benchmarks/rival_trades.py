"""Which trades other backtesters share with the screen, trade by trade, and why the others differ.

The part of `benchmarks.screen` that counts: it needs no idle machine.  The rivals run in interpreters that
`AIOPT_BENCH_RIVALS_PYTHON` and `AIOPT_BENCH_JESSE_PYTHON` name.  `python -m benchmarks.rival_trades JSON`
gives the table of the documentation.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks._harness import Figure, Result
from benchmarks._trade_differences import REASONS


def run() -> list[Figure]:
    """Count and return the counts, per rival by `benchmarks._trade_differences.REASONS`."""
    from benchmarks import screen

    counts = [figure for figure in screen.rivals() if figure.unit == "trades"]
    if not counts:
        names = " or ".join(screen.RIVALS)
        raise SystemExit(f"error: name an interpreter that has the rivals: {names}=PYTHON")
    return [Figure(name="points", value=screen.RIVAL_POINTS, unit="trials"), *counts]


def table(figures: Sequence[Figure]) -> str:
    """Return the counts as a table in Markdown, the reasons that no trade had left out."""
    counts: dict[str, dict[str, int]] = {}
    for figure in figures:
        rival, found, reason = figure.name.partition("_trades_")
        if found:
            counts.setdefault(reason, {})[rival] = int(figure.value)
    rivals = list(counts["equal"])
    lines = [f"| trades | {' | '.join(rivals)} |", "|---" * (1 + len(rivals)) + "|"]
    for reason, text in REASONS.items():
        if any(counts[reason].values()) or reason == "unexplained":
            lines.append(f"| {text} | {' | '.join(f'{counts[reason][rival]:,}' for rival in rivals)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Result).figures))
