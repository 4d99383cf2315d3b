"""One indicator over bars, as options say it."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.errors import SpecError
from aiopt.indicators import macd, sma
from aiopt.strategy.indicator_values import choose_indicator
from aiopt.testing.bars import random_walk_bars


def test_values_are_those_of_the_formula_with_time_and_first_value() -> None:
    bars = random_walk_bars(80, seed=3)
    chosen = choose_indicator("macd", ("fast=5", "slow = 10"), "hl2")
    assert chosen.args == {"fast": 5, "slow": 10, "signal": 9}
    values = chosen.over(bars)
    expected = macd((bars.high + bars.low) / 2.0, 5, 10, 9)
    np.testing.assert_array_equal(values.outputs["signal"], expected.signal)
    assert values.first_value_index == 17
    frame = values.frame()
    assert frame.columns == ["ts_open_ns", "macd", "signal", "histogram"]
    assert frame["ts_open_ns"].to_list() == bars.ts_open_ns.tolist()


def test_an_indicator_without_a_value_has_no_first_bar() -> None:
    bars = random_walk_bars(10, seed=3)
    values = choose_indicator("sma", ("length=20",), "close").over(bars)
    assert values.first_value_index is None
    np.testing.assert_array_equal(values.outputs["value"], sma(bars.close, 20))


def test_the_source_is_named_where_the_kind_reads_one() -> None:
    assert choose_indicator("rsi", (), "open").own_source == "open"
    assert choose_indicator("atr", (), "close").own_source is None


@pytest.mark.parametrize(
    ("kind", "pairs", "source", "message"),
    [
        ("rsii", (), "close", "Did you mean 'rsi'"),
        ("rsi", ("length",), "close", "--arg must be NAME=NUMBER, but got 'length'"),
        ("atr", (), "open", "--source: atr reads high, low, close, not 'open'"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, pairs: tuple[str, ...], source: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        choose_indicator(kind, pairs, source)
