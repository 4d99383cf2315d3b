"""Totals are rounded to the decimals of their currency."""

from __future__ import annotations

import pytest

from aiopt.evaluation.statement import statement, statement_decimals


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
