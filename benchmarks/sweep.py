"""The sweep as a whole on a Ray cluster: a year of minutes through the screen, and what Ray adds to trials.

*Year*: 372,000 generated one-minute bars and their five-minute bars, every ready family, so many points each
(`AIOPT_BENCH_SWEEP_YEAR_POINTS`, 10,000); wall time of the sweep with journal and progress, then of the
ranking.  The largest resident memory of a worker is read every half second.

*Overhead*: wall time per point of the sweep against a `multiprocessing` pool of as many warm workers that
run and pack the same points and write no journal.  Both are run for a small and a large number of points,
by turns and three times; the difference of their median times over the difference of their sizes is the time
per point, so that the start of workers is in neither.  In the engine on a month of five-minute bars, screened
on a month of minutes.  The engine's trials are also set beside a pool whose workers take a warm engine out of
Python's garbage collection (`sweep_overhead_ratio_to_spared_pool`).

*Generations*: wall time of a generation of a sampler that learns on the cluster, the median of all but the
first, which starts the workers, with asking and learning; and of the same points in that pool.

Then the figures of `benchmarks.screen`.  Give it an idle machine.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from aiopt.backtest.pricing import add_spread
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.board import Board
from aiopt.sweep.ordering import by_indicators, by_series
from aiopt.sweep.planning import plan_sweep
from aiopt.sweep.points import Strategy, judged_by, plan_context, plan_points
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.sweep.trial_runner import TrialRunner, open_runner
from aiopt.testing.bars import random_walk_bars
from benchmarks import screen
from benchmarks._harness import Figure
from cluster import lifecycle
from cluster.connection import keep_loopback
from cluster.resources import detect_machine, plan_node

YEAR_BARS = 372_000
YEAR_POINTS = int(os.environ.get("AIOPT_BENCH_SWEEP_YEAR_POINTS", "10000"))
ENGINE_POINTS = 20, 80
"""Per family, of the small and the large sweep."""
SCREENED_POINTS = 400, 2400
REPEATS = 3
"""Of each size of sweep and pool, by turns: one run of a few seconds may meet another's work."""
MONTH_BARS = 33_120
GENERATIONS = 6
SEED = 11


def run() -> list[Figure]:
    """Measure and return the figures."""
    with _cluster() as folder:
        figures = [
            *_overhead("sweep_overhead_ratio", folder, "5m", ENGINE_POINTS, screened=False, goal=1.05),
            *_overhead(
                "screened_sweep_overhead_ratio", folder, "1m", SCREENED_POINTS, screened=True, goal=1.1
            ),
            *_generations(folder),
            *_year(folder),
        ]
    return figures + screen.run()


@contextmanager
def _cluster() -> Iterator[Path]:
    """Run a cluster of this machine and give a folder."""
    with tempfile.TemporaryDirectory(prefix="aiopt-bench-") as name:
        folder = Path(name)
        state, _ = lifecycle.up(folder / "ray", plan_node(detect_machine()))
        os.environ.update(lifecycle.client_environment(state))
        import ray  # it reads the environment when it is imported

        keep_loopback(state.address)
        ray.init(address=state.address, namespace="bench", log_to_driver=False, logging_level="error")
        try:
            yield folder
        finally:
            ray.shutdown()
            lifecycle.down(folder / "ray")


def _bars(n_bars: int, timeframe: str) -> BarSet:
    """Return generated bars with a spread."""
    bid = random_walk_bars(n_bars, seed=SEED, timeframe=timeframe)
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


def _points(config: SweepConfig) -> list[TrialPoint]:
    return plan_points([Strategy(space.spec, space) for space in FAMILIES.values()], config)


# --- a year ---------------------------------------------------------------------------------------------


def _year(folder: Path) -> list[Figure]:
    # Five-minute bars of the same span, made independently: what a trial costs does not depend on prices.
    bars = {"1m": _bars(YEAR_BARS, "1m"), "5m": _bars(YEAR_BARS // 5, "5m")}
    config = SweepConfig(timeframes=("1m", "5m"), trials=YEAR_POINTS, seed=SEED)
    started = time.monotonic()
    points = _points(config)
    planned = time.monotonic() - started
    with _Memory() as memory:
        wall, board, journal = _swept(points, bars, config, folder / "year")
    started = time.monotonic()
    board.chosen_trials()
    chosen = time.monotonic() - started
    started = time.monotonic()
    ranking = board.ranking()
    ranked = time.monotonic() - started
    if ranking.statistics.trials != len(points) or not ranking.entries:
        raise AssertionError(f"every trial must be ranked, but {ranking.statistics} of {len(points)}")
    size = journal.stat().st_size
    board.close()
    return [
        Figure(name="year_bars", value=YEAR_BARS, unit="bars"),
        Figure(name="year_trials", value=len(points), unit="trials"),
        Figure(name="year_points_planned", value=planned, unit="s"),
        Figure(name="year_wall_time", value=wall, unit="s", target=300.0),
        Figure(name="year_trials_per_second", value=len(points) / wall, unit="trials/s"),
        Figure(name="year_worker_memory_peak", value=memory.peak / 2**20, unit="MiB", target=2048.0),
        Figure(name="year_choices_found", value=chosen, unit="s"),
        Figure(name="year_ranked", value=ranked, unit="s"),
        Figure(name="year_journal", value=size / 2**20, unit="MiB"),
    ]


def _swept(
    points: Sequence[TrialPoint], bars: dict[str, BarSet], config: SweepConfig, folder: Path
) -> tuple[float, Board, Path]:
    """Sweep on the cluster and return the wall time, the board and its journal."""
    from cluster.ranking import RemoteBoard
    from cluster.sweep import run_sweep

    context = plan_context(bars, config)
    journal = folder / "leaderboard.jsonl"
    board = RemoteBoard.start(folder.name, journal, judged_by(bars, config), context.plan)
    board.trial_ids()  # started
    seen: list[SweepProgress] = []
    started = time.monotonic()
    run_sweep(points, bars, context, board.actor, scratch_dir=folder / "tune", report=seen.append)
    wall = time.monotonic() - started
    if (seen[-1].done, seen[-1].failed) != (len(points), 0):
        raise AssertionError(f"every trial must succeed, but: {seen[-1].line()}")
    return wall, board, journal


class _Memory:
    """The largest resident memory of a sweep's workers while it is entered."""

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            for process in psutil.process_iter(["cmdline", "memory_info"]):
                line, memory = process.info["cmdline"], process.info["memory_info"]
                if memory and "SweepTrainable" in " ".join(line or ()):
                    # The bars lie in shared memory and are counted here as well.
                    self.peak = max(self.peak, memory.rss)


# --- generations ----------------------------------------------------------------------------------------


def _generations(folder: Path) -> list[Figure]:
    from cluster.ranking import RemoteBoard
    from cluster.sweep import run_generations

    bars = {"1m": _bars(MONTH_BARS, "1m")}
    config = SweepConfig(timeframes=("1m",), trials=16 * GENERATIONS, sampler="evolution", seed=SEED)
    context = plan_context(bars, config)
    strategies = [Strategy(space.spec, space) for space in FAMILIES.values()]
    planned = plan_sweep(strategies, config, context.plan)
    journal = folder / "generations.jsonl"
    board = RemoteBoard.start("generations", journal, judged_by(bars, config), context.plan)
    board.trial_ids()  # started
    times: list[float] = []
    last: list[TrialPoint] = []

    def timed() -> Iterator[list[TrialPoint]]:
        for points in planned.generations(board, keep=lambda found: None):
            times.append(time.monotonic())
            last[:] = points
            yield points
        times.append(time.monotonic())

    run_generations(timed(), bars, context, board.actor, scratch_dir=folder / "generations", report=_silent)
    done = board.progress()
    if (done.rows, done.failed) != (planned.trials, 0):
        raise AssertionError(f"every trial must succeed, but {done} of {planned.trials}")
    board.close()
    wall = float(np.median(np.diff(times)[1:]))
    pooled = _pooled(last, bars["1m"], context)
    return [
        Figure(name="generation_points", value=len(last), unit="trials"),
        Figure(name="generation_first_wall", value=times[1] - times[0], unit="s"),
        Figure(name="generation_sweep_wall", value=wall, unit="s"),
        Figure(name="generation_pool_wall", value=pooled, unit="s"),
        Figure(name="generation_overhead", value=wall - pooled, unit="s"),
    ]


def _silent(progress: SweepProgress) -> None:
    """Say nothing."""


# --- what Ray adds --------------------------------------------------------------------------------------


def _overhead(
    name: str, folder: Path, timeframe: str, sizes: tuple[int, int], *, screened: bool, goal: float
) -> list[Figure]:
    bars = {timeframe: _bars(MONTH_BARS if timeframe == "1m" else MONTH_BARS // 5, timeframe)}
    ours, pools, spared, counts = [], [], [], []
    for size in sizes:
        config = SweepConfig(
            timeframes=(timeframe,), trials=size, seed=SEED, screen=screened, ranking=RankingConfig(lanes=1)
        )
        points = _points(config)
        context = plan_context(bars, config)
        walls: dict[str, list[float]] = {"ours": [], "pool": [], "spared": []}
        for turn in range(REPEATS):
            wall, board, _ = _swept(points, bars, config, folder / f"{name}-{size}-{turn}")
            board.close()
            walls["ours"].append(wall)
            walls["pool"].append(_pooled(points, bars[timeframe], context))
            if not screened:
                walls["spared"].append(_pooled(points, bars[timeframe], context, spared=True))
        ours.append(float(np.median(walls["ours"])))
        pools.append(float(np.median(walls["pool"])))
        if not screened:
            spared.append(float(np.median(walls["spared"])))
        counts.append(len(points))
    trials = counts[1] - counts[0]
    ray_point, pool_point = ((t[1] - t[0]) / trials for t in (ours, pools))
    like_ours = [(spared[1] - spared[0]) / trials] if spared else []
    return [
        *(Figure(name=f"{name}_spared_pool_point", value=one, unit="s") for one in like_ours),
        *(Figure(name=f"{name}_to_spared_pool", value=ray_point / one, unit="x") for one in like_ours),
        Figure(name=f"{name}_points", value=trials, unit="trials"),
        Figure(name=f"{name}_pool_point", value=pool_point, unit="s"),
        Figure(name=f"{name}_sweep_point", value=ray_point, unit="s"),
        Figure(name=name, value=ray_point / pool_point, unit="x", target=goal),
    ]


_worker: dict[str, Any] = {}
"""What a process of the pool keeps."""


def _open(bars: BarSet, context: TrialContext, warm: TrialPoint, spared: bool) -> None:
    runner = open_runner(bars, context.backtest, screen=context.screen)
    runner.packed(warm, context)
    if spared:
        gc.collect()
        gc.freeze()
    _worker.update(runner=runner, context=context)


def _pack(points: list[TrialPoint]) -> int:
    runner: TrialRunner = _worker["runner"]
    return sum(len(runner.packed(point, _worker["context"]).packed) for point in points)


def _pooled(
    points: Sequence[TrialPoint], bars: BarSet, context: TrialContext, *, spared: bool = False
) -> float:
    """Return the wall time of the points in a pool of warm workers.

    `spared`: they take what they keep warm out of Python's garbage collection.
    """
    workers = detect_machine().cores
    order = by_indicators(points) if context.screen else by_series(points)
    size = 64 if context.screen else 2
    batches = [[points[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_open, initargs=(bars, context, points[0], spared)
    ) as pool:
        list(pool.map(_pack, batches[: 2 * workers]))  # every worker is up
        started = time.monotonic()
        packed = list(pool.map(_pack, batches))
        wall = time.monotonic() - started
    if not np.all(np.array(packed) > 0):
        raise AssertionError("every point must give a row")
    return wall
