"""Backtests per second and core: the warm session against a bare NautilusTrader loop over the same specs.

Both run the same specs over the same 33,120 one-minute bars (a month) with bid, ask and spread, in one
process each, taking turns.  The bare loop keeps its engine too (with a new strategy object per trial, as
NautilusTrader's guide to repeated runs has it) and gets its signals precomputed; the session's time includes
computing them, equity and figures.  Times are CPU seconds.  Resident memory is read around 300 more trials.

`AIOPT_BENCH_SWEEP_BARS` and `AIOPT_BENCH_SWEEP_TRIALS` set the sizes.
"""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import Figure, median

BARS = int(os.environ.get("AIOPT_BENCH_SWEEP_BARS", "33120"))
MEMORY_TRIALS = int(os.environ.get("AIOPT_BENCH_SWEEP_TRIALS", "300"))
ROUNDS = 2
SEED = 11


def run() -> list[Figure]:
    """Measure and return the figures."""
    specs = [spec for space in FAMILIES.values() for spec in space.specs(2, SEED)]
    ways = {"session": _session, "streaming": _streaming, "bare": _bare}
    context = get_context("spawn")  # one engine per process
    with (
        ProcessPoolExecutor(1, context) as session,
        ProcessPoolExecutor(1, context) as streaming,
        ProcessPoolExecutor(1, context) as bare,
    ):
        pools = {"session": session, "streaming": streaming, "bare": bare}
        measured: dict[str, list[tuple[float, int]]] = {name: [] for name in ways}
        for turn in range(ROUNDS + 1):
            for name, way in ways.items():
                result = pools[name].submit(way, specs).result()
                if turn:  # the first round warms up
                    measured[name].append(result)
        before, after = session.submit(_memory, specs).result()
    seconds = {name: median([s for s, _ in rounds]) / len(specs) for name, rounds in measured.items()}
    trades = {name: rounds[0][1] for name, rounds in measured.items()}
    if trades["session"] != trades["streaming"] or abs(trades["bare"] / trades["session"] - 1) > 0.05:
        raise AssertionError(f"the ways must do the same work, but opened these positions: {trades}")
    return [
        Figure(name="bars", value=BARS, unit="bars"),
        Figure(name="specs", value=len(specs), unit="specs"),
        Figure(name="trades_per_trial", value=trades["session"] / len(specs), unit="trades"),
        Figure(name="session_trial", value=seconds["session"], unit="s", target=0.7),
        Figure(name="session_trials_per_core", value=1 / seconds["session"], unit="trials/s"),
        Figure(name="session_bars_per_core", value=BARS / seconds["session"], unit="bars/s"),
        Figure(name="streaming_trials_per_core", value=1 / seconds["streaming"], unit="trials/s"),
        Figure(name="bare_trials_per_core", value=1 / seconds["bare"], unit="trials/s"),
        Figure(name="bare_bars_per_core", value=BARS / seconds["bare"], unit="bars/s"),
        Figure(name="session_over_bare", value=seconds["bare"] / seconds["session"], unit="x", target=1.0),
        Figure(name="memory_trials", value=MEMORY_TRIALS, unit="trials"),
        Figure(name="rss_after_warm_up", value=before / 2**20, unit="MiB"),
        Figure(name="rss_growth", value=(after - before) / 2**20, unit="MiB", target=10.0),
    ]


def _bars() -> BarSet:
    bid = random_walk_bars(BARS, seed=SEED)
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


_kept: dict[str, object] = {}
"""What a worker process of this benchmark keeps warm."""


def _trials(signals: str, specs: list[StrategySpec]) -> tuple[float, int]:
    from aiopt.backtest.session import BacktestSession

    session = _kept.setdefault("session", None) or BacktestSession(_bars(), BacktestConfig(signals=signals))
    _kept["session"] = session
    assert isinstance(session, BacktestSession)
    started = time.process_time()
    trades = sum(len(session.run(spec).trades) for spec in specs)
    return time.process_time() - started, trades


def _session(specs: list[StrategySpec]) -> tuple[float, int]:
    return _trials("arrays", specs)


def _streaming(specs: list[StrategySpec]) -> tuple[float, int]:
    return _trials("streaming", specs)


def _bare(specs: list[StrategySpec]) -> tuple[float, int]:
    from benchmarks._bare_nautilus import BareLoop

    bars = _bars()
    loop = _kept.setdefault("loop", None) or BareLoop(bars)
    _kept["loop"] = loop
    assert isinstance(loop, BareLoop)
    sizes = {"tick_size": 1e-5, "pip_size": 1e-4, "initial_balance": 100_000.0}
    signals = [compute_signals(spec, bars.bid, **sizes) for spec in specs]
    started = time.process_time()
    trades = sum(loop.trial(arrays) for arrays in signals)
    return time.process_time() - started, trades


def _memory(specs: list[StrategySpec]) -> tuple[int, int]:
    """Return resident memory before and after many trials in the warm session's process."""
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    for index in range(MEMORY_TRIALS):
        _trials("arrays", [specs[index % len(specs)]])
    gc.collect()
    return before, process.memory_info().rss
