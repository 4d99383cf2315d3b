"""Meaning of conditions: tables by hand, and arrays against the streaming twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.errors import SpecError
from aiopt.strategy.conditions import SERIES, Compare, Number, parse_condition, parse_value
from aiopt.strategy.evaluation import StreamingCondition, evaluate, evaluate_value, names_of
from tests.unit.strategy.condition_trees import PARAMS, conditions, values

NAN = math.nan
COLUMNS = (*SERIES, "rsi", "macd.signal")


def holds(text, **columns):
    n_bars = len(next(iter(columns.values())))
    arrays = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    result = evaluate(parse_condition(text), {**PARAMS, **arrays}, n_bars)
    twin = StreamingCondition(parse_condition(text), PARAMS)
    rows = [dict(zip(arrays, bar, strict=True)) for bar in zip(*columns.values(), strict=True)]
    assert [twin.update(row) for row in rows] == result.tolist()
    return "".join("x" if value else "." for value in result)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("close < 1", "x...."),
        ("close <= 1", "xxxx."),
        ("close > 1", "....x"),
        ("close >= 1", ".xxxx"),
        ("close == 1", ".xxx."),
        ("close != 1", "x...x"),
    ],
)
def test_comparisons_within_1e_10_are_equal(text, expected):
    # 1e-10 itself is not a float: the values lie clearly inside and outside the tolerance
    assert holds(text, close=[1 - 2e-10, 1 - 0.9e-10, 1, 1 + 0.9e-10, 1 + 2e-10]) == expected


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
def test_comparison_with_nan_is_false(operator):
    assert holds(f"close {operator} 1", close=[NAN]) == "."
    assert holds(f"not close {operator} 1", close=[NAN]) == "x"


def test_crossover_needs_at_most_equal_before_and_more_now():
    assert holds("crossover(close, 1)", close=[0, 1, 2, 2, 1, 2, 0, 2]) == "..x..x.x"
    assert holds("crossunder(close, 1)", close=[2, 1, 0, 0, 1, 0, 2, 0]) == "..x..x.x"


def test_crossing_is_tolerant():
    assert holds("crossover(close, 1)", close=[1 + 0.5e-10, 1 + 2e-10]) == ".x"
    assert holds("crossover(close, 1)", close=[0.5, 1 + 0.5e-10, 1.1]) == "..x"


def test_crossing_never_fires_on_the_first_bar_or_beside_nan():
    assert holds("crossover(close, 1)", close=[2, NAN, 2, 0, 2]) == "....x"


def test_crossing_of_two_moving_lines():
    assert holds("crossover(close, open)", close=[1, 2, 3, 2], open=[2, 2, 2, 3]) == "..x."


def test_rising_needs_every_step():
    assert holds("rising(close, 2)", close=[1, 2, 3, 3, 4, 5, 4]) == "..x..x."
    assert holds("falling(close, 1)", close=[3, 2, 2, 1, NAN, 0]) == ".x.x.."
    assert holds("rising(close, length)", close=[1, 2, 3, 4, 5]) == "...xx"


def test_history_looks_back():
    assert holds("close[2] == 1", close=[1, 2, 3, 4]) == "..x."


def test_highest_and_lowest_include_this_bar():
    assert holds("close == highest(close, 3)", close=[5, 1, 3, 2, 1, 4]) == "...." + ".x"
    assert holds("close == highest(close, 2)", close=[5, 1, 3, 2, 1, 4]) == "..x" + "..x"
    assert holds("close == lowest(close, 2)", close=[5, 1, 3, 2, 1, 4]) == ".x.xx."


def test_division_by_zero_is_missing():
    assert holds("1 / close > 0", close=[0, 1, -1]) == ".x."
    assert holds("not 1 / close > 0", close=[0, 1, -1]) == "x.x"


def test_min_max_abs_arithmetic():
    assert holds("min(close, 2) == 2 and max(close, -close) == abs(close)", close=[1, 2, 3, NAN]) == ".xx."
    assert holds("(close + 1) * 2 - close / 2 == 6.5", close=[3, 2]) == "x."


def test_and_or_keep_the_history_of_parts_that_do_not_decide():
    text = "open > 0 and crossover(close, 1)"
    assert holds(text, open=[0, 1, 0, 1], close=[2, 0, 0, 2]) == "...x"


def test_a_condition_without_series_covers_all_bars():
    assert evaluate(Compare("<", Number(1), Number(2)), {}, 3).tolist() == [True] * 3


def test_missing_name_is_an_error():
    with pytest.raises(SpecError, match="'rsi' has none"):
        evaluate(parse_condition("rsi > 1"), {}, 3)


def test_names_of():
    assert names_of(parse_condition("macd.signal[1] > level and rising(close, length)")) == {
        "macd.signal",
        "level",
        "close",
        "length",
    }


def test_values_of_an_expression():
    close = np.array([1.0, 2.0])
    assert evaluate_value(parse_value("close * 2 + 1"), {"close": close}, 2).tolist() == [3.0, 5.0]
    assert evaluate_value(parse_value("3"), {}, 2).tolist() == [3.0, 3.0]


small = st.sampled_from([0.0, 1.0, -1.0, 2.0, 1.0 + 0.5e-10, 1.0 + 2e-10, 3.0, NAN, 0.1, 1e308])


@settings(max_examples=400, deadline=None)
@given(tree=conditions, data=st.data(), n_bars=st.integers(0, 25))
def test_streaming_equals_arrays(tree, data, n_bars):
    used = sorted(names_of(tree) & set(COLUMNS))
    columns = {name: data.draw(st.lists(small, min_size=n_bars, max_size=n_bars)) for name in used}
    arrays = {name: np.array(column) for name, column in columns.items()}
    expected = evaluate(tree, {**PARAMS, **arrays}, n_bars).tolist()
    twin = StreamingCondition(tree, PARAMS)
    rows = [{name: column[bar] for name, column in columns.items()} for bar in range(n_bars)]
    assert [twin.update(row) for row in rows] == expected


@settings(max_examples=200, deadline=None)
@given(tree=values, data=st.data(), cut=st.integers(0, 20))
def test_no_value_depends_on_later_bars(tree, data, cut):
    used = sorted(names_of(tree) & set(COLUMNS))
    arrays = {name: np.array(data.draw(st.lists(small, min_size=20, max_size=20))) for name in used}
    whole = evaluate_value(tree, {**PARAMS, **arrays}, 20)
    part = evaluate_value(tree, {**PARAMS, **{name: array[:cut] for name, array in arrays.items()}}, cut)
    np.testing.assert_array_equal(whole[:cut], part)
