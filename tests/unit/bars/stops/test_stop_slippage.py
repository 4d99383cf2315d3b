"""The mean slippage of a ladder is that of every stop that was passed."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.rules import time_rules
from aiopt.bars.stops.stop_files import StopMeta, StopTable
from aiopt.bars.stops.stop_ladders import make_ladder
from aiopt.bars.stops.stop_slippage import measure_slippage
from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from tests.unit.bars.stops.made_ladders import (
    MINUTE,
    SCALE,
    first_quote,
    made_ticks,
    reduced,
    request,
    tick_series,
)

META = StopMeta(
    instrument="EURUSD", timeframe="1m", data_hash="made", synthetic=False, session="", price_scale=SCALE
)


@settings(max_examples=60, deadline=None)
@given(tick_series())
def test_the_mean_slippage_is_that_of_every_stop_passed(ticks: dict[str, np.ndarray]) -> None:
    ladder = reduced(ticks, [], "1m")
    bars = ticks["ts_event_ns"] // MINUTE.ns
    slips = []
    for bar in np.unique(bars):
        for sells, quotes in ((True, ticks["bid"][bars == bar]), (False, ticks["ask"][bars == bar])):
            steps = np.rint(quotes * SCALE).astype(int)
            passed = range(steps.min(), steps[0]) if sells else range(steps[0] + 1, steps.max() + 1)
            for step in passed:
                filled = first_quote(quotes, step / SCALE, sells=sells)
                assert filled is not None
                slips.append(abs(round(filled * SCALE) - step))
    table = StopTable(np.unique(bars) * MINUTE.ns, ladder, META)
    if not slips:
        with pytest.raises(DataError, match=r"measured on quotes that move"):
            measure_slippage(table)
        return
    found = measure_slippage(table)
    assert found.n == len(slips)
    assert found.mean_ticks == pytest.approx(np.mean(slips), abs=1e-12)
    assert found.max_ticks == max(slips)
    assert found.p95_ticks == sorted(slips)[math.ceil(0.95 * len(slips)) - 1]
    assert found.mean_pips == pytest.approx(np.mean(slips) / 10)


@pytest.mark.parametrize("symbol", ["USDJPY", "XAUUSD", "BTCUSD"])
def test_other_instruments_have_their_own_steps(symbol: str) -> None:
    market = instrument(symbol)
    ticks = made_ticks(np.array([150_000, 149_990, 149_960]), np.full(3, 20), np.array([0, 1, 1]))
    for side in ("bid", "ask"):
        ticks[side] = np.rint(ticks[side] * SCALE) / market.price_scale
    reducer = TimeReducer(request(rules=time_rules([MINUTE])), market)
    ladder = make_ladder(reducer.reduce(ticks), market.price_scale)
    assert ladder is not None
    stop = 149_980 / market.price_scale
    assert ladder.fill_price(0, stop, sells=True) == 149_960 / market.price_scale
    meta = msgspec.structs.replace(META, instrument=symbol, price_scale=market.price_scale)
    found = measure_slippage(StopTable(np.zeros(1, dtype=np.int64), ladder, meta))
    # Gaps of 10 and 30 ticks: 40 stops, (45 + 435) ticks beyond in all, and no pip of another instrument.
    assert (found.n, found.mean_ticks, found.mean_pips) == (40, 12.0, 1.2)
