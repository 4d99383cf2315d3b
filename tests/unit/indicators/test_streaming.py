"""Every streaming twin says what the arrays say, to the last bit."""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.indicators import INDICATORS

KINDS = sorted(INDICATORS)


def draw_args(draw, definition):
    args = {}
    for name, arg in definition.args.items():
        if arg.type is str:
            args[name] = draw(st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Kolkata"]))
            continue
        most = arg.maximum if arg.clock else 25
        values = st.integers(int(arg.minimum), most) if arg.type is int else st.floats(0.0, 4.0)
        args[name] = draw(values)
    return args


@st.composite
def bar_columns(draw):
    """Columns of bars: a walk in ticks, with stretches without movement, ties and missing bars."""
    steps = draw(st.lists(st.integers(-4, 4), max_size=120))
    scale = draw(st.sampled_from([1e-5, 1.0, 0.37]))
    close = 1.1 + np.cumsum(np.array(steps, dtype=float)) * scale
    up = np.array(draw(st.lists(st.integers(0, 2), min_size=len(steps), max_size=len(steps))), dtype=float)
    down = np.array(draw(st.lists(st.integers(0, 2), min_size=len(steps), max_size=len(steps))), dtype=float)
    high, low = close + up * scale, close - down * scale
    volume = np.array(
        draw(st.lists(st.integers(0, 3), min_size=len(steps), max_size=len(steps))), dtype=float
    )
    opened = np.clip(np.roll(close, 1), low, high)
    for _ in range(draw(st.integers(0, 3)) if steps else 0):
        row = draw(st.integers(0, len(steps) - 1))
        column = draw(st.sampled_from([opened, high, low, close, volume]))
        column[row] = draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    lead = draw(st.integers(0, min(5, len(steps))))
    for column in (opened, high, low, close):
        column[:lead] = math.nan
    return {
        **{"open": opened, "high": high, "low": low, "close": close, "volume": volume},
        "time": bar_times(len(steps), draw(st.sampled_from(STARTS)), draw(st.integers(1, 400))),
    }


STARTS = ("2018-01-05T20:00", "2018-03-09T12:00", "2018-03-24T21:00", "2018-10-27T20:00", "2018-11-03T19:00")
"""A week-end, and the hours before clocks change in New York and in London."""


def bar_times(n_bars, start, minutes):
    """Return when bars open: a grid with some of its bars missing."""
    first = int(np.datetime64(start, "ns").astype(np.int64))
    missing = np.cumsum(np.arange(n_bars) % 7 == 3)
    return first + (np.arange(n_bars, dtype=np.int64) + missing) * minutes * 60 * 10**9


def inputs_of(definition, columns):
    return [columns["close" if name == "source" else name] for name in definition.inputs]


def assert_twins_equal(kind, args, columns):
    definition = INDICATORS[kind]
    inputs = inputs_of(definition, columns)
    arrays = definition.compute(inputs, args)
    twin = definition.streaming(**args)
    rows = [twin.update(*bar) for bar in zip(*(column.tolist() for column in inputs), strict=True)]
    streamed = np.array(rows, dtype=np.float64).reshape(len(columns["close"]), len(definition.outputs)).T
    for output, array, stream in zip(definition.outputs, arrays, streamed, strict=True):
        assert np.array_equal(array, stream, equal_nan=True), f"{kind}.{output} {args}"


@settings(max_examples=120, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_streaming_equals_arrays(kind, data):
    args = draw_args(data.draw, INDICATORS[kind])
    assert_twins_equal(kind, args, data.draw(bar_columns()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 3, 64, 200])
def test_streaming_equals_arrays_on_a_long_walk(kind, length):
    generator = np.random.default_rng(length)
    close = 1.1 + np.cumsum(generator.normal(0, 1e-4, 1500))
    high = close + np.abs(generator.normal(0, 1e-4, 1500))
    low = close - np.abs(generator.normal(0, 1e-4, 1500))
    kinds = INDICATORS[kind].args.items()
    args = {name: max(length, int(arg.minimum)) if arg.type is int else 2.5 for name, arg in kinds}
    args = {name: "Europe/London" if name == "timezone" else value for name, value in args.items()}
    volume = generator.integers(0, 50, 1500).astype(float)
    columns = {"open": (high + low) / 2, "high": high, "low": low, "close": close, "volume": volume}
    columns["time"] = bar_times(1500, STARTS[2], 5)
    assert_twins_equal(kind, args, columns)


@pytest.mark.parametrize("kind", KINDS)
def test_streaming_equals_arrays_on_real_bars(kind, shared_data):
    archive = shared_data / "oanda" / "minute" / "eurusd" / "20140502_quote.zip"
    with zipfile.ZipFile(archive) as bundle:
        text = bundle.read(bundle.namelist()[0]).decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",")
    assert len(table) > 1000
    columns = dict(zip(("open", "high", "low", "close"), table[:, 1:5].T.copy(), strict=True))
    columns["volume"] = np.arange(len(table)) % 7.0
    columns["time"] = bar_times(len(table), STARTS[0], 1)
    assert_twins_equal(kind, INDICATORS[kind].defaults(), columns)


@settings(max_examples=60, deadline=None)
@given(columns=bar_columns(), cut=st.integers(0, 120))
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_depends_on_later_bars(kind, columns, cut):
    definition = INDICATORS[kind]
    inputs = inputs_of(definition, columns)
    args = {name: 3 if arg.type is int else 2.0 for name, arg in definition.args.items()}
    args = {name: "Europe/London" if name == "timezone" else value for name, value in args.items()}
    whole = definition.compute(inputs, args)
    part = definition.compute([column[:cut] for column in inputs], args)
    for long, short in zip(whole, part, strict=True):
        assert np.array_equal(long[:cut], short, equal_nan=True)
