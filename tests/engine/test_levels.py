"""Stops and targets in per cent, and laid from the entry's own price: every view trades alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.spec import FixedSize, PriceDistance, StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.verification.pine_runs import PineJob
from tests.engine.test_exits import EURUSD, _row, parity_result, pine_rows
from tests.engine.test_pine_touches import TIGHT, bars_on, touches
from tests.engine.test_screen import N_BARS, both, events_of, random_case

pytestmark = pytest.mark.slow

CHUNKS, SPECS = 2, 8
PINE_SEEDS, PINE_BARS = range(8), 1000

MOVING = spec_from_mapping(
    {
        "name": "moving_percent",
        "params": {"away": 0.05, "first": 0.04},
        "indicators": {"average": {"kind": "ema", "args": {"length": 5}}},
        "entry_long": "crossover(close, average)",
        "entry_short": "crossunder(close, average)",
        "stop_loss": {"unit": "percent", "value": 0.04},
        "take_profit": {"unit": "percent", "value": 0.12},
        "trailing_stop": {
            "distance": {"unit": "percent", "value": "away"},
            "after": {"unit": "percent", "value": 0.02},
        },
        "break_even": {"after": {"unit": "percent", "value": 0.03}},
        "targets": [{"share": 50, "unit": "percent", "value": "first"}],
    },
    where="test",
)


def drawn_spec(seed: int) -> StrategySpec:
    return random_spec(seed, levels=True, exits=seed % 2 == 0)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_screen_and_engine_agree_under_random_assumptions(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        made = random_walk_bar_set(N_BARS, seed=seed, timeframe=("1m", "5m", "15m", "1h")[seed % 4])
        bars, config, drawn, segments = random_case(seed, made)
        spec = drawn_spec(seed)
        if drawn.stop_loss is not None and spec.stop_loss is not None and spec.stop_loss.origin != "position":
            spec = msgspec.structs.replace(spec, size=drawn.size)
        seen += events_of(both(bars, config, spec, segments))
    assert all(seen[name] > 0 for name in ("stop_loss", "take_profit", "reverse")), seen


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_moving_stops_and_targets_of_parts_take_per_cent_too(mode: str) -> None:
    bars = random_walk_bar_set(N_BARS, seed=3, timeframe="5m")
    seen = events_of(both(bars, BacktestConfig(mode=mode), MOVING))
    assert all(seen[name] > 0 for name in ("stop_loss", "take_profit", "trailing", "break_even")), seen


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_bar_by_bar_it_is_the_same(mode: str) -> None:
    bars = random_walk_bar_set(500, seed=4, timeframe="5m")
    specs = [MOVING, *(msgspec.structs.replace(drawn_spec(seed), size=FixedSize()) for seed in range(3))]
    trades = 0
    for spec in specs:
        found = []
        for signals in ("arrays", "streaming"):
            with BacktestSession(bars, BacktestConfig(mode=mode, signals=signals)) as session:
                found.append(session.run(spec))
        assert found[0].trades == found[1].trades
        np.testing.assert_array_equal(found[0].equity, found[1].equity)
        trades += len(found[0].trades)
    assert trades > 20


def test_pine_trades_the_same(pine) -> None:
    specs = [MOVING, MOVING, *(drawn_spec(seed) for seed in PINE_SEEDS)]
    cases = [(spec, random_walk_bars(PINE_BARS, seed=seed)) for seed, spec in enumerate(specs)]
    scripts = [
        emit(spec, provenance=Provenance(), instrument=EURUSD, version=5 + number % 2)
        for number, (spec, _) in enumerate(cases)
    ]
    runs = pine.run_many([PineJob(script, bars) for script, (_, bars) in zip(scripts, cases, strict=True)])
    reasons: Counter[str] = Counter()
    for (spec, bars), run in zip(cases, runs, strict=True):
        expected = [(*_row(trade), trade.exit_reason) for trade in parity_result(spec, bars).trades]
        found = pine_rows(run.closed)
        for index, (one, other) in enumerate(zip(expected, found, strict=False)):
            assert one == other, f"trade {index}: aiopt {one}, Pine {other}, {spec.to_json()}"
        assert len(expected) == len(found)
        reasons += Counter(row[-1] for row in expected)
    assert all(reasons[name] > 10 for name in ("stop_loss", "take_profit")), reasons


@pytest.mark.parametrize("grid", ["bid", "mid"])
def test_a_touch_of_a_level_that_is_laid_from_the_fill_fills_in_every_engine(pine, grid: str) -> None:
    bars = bars_on(grid)
    away = {"stop_loss": (0.8, "entry"), "take_profit": (2.9, "entry")}
    levels = {
        field: PriceDistance(unit="pips", value=value, origin=origin)
        for field, (value, origin) in away.items()
    }
    spec = msgspec.structs.replace(TIGHT, **levels)
    found = both(bars, BacktestConfig(mode="parity"), spec).trades
    run = pine.run(
        emit(spec, provenance=Provenance(), instrument=EURUSD), bars.bid, tick_size=bars.price_step
    )
    theirs = [
        (t.entry_bar, t.exit_bar, t.side, round(t.entry_price, 6), round(t.exit_price, 6)) for t in run.closed
    ]
    ours = [(t.entry_bar, t.exit_bar, t.side, t.entry_price, t.exit_price) for t in found]
    assert theirs == ours
    assert touches(bars.bid, ours) > 25
    distances = {round(abs(t.stop_price - t.entry_price) * 10_000, 2) for t in found}
    assert distances == {0.8}


def gapped(opened: list[float], high: list[float], low: list[float]) -> BarSet:
    """Return bars of one price whose first closes above its open; prices in pips over 1.1."""
    bars = random_walk_bars(len(opened), seed=1)
    prices = {"open": opened, "high": high, "low": low, "close": opened}
    made = replace(
        bars, **{name: np.round(1.1 + np.array(values) / 10_000, 5) for name, values in prices.items()}
    )
    made.close[0] += 0.0001
    return BarSet(EURUSD, bars.timeframe, made, made, True, bars.data_hash)


@pytest.mark.parametrize(
    ("origin", "stop_price", "exit_bar", "exit_price"),
    [
        # The signal closes at 1.1001, the entry fills at 1.1010, and its bar falls to 1.0995.
        ("signal", 1.0991, 2, 1.0991),
        ("entry", 1.1, 1, 1.1),
        ("position", 1.1, 2, 1.1),
    ],
)
def test_by_hand_a_stop_of_ten_pips(origin: str, stop_price: float, exit_bar: int, exit_price: float) -> None:
    bars = gapped([0.0, 10.0, 8.0, 8.0], [2.0, 12.0, 9.0, 9.0], [0.0, -5.0, -20.0, 7.0])
    stop = PriceDistance(unit="pips", value=10, origin=origin)
    spec = StrategySpec(name="hand", entry_long="close > open and volume > 0", stop_loss=stop)
    (trade,) = both(bars, BacktestConfig(mode="parity"), spec).trades
    assert (trade.entry_price, trade.stop_price) == (1.101, stop_price)
    assert (trade.exit_bar, trade.exit_price) == (exit_bar, exit_price)


def test_a_target_of_the_position_waits_for_the_close_and_fills_at_the_open_beyond_it() -> None:
    bars = gapped([0.0, 10.0, 30.0, 30.0], [2.0, 40.0, 31.0, 31.0], [0.0, 9.0, 29.0, 29.0])
    target = PriceDistance(unit="percent", value=0.1, origin="position")
    spec = StrategySpec(name="hand", entry_long="close > open and volume > 0", take_profit=target)
    (trade,) = both(bars, BacktestConfig(mode="parity"), spec).trades
    assert (trade.target_price, trade.exit_bar, trade.exit_price) == (1.1021, 2, 1.103)
    at_once = msgspec.structs.replace(target, origin="entry")
    (trade,) = both(
        bars, BacktestConfig(mode="parity"), msgspec.structs.replace(spec, take_profit=at_once)
    ).trades
    assert (trade.target_price, trade.exit_bar, trade.exit_price) == (1.1021, 1, 1.1021)


@pytest.mark.parametrize("form", [{"rounding": "away"}, {"origin": "entry"}, {"origin": "position"}])
def test_half_ticks_are_no_ties_of_float_noise(pine, form: dict) -> None:
    bars = bars_on("bid")
    levels = {
        "stop_loss": PriceDistance(unit="pips", value=2.45, **form),
        "take_profit": PriceDistance(unit="pips", value=3.15, **form),
    }
    spec = msgspec.structs.replace(TIGHT, exit_long=None, exit_short=None, **levels)
    ours = [(*_row(trade), trade.exit_reason) for trade in parity_result(spec, bars.bid).trades]
    script = emit(spec, provenance=Provenance(), instrument=EURUSD)
    assert pine_rows(pine.run(script, bars.bid).closed) == ours
    assert len(ours) > 100
