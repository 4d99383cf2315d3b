"""Clock, trading day and session values say the same in Pine, through week-ends, clock changes and gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.bars.schema import BarArrays
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import compute_signals, signals_equal, stream_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
SPEC = StrategySpec.from_json(
    """{"name": "times", "params": {"from_minute": 420},
 "indicators": {
  "c": {"kind": "calendar", "args": {"timezone": "Europe/London"}},
  "d": {"kind": "calendar", "args": {"timezone": "UTC"}},
  "p": {"kind": "previous_day"}, "w": {"kind": "previous_week"}, "t": {"kind": "today"},
  "r": {"kind": "session_range",
        "args": {"start": "from_minute", "end": "08:30", "timezone": "Europe/London"}},
  "o": {"kind": "session_range",
        "args": {"start": "22:30", "end": "02:00", "timezone": "America/New_York"}},
  "v": {"kind": "vwap", "source": "hlc3"}},
 "entry_long": "close > r.high and c.hour >= 8 and c.weekday != 3 and close > v and close > o.low",
 "entry_short": "close < p.low or (close < w.low and close < t.high and d.day < 20 and d.month > 0)",
 "exit_long": "close < t.open and c.minute_of_day > 30"}"""
)
WEEK_NS = 7 * 86_400 * 10**9


def _bars(n_bars: int, start: str) -> BarArrays:
    """Return quarter hours from the week of a date on, a tenth of them and a whole day missing."""
    bars = random_walk_bars(n_bars, seed=7, timeframe="15m")
    since = np.datetime64(start, "ns").astype(np.int64) - np.datetime64("2018-01-01", "ns").astype(np.int64)
    keep = np.sort(np.random.default_rng(1).permutation(n_bars)[: n_bars * 9 // 10])
    keep = keep[(keep < 300) | (keep > 420)]
    columns = {name: getattr(bars, name)[keep] for name in ("open", "high", "low", "close", "volume")}
    return replace(bars, ts_open_ns=(bars.ts_open_ns + since // WEEK_NS * WEEK_NS)[keep], **columns)


@pytest.mark.parametrize("start", ["2018-03-05", "2018-10-22", "2018-12-20"])
def test_values_and_signals_equal_bar_for_bar(pine, start: str) -> None:
    bars = _bars(1600, start)
    money = {"tick_size": EURUSD.tick_size, "pip_size": EURUSD.pip_size, "initial_balance": 100_000.0}
    signals = compute_signals(SPEC, bars, **money)
    assert signals_equal(signals, stream_signals(SPEC, bars, **money))
    outputs = [name for names in SPEC.output_names().values() for name in names]
    script = emit(SPEC, provenance=Provenance(), instrument=EURUSD)
    run = pine.run(script, bars, plots=[*outputs, "Long signal", "Short signal"])
    for name in outputs:
        np.testing.assert_allclose(
            run.plots[name], signals.indicators[name], rtol=0, atol=2e-10, err_msg=name
        )
    long, short = (run.plots[f"{side} signal"] == 1 for side in ("Long", "Short"))
    assert signals.entry_long.sum() > 20
    assert signals.entry_short.sum() > 20
    np.testing.assert_array_equal(long & ~short, signals.entry_long)
    np.testing.assert_array_equal(short & ~long, signals.entry_short)


def test_prices_to_come_change_nothing() -> None:
    bars = _bars(1600, "2018-03-05")
    cut = 700
    later = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for values in later.values():
        values[cut:] *= 1.5
    money = {"tick_size": EURUSD.tick_size, "pip_size": EURUSD.pip_size, "initial_balance": 100_000.0}
    before, after = (compute_signals(SPEC, one, **money).indicators for one in (bars, replace(bars, **later)))
    for name, values in before.items():
        np.testing.assert_array_equal(values[:cut], after[name][:cut], err_msg=name)
