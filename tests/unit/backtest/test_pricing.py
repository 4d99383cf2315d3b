from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.backtest.pricing import add_spread, chart_price, widen_spread
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.errors import ConfigError
from aiopt.market.instrument import instrument
from aiopt.testing.bars import random_walk_bars


@pytest.fixture
def one_price():
    bid = random_walk_bars(50, seed=1)
    return BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash)


def test_a_spread_lifts_the_ask_by_whole_ticks_and_renames_the_data(one_price):
    bars = add_spread(one_price, 0.83)
    assert not bars.single_price
    assert bars.bid is one_price.bid
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(getattr(bars.ask, name), np.round(getattr(bars.bid, name) + 8e-5, 5))
    assert bars.data_hash != one_price.data_hash
    assert chart_price(bars).ask is one_price.bid


def test_a_spread_needs_one_price_and_a_sensible_value(one_price):
    with pytest.raises(ConfigError, match=r"spread_pips >= 0.*-1"):
        add_spread(one_price, -1.0)
    with pytest.raises(ConfigError, match="have bid and ask"):
        add_spread(add_spread(one_price, 1.0), 1.0)


def test_a_wider_spread_raises_every_ask_and_the_quotes_its_stops_fill_by(one_price):
    bars = add_spread(one_price, 0.8)
    count = len(bars.bid)
    offsets = np.arange(count + 1, dtype=np.int64)
    bid_steps, ask_steps = (np.rint(side.open * 100_000).astype(np.int32) for side in (bars.bid, bars.ask))
    bars = replace(bars, stops=StopLadder(offsets, bid_steps, offsets, ask_steps, 100_000))
    wide = widen_spread(bars, 0.5)
    assert wide.bid is bars.bid
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(getattr(wide.ask, name), getattr(add_spread(one_price, 1.3).ask, name))
    assert wide.stops.ask_steps.dtype == np.int32
    assert np.array_equal(wide.stops.ask_steps, ask_steps + 5)
    assert np.array_equal(wide.stops.bid_steps, bid_steps)
    stop = float(bars.ask.open[3])
    assert wide.stops.fill_price(3, stop, sells=False) == pytest.approx(stop + 5e-5)
    assert widen_spread(bars, 0.0) is bars


def test_a_wider_spread_needs_a_spread_and_whole_steps(one_price):
    with pytest.raises(ConfigError, match=r"whole price steps of EURUSD \(0.1 pips\), but got 0.25 pips"):
        widen_spread(add_spread(one_price, 1.0), 0.25)
    with pytest.raises(ConfigError, match=r"one price.*use --spread-pips"):
        widen_spread(one_price, 0.5)
