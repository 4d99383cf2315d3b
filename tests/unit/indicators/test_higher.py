"""Higher bars against a plain loop over a dictionary of periods, and that none is read before it is over."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from aiopt.indicators import INDICATORS

HOUR_NS = 3600 * 10**9
START = "2018-03-08T20:05"


def columns(n_bars: int = 700, minutes: int = 5, seed: int = 3) -> list[np.ndarray]:
    """Return times and prices, every seventh bar missing, over the change of clocks in New York."""
    rng = np.random.default_rng(seed)
    step = np.arange(n_bars) + np.cumsum(np.arange(n_bars) % 7 == 3)
    time = np.datetime64(START, "ns").astype(np.int64) + step * minutes * 60 * 10**9
    close = 1.1 + np.cumsum(rng.normal(0, 1e-4, n_bars))
    opened = close - rng.normal(0, 1e-4, n_bars)
    high = np.maximum(opened, close) + 1e-4
    return [time, opened, high, np.minimum(opened, close) - 1e-4, close]


def period(time_ns: int, minutes: int) -> tuple[dt.date, int]:
    """Return trading day and piece of it, on the clock in New York."""
    local = dt.datetime.fromtimestamp(time_ns / 1e9, ZoneInfo("America/New_York")).replace(tzinfo=None)
    rolled = local + dt.timedelta(hours=7)
    return rolled.date(), (rolled.hour * 60 + rolled.minute) // minutes


@pytest.mark.parametrize("minutes", [15, 60, 240, 1440])
def test_prices_are_those_of_the_last_period_before(minutes: int) -> None:
    time, opened, high, low, close = columns()
    found = np.array(
        INDICATORS["higher_bar"].compute([time, opened, high, low, close], {"timeframe": minutes})
    )
    rows: dict[tuple[dt.date, int], list[int]] = {}
    for row, instant in enumerate(time.tolist()):
        key = period(instant, minutes)
        before = [rows[one] for one in rows if one < key]
        rows.setdefault(key, []).append(row)
        if not before:
            assert np.isnan(found[:, row]).all()
            continue
        last = before[-1]
        expected = [opened[last[0]], high[last].max(), low[last].min(), close[last[-1]]]
        assert found[:, row].tolist() == expected


@pytest.mark.parametrize("kind", [name for name in INDICATORS if name.startswith("higher_")])
def test_a_value_is_that_of_the_kind_over_the_higher_bars(kind: str) -> None:
    series = columns()
    args = INDICATORS[kind].defaults()
    args = args | ({"length": 5} if "length" in args else {})
    found = INDICATORS[kind].compute(series, args)
    hours = series[0] // HOUR_NS  # New York's hours are those of the world
    last = np.flatnonzero(np.append(hours[1:] != hours[:-1], True))
    first = np.append(0, last[:-1] + 1)
    groups = [slice(start, end + 1) for start, end in zip(first, last, strict=True)]
    _, opened, high, low, close = series
    bars = {
        "open": opened[first],
        "high": np.array([high[rows].max() for rows in groups]),
        "low": np.array([low[rows].min() for rows in groups]),
        "close": close[last],
    }
    if kind == "higher_bar":
        expected = tuple(bars.values())
    else:
        plain = INDICATORS[kind.removeprefix("higher_")]
        inputs = [bars["close" if name == "source" else name] for name in plain.inputs]
        expected = plain.compute(inputs, {name: args[name] for name in plain.args})
    for line, values in zip(expected, found, strict=True):
        assert np.isfinite(line).any()
        for number, rows in enumerate(groups[1:], start=1):
            np.testing.assert_array_equal(values[rows], line[number - 1])


@pytest.mark.parametrize("kind", [name for name in INDICATORS if name.startswith("higher_")])
def test_prices_from_the_bar_on_change_nothing_on_it(kind: str) -> None:
    series, cut = columns(), 333
    later = [series[0], *(values.copy() for values in series[1:])]
    for values in later[1:]:
        values[cut:] *= 1.5
    args = INDICATORS[kind].defaults() | ({"length": 3} if "length" in INDICATORS[kind].args else {})
    for one, other in zip(*(INDICATORS[kind].compute(s, args) for s in (series, later)), strict=True):
        # Even the bar at the cut reads higher bars that were over before it opened.
        np.testing.assert_array_equal(one[: cut + 1], other[: cut + 1])
        assert not np.array_equal(one, other, equal_nan=True)
