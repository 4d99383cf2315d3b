"""Amounts are exact: every settlement equals the same sum in decimals, to the last digit."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiopt.backtest.bookkeeper import Bookkeeper
from aiopt.backtest.money import (
    AMOUNT_DECIMALS,
    divided,
    to_amount,
    to_float,
)
from aiopt.backtest.swap import Nights
from aiopt.errors import ConfigError
from aiopt.market.instrument import instrument
from aiopt.testing.bars import random_walk_bar_set
from aiopt.testing.broker import BrokerTrade
from aiopt.testing.statement import account_statement


def books_of(*, price_decimals, commission_per_million):
    times, closes = np.array([0], dtype=np.int64), np.array([1.0])
    nights = Nights(None, instrument("EURUSD"), times, 60 * 10**9, closes, price_decimals)
    return Bookkeeper(
        price_decimals=price_decimals, commission_per_million=commission_per_million, nights=nights
    )


def exact(amount):
    return Decimal(amount).scaleb(-AMOUNT_DECIMALS, Context(prec=80))


@st.composite
def round_trips(draw):
    """Prices of EUR/USD, USD/JPY and gold alike, from one unit to a thousand million."""
    decimals = draw(st.sampled_from([2, 4, 6]))
    price = st.integers(1, 10 ** (decimals + 4)).map(lambda steps: round(steps / 10**decimals, decimals))
    return {
        "decimals": decimals,
        "entry": draw(price),
        "exit": draw(price),
        "units": float(draw(st.one_of(st.just(1), st.integers(1, 10**9)))),
        "side": draw(st.sampled_from(["long", "short"])),
        "commission": draw(st.integers(0, 10**7).map(lambda steps: round(steps / 10**4, 4))),
    }


@example(
    {
        "decimals": 6,
        "entry": 1e-06,
        "exit": 8462.460751,
        "units": 201780046.0,
        "commission": 100.0,
        "side": "long",
    }
)
@given(round_trips())
def test_a_settlement_is_what_decimals_say_to_the_last_digit(trip):
    books = books_of(price_decimals=trip["decimals"], commission_per_million=trip["commission"])
    side = 1 if trip["side"] == "long" else -1
    found = books.settle(side, trip["units"], 1, trip["entry"], 2, trip["exit"])
    trade = BrokerTrade(1, trip["entry"], trip["side"], trip["units"], 2, trip["exit"], "exit_signal", "open")
    bars = random_walk_bar_set(3, seed=1)
    [line] = account_statement([trade], bars, commission_per_million=trip["commission"])
    assert exact(found.gross) == line.gross
    assert exact(found.commission) == line.commission
    assert exact(found.net) == line.pnl


def test_a_hundred_units_pay_their_commission():
    # A fill of 100 units pays 0.4 cents: rounded to whole cents each, two thousand round trips would be free.
    books = books_of(price_decimals=6, commission_per_million=35.0)
    paid = 2000 * books.settle(1, 100.0, 1, 1.2, 2, 1.2).commission
    assert exact(paid) == Decimal("16.8")


def test_yen_are_not_rounded_to_whole_yen():
    books = books_of(price_decimals=4, commission_per_million=35.0)
    assert exact(books.commission(100.0, 110.123, 1)) == Decimal("0.3854305")


@given(st.floats(-1e12, 1e12, allow_subnormal=False).map(lambda value: round(value, 4)))
def test_amounts_keep_what_a_float_prints_as(value):
    assert exact(to_amount(value)) == Decimal(repr(value))
    assert to_float(to_amount(value)) == value


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_division_rounds_to_the_nearest_halves_to_even(numerator, denominator):
    assert divided(numerator, denominator) == round(Fraction(numerator, denominator))


def test_a_commission_finer_than_is_kept_exactly_is_refused():
    with pytest.raises(ConfigError, match=r"at most four decimals, but got commission_per_million=1e-05"):
        books_of(price_decimals=6, commission_per_million=0.00001)
