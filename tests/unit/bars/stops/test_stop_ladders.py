"""Stop ladders: every look-up is the first quote at or beyond the stop, whatever the cuts of the ticks."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.reducing.partial_bars import empty_partial, merge_partials
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.rules import time_rules
from aiopt.bars.stops.stop_ladders import make_ladder
from aiopt.market.instrument import instrument
from aiopt.timeframe import parse_timeframe
from tests.unit.bars.stops.made_ladders import (
    MINUTE,
    SCALE,
    first_quote,
    made_ticks,
    reduced,
    request,
    tick_series,
)


@settings(max_examples=150, deadline=None)
@given(tick_series(), st.data())
def test_every_stop_fills_at_the_first_quote_beyond_whatever_the_cuts(
    ticks: dict[str, np.ndarray], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, ticks["bid"].size), max_size=5))
    timeframe = data.draw(st.sampled_from(["1m", "3m", "1h"]))
    ladder = reduced(ticks, cuts, timeframe)
    bars = ticks["ts_event_ns"] // parse_timeframe(timeframe).ns
    assert len(ladder) == np.unique(bars).size
    for number, bar in enumerate(np.unique(bars)):
        bid, ask = ticks["bid"][bars == bar], ticks["ask"][bars == bar]
        low, high = round(bid.min() * SCALE), round(ask.max() * SCALE)
        for step in range(low - 2, high + 3):
            stop = step / SCALE
            assert ladder.fill_price(number, stop, sells=True) == first_quote(bid, stop, sells=True)
            assert ladder.fill_price(number, stop, sells=False) == first_quote(ask, stop, sells=False)
            between = (step + 0.4) / SCALE
            assert ladder.fill_price(number, between, sells=True) == first_quote(bid, between, sells=True)
            assert ladder.fill_price(number, between, sells=False) == first_quote(ask, between, sells=False)


@settings(max_examples=60, deadline=None)
@given(tick_series(), st.data())
def test_the_records_do_not_depend_on_cuts_or_the_base(
    ticks: dict[str, np.ndarray], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, ticks["bid"].size), max_size=5))
    whole = reduced(ticks, [], "1h", base="1h")
    for ladder in (reduced(ticks, cuts, "1h"), reduced(ticks, cuts, "1h", base="5m")):
        for field in dataclasses.fields(whole):
            assert np.array_equal(getattr(ladder, field.name), getattr(whole, field.name)), field.name


def test_ticks_off_the_grid_have_no_ladder() -> None:
    ticks = made_ticks(np.array([110_000, 109_999]), np.full(2, 8), np.array([0, 1]))
    ticks["bid"][1] = 1.099987
    columns = TimeReducer(request(rules=time_rules([MINUTE])), instrument("EURUSD")).reduce(ticks)
    assert make_ladder(columns, SCALE) is None


def test_no_ticks_have_no_records() -> None:
    columns = merge_partials([empty_partial(("bid", "ask"), stops=True)], MINUTE)
    ladder = make_ladder(columns, SCALE)
    assert ladder is not None
    assert len(ladder) == 0
