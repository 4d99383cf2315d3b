"""The first trials of a worker: everything compiled, or code kept from another folder; and the same again.

Each cluster unpacks the package into a folder of its own, so each case here has a copy of the package of its
own too.  CPU time of a fresh interpreter after its imports, for one point of each ready family; all three
must give the same trades.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._harness import ROOT, Figure, median

ROUNDS = 3

_TRIALS = """
import time
import aiopt
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.points import Strategy, plan_context, plan_points
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.testing.bars import random_walk_bar_set

config = SweepConfig(timeframes=("5m",), trials=1)
bars = random_walk_bar_set(20_000, seed=1)
points = plan_points([Strategy(space.spec, space) for space in FAMILIES.values()], config)
context = plan_context({"5m": bars}, config)

def once():
    begun = time.process_time()
    screen = TrialScreen(bars, config.backtest)
    rows = [screen.row(point, context) for point in points]
    return time.process_time() - begun, sum(sum(row.segment_trades) for row in rows)

(first, trades), (again, same) = once(), once()
assert trades == same > 0
print(aiopt.__file__, trades, first, again)
"""


def run() -> list[Figure]:
    found: dict[str, list[float]] = {"compiled": [], "kept": [], "again": []}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            trades, compiled, _ = _trials(folder / "one", folder / "cache")
            same, kept, again = _trials(folder / "two", folder / "cache")
            assert trades == same
            for label, value in (("compiled", compiled), ("kept", kept), ("again", again)):
                found[label].append(value)
    compiled, kept, again = (median(values) for values in found.values())
    return [
        Figure(name="first_trials_compiled_cpu_s", value=compiled, unit="s"),
        Figure(name="first_trials_code_kept_cpu_s", value=kept, unit="s"),
        Figure(name="trials_again_cpu_s", value=again, unit="s"),
        Figure(name="kept_speedup", value=compiled / kept, unit="x"),
    ]


def _trials(copy: Path, cache: Path) -> tuple[int, float, float]:
    """Return the trades of the trials, and the seconds they took first and again."""
    for package in ("aiopt", "cluster"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", _TRIALS]
    done = subprocess.run(command, env=environment, cwd=copy, capture_output=True, text=True, check=True)
    file, trades, first, again = done.stdout.split()
    assert Path(file).is_relative_to(copy)
    return int(trades), float(first), float(again)
