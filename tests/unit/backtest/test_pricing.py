from __future__ import annotations

import numpy as np
import pytest

from aiopt.backtest.pricing import add_spread, chart_price
from aiopt.bars.schema import BarSet
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
