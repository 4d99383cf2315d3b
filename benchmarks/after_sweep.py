"""What follows a sweep of a hundred thousand trials, without Ray: choose, write, rank, paths, report, list.

The journal is planted (`benchmarks._planted_journal`): 372,000 one-minute bars a year and their five-minute
bars, every ready family, `AIOPT_BENCH_AFTER_SWEEP_POINTS` (10,000) points each.  It is kept in the cache of
the benchmarks, since planting takes longer than all that is measured.  Each step runs in a process of its
own, one after the other on the same run folder, and its largest resident memory is that process's.

*chosen* is the first look at all trials, *ranked* with it already taken, as a run does both; *opened* is what
a continued run reads first.  Before these, how long the points of such a sweep take to plan and to order.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import msgspec

from aiopt.backtest.pricing import add_spread
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json, content_hash
from aiopt.files import atomic_write_bytes
from aiopt.market.instrument import instrument
from aiopt.optimize.run_paths import write_paths
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.trial_list import list_trials, read_listed
from aiopt.ranking.trials import count_trials, read_plan
from aiopt.report import write_report
from aiopt.report.overview import run_overview
from aiopt.runs import CONFIG, LEADERBOARD, RANKING, STATE, TRIALS, RunState, load_run
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.ordering import by_indicators
from aiopt.sweep.points import Strategy, judged_by, plan_context, plan_points
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialPoint
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import CACHE, Figure
from benchmarks._planted_journal import plant_journal

BARS = int(os.environ.get("AIOPT_BENCH_AFTER_SWEEP_BARS", "372000"))
POINTS = int(os.environ.get("AIOPT_BENCH_AFTER_SWEEP_POINTS", "10000"))
SEED = 11

Measured = list[tuple[str, float, str]]


def run() -> list[Figure]:
    """Measure and return the figures."""
    config = SweepConfig(timeframes=("1m", "5m"), trials=POINTS, seed=SEED)
    started = time.perf_counter()
    points = plan_points([Strategy(space.spec, space) for space in FAMILIES.values()], config)
    planned = time.perf_counter()
    order = by_indicators(points)
    ordered = time.perf_counter()
    if sorted(order) != list(range(len(points))):
        raise AssertionError("every point must be ordered once")
    journal = _journal(points, config)
    found: Measured = [
        ("trials", len(points), "trials"),
        ("points_planned", planned - started, "s"),
        ("points_ordered", ordered - planned, "s"),
        ("journal", journal.stat().st_size / 2**20, "MiB"),
    ]
    with _folder() as folder:
        run_dir = folder / "after-sweep"
        run_dir.mkdir()
        shutil.copy(journal, run_dir / LEADERBOARD)
        for step in (_ranking, _paths, _report, _overview, _list):
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                found += process.submit(_alone, step, run_dir, len(points)).result()
    targets = {"chosen_and_ranked": 60.0, "ranking_memory_peak": 2048.0, "report_memory_peak": 2048.0}
    return [
        Figure(name=name, value=value, unit=unit, target=targets.get(name)) for name, value, unit in found
    ]


def _journal(points: list[TrialPoint], config: SweepConfig) -> Path:
    """Return the planted journal, from the cache where it is there."""
    own = content_hash([BARS, SEED, [point.spec.spec_hash for point in points]])[:16]
    path = CACHE / f"after-sweep-{own}.jsonl"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        bars = _bars()
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        plant_journal(unfinished, points, bars, plan_context(bars, config), _show)
        unfinished.replace(path)
    return path


def _show(done: int) -> None:
    if done % 10_240 == 0:
        print(f"planted {done:,}", file=sys.stderr, flush=True)


def _bars() -> dict[str, BarSet]:
    # Five-minute bars of the same span, made independently: what a trial costs does not depend on prices.
    return {"1m": _generated(BARS, "1m"), "5m": _generated(BARS // 5, "5m")}


def _generated(n_bars: int, timeframe: str) -> BarSet:
    bid = random_walk_bars(n_bars, seed=SEED, timeframe=timeframe)
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aiopt-bench-") as name:
        yield Path(name)


def _alone(step: Callable[[Path, int], Measured], run_dir: Path, trials: int) -> Measured:
    """Run a step and add the largest memory of its process."""
    found = step(run_dir, trials)
    return [*found, (f"{step.__name__.strip('_')}_memory_peak", _memory_peak() / 2**20, "MiB")]


def _memory_peak() -> int:
    """Return the largest resident memory of this process; `getrusage` counts that of the one it came from."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("this system does not say how much memory a process took at most")


def _ranking(run_dir: Path, trials: int) -> Measured:
    bars = _bars()
    config = SweepConfig(timeframes=("1m", "5m"), trials=POINTS, seed=SEED)
    context, judged = plan_context(bars, config), judged_by(bars, config)
    bars.clear()
    marks = [time.perf_counter()]
    board = Leaderboard(run_dir / LEADERBOARD, judged, context.plan)
    marks.append(time.perf_counter())
    chosen = board.chosen_trials()
    marks.append(time.perf_counter())
    counts = board.write_trials(run_dir / TRIALS)
    marks.append(time.perf_counter())
    ranking = board.ranking()
    marks.append(time.perf_counter())
    if counts["rows"] != trials or ranking.statistics.trials != trials or not ranking.entries or not chosen:
        raise AssertionError(f"every trial must be ranked, but: {counts}, {ranking.statistics}")
    atomic_write_bytes(run_dir / RANKING, canonical_json(ranking))
    board.close()
    opened, first, wrote, ranked = (stop - start for start, stop in itertools.pairwise(marks))
    return [
        ("opened", opened, "s"),
        ("chosen", first, "s"),
        ("trials_written", wrote, "s"),
        ("ranked", ranked, "s"),
        ("chosen_and_ranked", first + ranked, "s"),
        ("trials_file", (run_dir / TRIALS).stat().st_size / 2**20, "MiB"),
    ]


def _paths(run_dir: Path, trials: int) -> Measured:
    started = time.perf_counter()
    found = write_paths(run_dir)
    if not all(group.lanes for group in found.groups) or found.trials_counted != trials:
        raise AssertionError("every group must have paths")
    return [("paths_judged", time.perf_counter() - started, "s")]


def _report(run_dir: Path, trials: int) -> Measured:
    # What the report needs beside: who ran it, and when.
    state = RunState(run_id=run_dir.name, status="done", started_at=dt.datetime.now(dt.UTC).isoformat())
    atomic_write_bytes(run_dir / STATE, msgspec.json.encode(state))
    atomic_write_bytes(run_dir / CONFIG, canonical_json({"instrument": "EURUSD", "seed": SEED}))
    told: list[float] = []
    started = time.perf_counter()
    page = write_report(run_dir, progress=lambda done, total: told.append(done / total))
    wall = time.perf_counter() - started
    if not told or told[-1] != 1 or f"{trials:,} trials" not in page.read_text():
        raise AssertionError("the page must be of all trials, and say how far it is")
    return [("report_written", wall, "s"), ("report_page", page.stat().st_size / 2**20, "MiB")]


def _overview(run_dir: Path, trials: int) -> Measured:
    started = time.perf_counter()
    found = run_overview(load_run(run_dir))
    if found.trials != trials or not found.entries:
        raise AssertionError(f"every trial must be counted, but {found.trials} are")
    return [("run_shown", time.perf_counter() - started, "s")]


def _list(run_dir: Path, trials: int) -> Measured:
    path = run_dir / TRIALS
    plan = read_plan(path)
    assert plan is not None
    started = time.perf_counter()
    found = list_trials(read_listed(path, plan), top=20)
    if not found.all == count_trials(path) == trials or len(found.trials) != 20:
        raise AssertionError("every trial must be listed")
    return [("trials_listed", time.perf_counter() - started, "s")]
