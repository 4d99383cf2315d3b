"""The instrument table: notations, scales, plausible ranges."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from aiopt.errors import DataError
from aiopt.market.instrument import INSTRUMENTS, find_instrument, instrument
from aiopt.ticks.schema import round_price


@pytest.mark.parametrize("text", ["EURUSD", "eurusd", "EUR/USD", "eur-usd", "EUR_USD"])
def test_a_symbol_may_be_written_in_any_usual_way(text: str) -> None:
    found = instrument(text)
    assert (found.symbol, found.base, found.quote) == ("EURUSD", "EUR", "USD")


def test_an_unknown_symbol_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no instrument 'EURUDS' in the table\. Did you mean 'EURUSD'\?"):
        instrument("EURUDS")
    assert find_instrument("nothing") is None


@pytest.mark.parametrize(
    ("symbol", "scale", "pip"),
    [("EURUSD", 100_000, 0.0001), ("USDJPY", 1_000, 0.01), ("XAUUSD", 1_000, 0.01), ("BTCUSD", 10, 1.0)],
)
def test_scales_follow_the_provider(symbol: str, scale: int, pip: float) -> None:
    assert (instrument(symbol).price_scale, instrument(symbol).pip_size) == (scale, pip)


@pytest.mark.parametrize("symbol", sorted(INSTRUMENTS))
def test_every_row_is_consistent(symbol: str) -> None:
    item = INSTRUMENTS[symbol]
    assert item.tick_size == float(f"1e-{item.price_precision}")
    assert item.price_scale == 10**item.price_precision
    assert item.pip_size == pytest.approx(10 * item.tick_size, rel=1e-12)
    assert 0 < item.plausible_low < item.plausible_high
    assert pickle.loads(pickle.dumps(item)) == item
    if item.quote == "JPY":
        assert item.price_precision == 3


def test_rounded_prices_are_the_doubles_of_their_decimals() -> None:
    points = np.arange(100_000, 140_000)
    noisy = points / 1e5 * (1 + 1e-13)
    exact = np.array([float(f"{point // 100_000}.{point % 100_000:05d}") for point in points])
    assert np.array_equal(round_price(noisy, instrument("EURUSD")), exact)


@pytest.mark.parametrize(
    ("symbol", "lot", "first"),
    [
        ("EURUSD", 100_000.0, "1999-01-01"),
        ("USDJPY", 100_000.0, "1990-01-01"),
        ("XAUUSD", 100.0, "1990-01-01"),
        ("BTCUSD", 1.0, "2009-01-03"),
    ],
)
def test_lots_and_first_days(symbol: str, lot: float, first: str) -> None:
    item = instrument(symbol)
    assert (item.contract_size, item.life_start) == (lot, first)
    assert item.life_start_ns == np.datetime64(first, "ns").astype(np.int64)
