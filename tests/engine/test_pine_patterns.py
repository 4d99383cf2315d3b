"""Patterns are found on the same bars by detectors, signals, NautilusTrader and Pine, ties and all."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.patterns import Prices, candlestick_masks, swing_patterns
from aiopt.patterns.candlesticks import CANDLESTICKS
from aiopt.patterns.reversals import REVERSALS
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import compute_signals, signals_equal, stream_signals
from aiopt.strategy.spec import IndicatorSpec, StrategySpec
from aiopt.testing.bars import random_walk_bars
from aiopt.verification.pine_runs import PineRunner
from aiopt.verification.verification_file import Verified
from aiopt.verification.verifying import ScriptTask, verify_scripts
from tests.unit.patterns.swinging import swinging_bars

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
MONEY = {"tick_size": EURUSD.tick_size, "pip_size": EURUSD.pip_size, "initial_balance": 100_000.0}
TICK = 1e-5
BREAKOUTS = ("breakout_up", "breakout_down")
N_BARS = 2600


@cache
def tied_bars(seed: int = 5) -> BarArrays:
    """Return bars some ticks wide: opens equal closes, highs are equal, bodies are a tenth of their range."""
    rng = np.random.default_rng(seed)
    drift = np.repeat(rng.integers(-3, 4, N_BARS // 8), 8)
    small, large = rng.integers(-1, 2, N_BARS), rng.integers(-8, 9, N_BARS) + drift
    body = np.where(rng.random(N_BARS) < 0.3, small, large)
    gap = rng.integers(-2, 3, N_BARS) - np.rint(np.roll(body, 1) * 0.4).astype(int)
    for start, side in zip(rng.integers(50, N_BARS - 9, 120), np.resize([1, -1], 120), strict=True):
        body[start : start + 3] = side * np.array([-10, rng.integers(-2, 3), rng.integers(4, 9)])
        gap[start + 1 : start + 3] = side * rng.integers(-2, 2, 2)
    close = 110_000 + np.cumsum(body + gap)
    opened = close - body
    up, down = (np.minimum(rng.geometric(0.3, N_BARS) - 1, 12) for _ in range(2))
    ticks = {
        "open": opened,
        "high": np.maximum(opened, close) + up,
        "low": np.minimum(opened, close) - down,
        "close": close,
    }
    prices = {name: np.round(values * TICK, 5) for name, values in ticks.items()}
    return replace(random_walk_bars(N_BARS, seed=seed), **prices)


def spec_of(kinds: list[str], name: str = "patterns") -> StrategySpec:
    return StrategySpec(
        name=name,
        indicators={kind: IndicatorSpec(kind=kind) for kind in kinds},
        entry_long=" or ".join(f"{kind} > 0" for kind in kinds),
    )


@pytest.mark.parametrize("version", [6, 5])
def test_patterns_are_the_detectors_bar_for_bar(pine, version: int) -> None:
    bars = tied_bars()
    kinds = [*CANDLESTICKS, *BREAKOUTS]
    spec = spec_of(kinds)
    signals = compute_signals(spec, bars, **MONEY)
    assert signals_equal(signals, stream_signals(spec, bars, **MONEY))
    prices = Prices(bars.open, bars.high, bars.low, bars.close)
    found = candlestick_masks(prices) | {kind: np.zeros(N_BARS, dtype=bool) for kind in BREAKOUTS}
    for pattern in swing_patterns(prices):
        if pattern.kind in BREAKOUTS:
            found[pattern.kind][pattern.confirmed_bar] = True
    script = emit(spec, provenance=Provenance(), instrument=EURUSD, version=version)
    plots = pine.run(script, bars, plots=kinds).plots
    for kind, mask in found.items():
        assert mask.sum() >= 3, kind
        np.testing.assert_array_equal(signals.indicators[kind], mask, err_msg=kind)
        np.testing.assert_array_equal(plots[kind], mask, err_msg=kind)
    tenth = np.isclose((bars.high - bars.low) / TICK, 10 * np.abs(bars.close - bars.open) / TICK)
    usual = np.append(0.0, prices.unit[:-1])
    wide = (bars.high > bars.low) & (bars.high - bars.low > 0.51 * usual) & (usual > 0)
    assert (tenth & wide & (bars.close != bars.open)).sum() > 10
    assert found["doji"][tenth & wide].all(), "a body of exactly a tenth of the range makes a doji"


@pytest.mark.parametrize("version", [6, 5])
def test_chart_patterns_are_the_detectors_bar_for_bar(pine, version: int) -> None:
    """With swings of prices, mirrored, and on a walk: whatever way a bar turns."""
    spec = spec_of(list(REVERSALS))
    script = emit(spec, provenance=Provenance(), instrument=EURUSD, version=version)
    for bars, least in ((swinging_bars(N_BARS, seed=version), 3), (random_walk_bars(1200, seed=version), 0)):
        signals = compute_signals(spec, bars, **MONEY)
        assert signals_equal(signals, stream_signals(spec, bars, **MONEY))
        found = {kind: np.zeros(len(bars), dtype=bool) for kind in REVERSALS}
        for pattern in swing_patterns(Prices(bars.open, bars.high, bars.low, bars.close)):
            if pattern.kind in REVERSALS:
                found[pattern.kind][pattern.confirmed_bar] = True
        plots = pine.run(script, bars, plots=list(REVERSALS)).plots
        for kind, mask in found.items():
            assert mask.sum() >= least, kind
            np.testing.assert_array_equal(signals.indicators[kind], mask, err_msg=kind)
            np.testing.assert_array_equal(plots[kind], mask, err_msg=kind)


TRADED = """{"name": "traded", "params": {"n": 4, "span": 15},
 "indicators": {
  "trend": {"kind": "higher_ema", "args": {"timeframe": "span", "length": "n"}},
  "hour": {"kind": "higher_bar", "args": {"timeframe": "1h"}},
  "hammer": {"kind": "hammer"}, "inside": {"kind": "inside_bar"}, "doji": {"kind": "doji"},
  "up": {"kind": "breakout_up"}, "down": {"kind": "breakout_down"},
  "crows": {"kind": "three_black_crows"}, "engulfed": {"kind": "bearish_engulfing"}},
 "entry_long": "(hammer[1] > 0 or up > 0 or (inside > 0 and close > open)) and close > trend",
 "entry_short": "(down > 0 or crows > 0 or engulfed > 0) and close < hour.high",
 "exit_long": "doji > 0 and close < hour.open", "exit_short": "highest(inside, 3) > 0",
 "stop_loss": {"unit": "pips", "value": 5}, "take_profit": {"unit": "pips", "value": 7}}"""


def test_trades_are_those_of_nautilus_and_of_the_script(pine) -> None:
    one = random_walk_bars(1200, seed=3)
    bars = BarSet(EURUSD, one.timeframe, one, one, True, "random-3")
    spec = StrategySpec.from_json(TRADED)
    tasks = [
        ScriptTask(
            name=f"v{version}",
            spec=spec,
            script=emit(spec, provenance=Provenance(), instrument=EURUSD, version=version),
            bars=bars,
        )
        for version in (6, 5)
    ]
    for verified in verify_scripts(tasks, PineRunner(pine.engine)):
        assert isinstance(verified, Verified), verified
        assert verified.agrees, verified.difference
        assert verified.trades > 30
        assert verified.signals == len(one)
