"""Window sums and extremes against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.indicators.windows import (
    WindowMax,
    WindowMin,
    WindowSum,
    previous,
    window_max,
    window_min,
    window_sum,
)

values = st.lists(st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)), max_size=80).map(np.array)


@settings(max_examples=300, deadline=None)
@given(values=values, length=st.integers(1, 40))
def test_window_sum_is_the_sum_of_the_window(values, length):
    values = values.astype(np.float64)
    result = window_sum(values, length)
    twin = WindowSum(length)
    streamed = np.array([twin.update(value) for value in values.tolist()])
    assert np.array_equal(result, streamed, equal_nan=True)
    for bar in range(values.size):
        window = values[max(0, bar - length + 1) : bar + 1].tolist()
        expected = math.fsum(window) if len(window) == length else math.nan
        assert result[bar] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=300, deadline=None)
@given(values=values, length=st.integers(1, 40))
def test_window_extremes_ignore_missing_values(values, length):
    values = values.astype(np.float64)
    highest, lowest = window_max(values, length), window_min(values, length)
    top, bottom = WindowMax(length), WindowMin(length)
    for bar, value in enumerate(values.tolist()):
        window = [v for v in values[max(0, bar - length + 1) : bar + 1].tolist() if not math.isnan(v)]
        full = bar >= length - 1 and window
        np.testing.assert_equal(highest[bar], max(window) if full else math.nan)
        np.testing.assert_equal(lowest[bar], min(window) if full else math.nan)
        np.testing.assert_equal(top.update(value), highest[bar])
        np.testing.assert_equal(bottom.update(value), lowest[bar])


@pytest.mark.parametrize(
    ("bars", "expected"), [(1, [math.nan, 1.0, 2.0]), (3, [math.nan] * 3), (9, [math.nan] * 3)]
)
def test_previous(bars, expected):
    np.testing.assert_array_equal(previous(np.array([1.0, 2.0, 3.0]), bars), expected)


def test_window_sum_does_not_drift():
    """A huge value that has left the window leaves no trace, as it would in a running sum."""
    tail = window_sum(np.concatenate(([1e16], np.full(50, 0.1))), 4)[-1]
    assert tail == window_sum(np.full(4, 0.1), 4)[-1]
