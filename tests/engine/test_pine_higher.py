"""Values of a higher timeframe are the same in all views, come from bars that are over, and from no other."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from aiopt.bars.schema import BarArrays
from aiopt.indicators.higher import HIGHER_KINDS
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import compute_signals, signals_equal, stream_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
MONEY = {"tick_size": EURUSD.tick_size, "pip_size": EURUSD.pip_size, "initial_balance": 100_000.0}
SPEC = StrategySpec.from_json(
    """{"name": "higher", "params": {"n": 6, "span": 60},
 "indicators": {
  "h": {"kind": "higher_bar", "args": {"timeframe": "span"}},
  "q": {"kind": "higher_bar", "args": {"timeframe": "4h"}},
  "d": {"kind": "higher_bar", "args": {"timeframe": "1d"}},
  "p": {"kind": "previous_day"},
  "s": {"kind": "higher_sma", "args": {"timeframe": "1h", "length": "n"}},
  "e": {"kind": "higher_ema", "args": {"timeframe": "1h", "length": "n"}},
  "r": {"kind": "higher_rsi", "args": {"timeframe": "30m", "length": 9}},
  "a": {"kind": "higher_atr", "args": {"timeframe": "1h", "length": 5}},
  "c": {"kind": "higher_donchian", "args": {"timeframe": "1h", "length": 4}},
  "b": {"kind": "higher_donchian", "args": {"timeframe": "4h", "length": 1}}},
 "entry_long": "close > e and r > 50.1 and close > h.open and c.upper - c.lower > a and d.high > b.lower",
 "entry_short": "close < s and close < q.close and r < 49.9 and close < c.middle and close != p.high"}"""
)


@cache
def gapped_bars() -> BarArrays:
    """Return five-minute bars of two weeks round a clock change, a tenth of them and some hours missing."""
    n_bars = 2400
    bars = random_walk_bars(n_bars, seed=7, timeframe="5m")
    since = np.datetime64("2018-03-05", "ns").astype(np.int64)
    opens = bars.ts_open_ns - bars.ts_open_ns[0] + since
    keep = np.sort(np.random.default_rng(1).permutation(n_bars)[: n_bars * 9 // 10])
    keep = keep[(keep < 300) | (keep > 420)]
    columns = {name: getattr(bars, name)[keep] for name in ("open", "high", "low", "close", "volume")}
    return replace(bars, ts_open_ns=opens[keep], **columns)


@pytest.mark.parametrize("version", [6, 5])
def test_values_and_signals_equal_bar_for_bar(pine, version: int) -> None:
    bars = gapped_bars()
    signals = compute_signals(SPEC, bars, **MONEY)
    assert signals_equal(signals, stream_signals(SPEC, bars, **MONEY))
    outputs = [name for names in SPEC.output_names().values() for name in names]
    script = emit(SPEC, provenance=Provenance(), instrument=EURUSD, version=version)
    assert "request." not in script
    run = pine.run(script, bars, plots=[*outputs, "Long signal", "Short signal"])
    for name in outputs:
        np.testing.assert_allclose(run.plots[name], signals.indicators[name], rtol=0, atol=2e-8, err_msg=name)
    for part in ("open", "high", "low", "close"):  # a day of the higher timeframe is the trading day
        np.testing.assert_array_equal(signals.indicators[f"d.{part}"], signals.indicators[f"p.{part}"])
    long, short = (run.plots[f"{side} signal"] == 1 for side in ("Long", "Short"))
    assert signals.entry_long.sum() > 20
    assert signals.entry_short.sum() > 20
    np.testing.assert_array_equal(long & ~short, signals.entry_long)
    np.testing.assert_array_equal(short & ~long, signals.entry_short)


def test_every_kind_is_in_the_strategy() -> None:
    assert {indicator.kind for indicator in SPEC.indicators.values()} >= {one.kind for one in HIGHER_KINDS}
