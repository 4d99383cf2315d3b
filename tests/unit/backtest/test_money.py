"""Amounts are exact: every settlement equals the same sum in decimals, to the last digit."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.backtest.money import (
    AMOUNT_DECIMALS,
    Bookkeeper,
    divided,
    statement,
    statement_decimals,
    to_amount,
    to_float,
)
from aiopt.errors import ConfigError
from aiopt.testing.broker import BrokerTrade
from aiopt.testing.statement import account_statement


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


@given(round_trips())
def test_a_settlement_is_what_decimals_say_to_the_last_digit(trip):
    books = Bookkeeper(price_decimals=trip["decimals"], commission_per_million=trip["commission"])
    side = 1 if trip["side"] == "long" else -1
    found = books.settle(side, trip["units"], trip["entry"], trip["exit"])
    trade = BrokerTrade(1, trip["entry"], trip["side"], trip["units"], 2, trip["exit"], "exit_signal", "open")
    [line] = account_statement([trade], commission_per_million=trip["commission"])
    assert exact(found.gross) == line.gross
    assert exact(found.commission) == line.commission
    assert exact(found.net) == line.pnl


def test_a_hundred_units_pay_their_commission():
    # A fill of 100 units pays 0.4 cents: rounded to whole cents each, two thousand round trips would be free.
    books = Bookkeeper(price_decimals=6, commission_per_million=35.0)
    paid = 2000 * books.settle(1, 100.0, 1.2, 1.2).commission
    assert exact(paid) == Decimal("16.8")


def test_yen_are_not_rounded_to_whole_yen():
    books = Bookkeeper(price_decimals=4, commission_per_million=35.0)
    assert exact(books.commission(100.0, 110.123)) == Decimal("0.3854305")


@given(st.floats(-1e12, 1e12, allow_subnormal=False).map(lambda value: round(value, 4)))
def test_amounts_keep_what_a_float_prints_as(value):
    assert exact(to_amount(value)) == Decimal(repr(value))
    assert to_float(to_amount(value)) == value


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_division_rounds_to_the_nearest_halves_to_even(numerator, denominator):
    assert divided(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("value", "currency", "printed"),
    [
        (19.2388, "USD", "19.24"),
        (-1234.5, "JPY", "-1,235"),
        (0.385, "JPY", "0"),
        (-0.004, "USD", "0.00"),
        (2.675, "EUR", "2.68"),  # the decimal it prints as, not the binary below it
        (1.23456, "KWD", "1.235"),
        (1e22, "USD", "10,000,000,000,000,000,000,000.00"),
    ],
)
def test_a_statement_rounds_to_the_currencys_decimals(value, currency, printed):
    assert statement(value, currency) == printed


def test_most_currencies_have_two_decimals():
    assert [statement_decimals(name) for name in ("USD", "EUR", "GBP", "CHF", "JPY")] == [2, 2, 2, 2, 0]


def test_a_commission_finer_than_is_kept_exactly_is_refused():
    with pytest.raises(ConfigError, match=r"at most four decimals, but got commission_per_million=1e-05"):
        Bookkeeper(price_decimals=6, commission_per_million=0.00001)
