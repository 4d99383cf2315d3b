"""Backtests per core: the screen against the engine, a bare NautilusTrader loop, vectorbt and raptorbt.

Everything runs over the same 33,120 one-minute bars (a month) with bid, ask and spread, on one core, and its
times are CPU seconds.  The screen's include indicators, signals and costs, and each of its points is new.
The session's include signals; the bare loop, vectorbt and raptorbt are given theirs.

The rivals run a one-sided rule with a stop and a target, and the screen the same rule.  Which trades they
share is counted against the screen on the rivals' one price, without a spread, and the others by the reason
of the difference (`benchmarks._trade_differences`); `benchmarks.rival_trades` gives these counts alone.
They run in the interpreter named by `AIOPT_BENCH_RIVALS_PYTHON` (`pip install vectorbt raptorbt backtesting`
in a virtual environment of its own) and Jesse in that of `AIOPT_BENCH_JESSE_PYTHON`; without one its figures
are left out.

`AIOPT_BENCH_SCREEN_POINTS` sets the points per family, `AIOPT_BENCH_RIVAL_POINTS` those of the rivals' rule.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import IndicatorSpec, PriceDistance, StrategySpec
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import Figure
from benchmarks._trade_differences import REASONS, Deal, Levels, compared

BARS = 33_120
POINTS = int(os.environ.get("AIOPT_BENCH_SCREEN_POINTS", "1000"))
ENGINE_POINTS = 2
RIVAL_POINTS = int(os.environ.get("AIOPT_BENCH_RIVAL_POINTS", "40"))
SEED = 11
Ours = tuple[Deal, Levels]

SIZES: dict[str, Any] = {"tick_size": 1e-5, "pip_size": 1e-4, "initial_balance": 100_000.0}


def run() -> list[Figure]:
    """Measure and return the figures."""
    context = get_context("spawn")  # one engine per process
    with ProcessPoolExecutor(1, context) as session, ProcessPoolExecutor(1, context) as bare:
        engine = session.submit(_engine).result()
        loop = bare.submit(_bare).result()
    cold, points = _screened()
    screened = _trades_of(_engine_specs())
    if screened != engine["trades"]:
        raise AssertionError(f"screen and engine must trade the same, but {screened} != {engine['trades']}")
    figures = [
        Figure(name="bars", value=BARS, unit="bars"),
        Figure(name="points", value=points, unit="trials"),
        Figure(name="screen_trial", value=cold, unit="s", target=0.0004),
        Figure(name="screen_trials_per_core", value=1 / cold, unit="trials/s"),
        Figure(name="session_trial", value=engine["seconds"], unit="s"),
        Figure(name="bare_trial", value=loop["seconds"], unit="s"),
        Figure(name="screen_vs_session_speedup", value=engine["seconds"] / cold, unit="x", target=200.0),
        Figure(name="screen_vs_nautilus_speedup", value=loop["seconds"] / cold, unit="x", target=1000.0),
    ]
    return figures + rivals()


def bars_of_a_month() -> BarSet:
    """Return a month of minutes with a spread."""
    bid = random_walk_bars(BARS, seed=SEED)
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


def _engine_specs() -> list[StrategySpec]:
    return [spec for space in FAMILIES.values() for spec in space.specs(ENGINE_POINTS, SEED)]


def _engine() -> dict[str, Any]:
    from aiopt.backtest.session import BacktestSession

    with BacktestSession(bars_of_a_month(), BacktestConfig()) as session:
        specs = _engine_specs()
        session.run(specs[0])
        started = time.process_time()
        trades = [len(session.run(spec).trades) for spec in specs]
        return {"seconds": (time.process_time() - started) / len(specs), "trades": trades}


def _bare() -> dict[str, Any]:
    from benchmarks._bare_nautilus import BareLoop

    bars = bars_of_a_month()
    loop = BareLoop(bars)
    signals = [compute_signals(spec, bars.bid, **SIZES) for spec in _engine_specs()]
    loop.trial(signals[0])
    started = time.process_time()
    for arrays in signals:
        loop.trial(arrays)
    return {"seconds": (time.process_time() - started) / len(signals)}


def _screened() -> tuple[float, int]:
    """Return CPU seconds per trial of the screen over new points of every family, and their number."""
    session = ScreenSession(bars_of_a_month(), BacktestConfig())
    specs = [spec for space in FAMILIES.values() for spec in space.specs(POINTS, SEED)]
    for space in FAMILIES.values():
        session.screen(space.spec)  # loads the compiled code
    started = time.process_time()
    trades = sum(len(session.screen(spec).trades) for spec in specs)
    seconds = time.process_time() - started
    assert trades > 10 * len(specs)
    return seconds / len(specs), len(specs)


def _trades_of(specs: list[StrategySpec]) -> list[int]:
    session = ScreenSession(bars_of_a_month(), BacktestConfig())
    return [len(session.screen(spec).trades) for spec in specs]


def _rival_specs() -> list[StrategySpec]:
    """Return one-sided crossings of two averages with a stop and a target."""
    spec = StrategySpec(
        name="long_cross",
        params={"fast_length": 10, "slow_length": 50, "stop_pips": 10.0, "target_pips": 20.0},
        indicators={
            "fast": IndicatorSpec(kind="ema", args={"length": "fast_length"}),
            "slow": IndicatorSpec(kind="ema", args={"length": "slow_length"}),
        },
        entry_long="crossover(fast, slow)",
        exit_long="crossunder(fast, slow)",
        stop_loss=PriceDistance(unit="pips", value="stop_pips"),
        take_profit=PriceDistance(unit="pips", value="target_pips"),
    )
    draw = np.random.default_rng(SEED)
    return [
        spec.with_params(
            {
                "fast_length": int(draw.integers(5, 20)),
                "slow_length": int(draw.integers(25, 120)),
                "stop_pips": float(draw.integers(8, 20)),
                "target_pips": float(draw.integers(10, 40)),
            }
        )
        for _ in range(RIVAL_POINTS)
    ]


RIVALS = {
    "AIOPT_BENCH_RIVALS_PYTHON": ("vectorbt", "raptorbt", "backtesting"),
    "AIOPT_BENCH_JESSE_PYTHON": ("jesse",),
}
"""Who runs in the interpreter that a variable names."""

PERCENT_OF = {"vectorbt": "close", "raptorbt": "entry"}
"""Of which price stop and target are a share: the close of the bar of entry, or the entry itself."""

TARGETS = {"vectorbt": 20.0, "raptorbt": 5.0}
"""Least speedups that were asked for."""


def rivals() -> list[Figure]:
    """Return how fast the rivals are that an interpreter was named for, and which trades they share."""
    pythons = {os.environ[name]: rivals for name, rivals in RIVALS.items() if os.environ.get(name)}
    if not pythons:
        return []
    bars, specs = bars_of_a_month(), _rival_specs()
    config = BacktestConfig(commission_per_million=35.0, stop_slippage_ticks=0.0)
    session = ScreenSession(bars, config)
    session.screen(specs[0])
    fresh = ScreenSession(bars, config)
    started = time.process_time()
    ours = [len(fresh.screen(spec).trades) for spec in specs]
    seconds = (time.process_time() - started) / len(specs)
    signals = [compute_signals(spec, bars.bid, **SIZES) for spec in specs]
    price = float(bars.bid.close.mean())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.npz"
        np.savez(
            path,
            **{name: getattr(bars.bid, name) for name in ("open", "high", "low", "close", "volume")},
            ts=bars.bid.ts_open_ns,
            entries=np.array([arrays.entry_long for arrays in signals]),
            exits=np.array([arrays.exit_long for arrays in signals]),
            stop=np.array([spec.params["stop_pips"] * 1e-4 / price for spec in specs]),
            target=np.array([spec.params["target_pips"] * 1e-4 / price for spec in specs]),
            stop_price=np.array([spec.params["stop_pips"] * 1e-4 for spec in specs]),
            target_price=np.array([spec.params["target_pips"] * 1e-4 for spec in specs]),
            fees=np.array(35e-6),
        )
        script = Path(__file__).with_name("_rivals.py")
        found: dict[str, Any] = {}
        for python, names in pythons.items():
            call = [python, str(script), str(path), *names]
            done = subprocess.run(call, check=True, capture_output=True, text=True, cwd=folder)
            found |= json.loads(done.stdout.splitlines()[-1])
    on_one_price = _on_one_price(bars, specs, config)
    figures = [Figure(name="screen_trial_of_the_rivals_rule", value=seconds, unit="s")]
    for name, rival in found.items():
        counts = [len(trades) for trades in rival["trades"]]
        pairs = list(zip(ours, counts, strict=False))  # a slow rival runs the first points alone
        differ = sum(abs(one - other) for one, other in pairs) / sum(one for one, _ in pairs)
        figures += [
            Figure(name=f"{name}_trial", value=rival["seconds"], unit="s"),
            Figure(
                name=f"screen_vs_{name}_speedup",
                value=rival["seconds"] / seconds,
                unit="x",
                target=TARGETS.get(name),
            ),
            Figure(name=f"{name}_trade_count_difference", value=differ, unit="share of trades"),
            *_compared(name, on_one_price, rival["trades"], specs, bars),
        ]
        if differ > 0.2:
            raise AssertionError(f"{name} must do the same work, but trades {counts}, not {ours}")
    return figures


def _on_one_price(bars: BarSet, specs: list[StrategySpec], config: BacktestConfig) -> list[list[Ours]]:
    """Return every trade where ask and bid are one price, with where it would have been left."""
    one = replace(bars, ask=replace(bars.bid, price="ask"))
    session = ScreenSession(one, config)
    return [
        [
            (
                Deal(t.entry_bar, t.exit_bar, t.entry_price, t.exit_price, t.size, t.pnl),
                Levels(t.stop_price or 0.0, t.target_price or 0.0),
            )
            for t in session.run(spec).trades
        ]
        for spec in specs
    ]


def _levels_of(name: str, trade: Deal, spec: StrategySpec, bars: BarSet, own: Levels) -> Levels:
    """Return where a rival leaves a trade: some lay stop and target in per cent, of one price or another."""
    if name not in PERCENT_OF:
        return own
    base = trade.entry_price if PERCENT_OF[name] == "entry" else float(bars.bid.close[trade.entry])
    mean = float(bars.bid.close.mean())
    stop, target = (spec.params[key] * 1e-4 / mean for key in ("stop_pips", "target_pips"))
    return Levels(base * (1 - stop), base * (1 + target))


def _compared(
    name: str, ours: list[list[Ours]], theirs: list[list[Any]], specs: list[StrategySpec], bars: BarSet
) -> list[Figure]:
    """Return how many trades of ours and of a rival fall into each class."""
    prices = {column: getattr(bars.bid, column) for column in ("open", "high", "low", "close")}
    found: Counter[str] = Counter()
    for mine, rival, spec in zip(ours, theirs, specs, strict=False):
        levels = {deal.entry: (own, _levels_of(name, deal, spec, bars, own)) for deal, own in mine}
        found += compared([deal for deal, _ in mine], [Deal(*row) for row in rival], levels, prices)
    return [Figure(name=f"{name}_trades_{kind}", value=found[kind], unit="trades") for kind in REASONS]
