"""Differences of equal prices: what floats leave of zero is zero in arrays, bar by bar and in Pine alike.

Bars that often stand still: moving averages repeat, bands collapse, and `m - m[1]` is 4e-16 where it is 0.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import StreamingSignals, compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.broker import simulate
from aiopt.timeframe import parse_timeframe
from aiopt.verification.pine_runs import PineJob, PineRun

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
SIZES = {"tick_size": EURUSD.tick_size, "pip_size": EURUSD.pip_size, "initial_balance": 100_000.0}

INDICATORS = {
    "m": {"kind": "sma", "args": {"length": 5}},
    "e": {"kind": "ema", "args": {"length": 3}},
    "b": {"kind": "bollinger", "args": {"length": 4, "multiplier": 2.0}},
    "r": {"kind": "rsi", "args": {"length": 3}},
    "d": {"kind": "dmi", "args": {"length": 3, "smoothing": 3}},
}
CONDITIONS = {
    "slope": ("(close - m) / (m - m[1]) > 1000000", "(close - m) / (m - m[1]) < -1000000"),
    "percent_b": (
        "(close - b.lower) / (b.upper - b.lower) > 0.8",
        "(close - b.lower) / (b.upper - b.lower) < 0.2",
    ),
    "steps": ("(close - close[1]) / (close[1] - close[2]) > 1.3", "1 / (m - close) < -300.7"),
    "means": ("(hlc3 - close) / (hl2 - close) > 0.6", "(ohlc4 - m) / (hlc3 - hl2) < -3.3"),
    "constant": ("close / 0.00000000001 > 1", "close - close[1] < -0.00007"),
    "parameter": ("close / zero > 1 or close - close[1] > 0.00007", "close / zero < 1 and close < open"),
    "rsi": ("(r - r[1]) / (r[1] - r[2]) > 1.7", "1 / (100 - r) > 0.0501"),
    "dmi": ("(d.plus - d.minus) / (d.plus[1] - d.minus[1]) > 1.9", "1 / (d.plus - d.plus[1]) < -0.3"),
    "squares": (
        "(close - open) / ((close - open) * (close - open)) > 3333.3",
        "open / (close - open) < -9999.9",
    ),
    "equal": ("m == m[1] and close > close[1]", "m != m[1] and close < close[1] and b.upper - b.lower > 0"),
    "crossing": ("crossover(m - m[1], 0)", "crossunder(b.upper - b.lower, 0.0001)"),
    "runs": ("rising(m, 2) and not falling(close, 1)", "falling(b.upper, 2)"),
}


def still_bars(n_bars: int, seed: int) -> BarArrays:
    """Return bars of whole ticks near 1.39, two thirds of which do not move at all.

    No bar moves by one tick: its square is 1e-10, the tolerance itself, on whose two sides engines may fall.
    """
    random = np.random.default_rng(seed)
    moves = random.choice([0, 0, 0, 0, 2, -2, 7, -7, 26, -26], n_bars)
    close = 139_000 + np.cumsum(moves)
    open_ = np.concatenate(([139_000], close[:-1]))
    quiet = random.random(n_bars) < 0.6
    high = np.maximum(open_, close) + np.where(quiet, 0, random.integers(0, 5, n_bars))
    low = np.minimum(open_, close) - np.where(quiet, 0, random.integers(0, 5, n_bars))
    timeframe = parse_timeframe("1m")
    return BarArrays(
        instrument="EURUSD",
        timeframe=timeframe,
        price="bid",
        ts_open_ns=1_551_693_600_000_000_000 + timeframe.ns * np.arange(n_bars, dtype=np.int64),
        **{
            name: np.round(values / 100_000, 5)
            for name, values in (("open", open_), ("high", high), ("low", low), ("close", close))
        },
        volume=np.ones(n_bars),
        data_hash="0" * 64,
    )


def spec_of(name: str) -> StrategySpec:
    entry_long, entry_short = CONDITIONS[name]
    text = entry_long + entry_short
    used = {word.split(".")[0] for word in re.findall(r"[a-z][a-z0-9_.]*", text)} & INDICATORS.keys()
    return StrategySpec.from_json(
        msgspec.json.encode(
            {
                "name": f"near_zero_{name}",
                "params": {"zero": 0.0} if "zero" in text else {},
                "indicators": {key: INDICATORS[key] for key in sorted(used)},
                "entry_long": entry_long,
                "entry_short": entry_short,
                "exit_long": "close < close[1]",
                "exit_short": "close > close[1]",
            }
        )
    )


@pytest.fixture(scope="module")
def bars() -> BarArrays:
    return still_bars(1500, seed=8)


@pytest.fixture(scope="module")
def runs(pine, bars: BarArrays) -> dict[str, PineRun]:
    """All scripts in one process of the engine, which starts once."""
    scripts = [emit(spec_of(name), provenance=Provenance(), instrument=EURUSD) for name in CONDITIONS]
    found = pine.run_many([PineJob(script, bars) for script in scripts])
    return dict(zip(CONDITIONS, found, strict=True))


@pytest.mark.parametrize("name", CONDITIONS)
def test_differences_of_equal_prices_trade_the_same_in_pine(
    runs: dict[str, PineRun], bars: BarArrays, name: str
) -> None:
    spec = spec_of(name)
    signals = compute_signals(spec, bars, **SIZES)
    streaming = StreamingSignals(spec, **SIZES)
    for i in range(len(bars)):
        row = streaming.update(
            int(bars.ts_open_ns[i]),
            *(float(getattr(bars, part)[i]) for part in ("open", "high", "low", "close", "volume")),
        )
        assert (row.entry_long, row.entry_short) == (signals.entry_long[i], signals.entry_short[i]), i
    bar_set = BarSet(
        instrument=EURUSD,
        timeframe=bars.timeframe,
        bid=bars,
        ask=bars,
        single_price=True,
        data_hash=bars.data_hash,
    )
    expected = [
        (t.entry_bar, t.exit_bar, t.side, round(t.entry_price, 5), round(t.exit_price, 5))
        for t in simulate(signals, bar_set, pine_entry_bar=True)
        if t.exit_bar is not None
    ]
    found = [
        (t.entry_bar, t.exit_bar, t.side, round(t.entry_price, 5), round(t.exit_price, 5))
        for t in runs[name].closed
    ]
    assert found == expected
    # A slope is a multiple of a fifth of a tick: a quotient of a million is float noise and nothing else.
    assert found == [] if name == "slope" else len(found) > 20
