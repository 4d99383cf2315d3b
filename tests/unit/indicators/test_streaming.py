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
        values = st.integers(1, 25) if arg.type is int else st.floats(0.0, 4.0)
        args[name] = draw(values)
    return args


@st.composite
def bar_columns(draw):
    """High, low and close: a walk in ticks, with stretches without movement, ties and missing bars."""
    steps = draw(st.lists(st.integers(-4, 4), max_size=120))
    scale = draw(st.sampled_from([1e-5, 1.0, 0.37]))
    close = 1.1 + np.cumsum(np.array(steps, dtype=float)) * scale
    up = np.array(draw(st.lists(st.integers(0, 2), min_size=len(steps), max_size=len(steps))), dtype=float)
    down = np.array(draw(st.lists(st.integers(0, 2), min_size=len(steps), max_size=len(steps))), dtype=float)
    high, low = close + up * scale, close - down * scale
    for _ in range(draw(st.integers(0, 3)) if steps else 0):
        row = draw(st.integers(0, len(steps) - 1))
        column = draw(st.sampled_from([high, low, close]))
        column[row] = draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    lead = draw(st.integers(0, min(5, len(steps))))
    for column in (high, low, close):
        column[:lead] = math.nan
    return high, low, close


def assert_twins_equal(kind, args, high, low, close):
    definition = INDICATORS[kind]
    inputs = [close] if definition.inputs == ("source",) else [high, low, close]
    arrays = definition.compute(inputs, args)
    twin = definition.streaming(**args)
    rows = [twin.update(*bar) for bar in zip(*(column.tolist() for column in inputs), strict=True)]
    streamed = np.array(rows, dtype=np.float64).reshape(len(close), len(definition.outputs)).T
    for output, array, stream in zip(definition.outputs, arrays, streamed, strict=True):
        assert np.array_equal(array, stream, equal_nan=True), f"{kind}.{output} {args}"


@settings(max_examples=120, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_streaming_equals_arrays(kind, data):
    args = draw_args(data.draw, INDICATORS[kind])
    assert_twins_equal(kind, args, *data.draw(bar_columns()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 3, 64, 200])
def test_streaming_equals_arrays_on_a_long_walk(kind, length):
    generator = np.random.default_rng(length)
    close = 1.1 + np.cumsum(generator.normal(0, 1e-4, 1500))
    high = close + np.abs(generator.normal(0, 1e-4, 1500))
    low = close - np.abs(generator.normal(0, 1e-4, 1500))
    args = {name: length if arg.type is int else 2.5 for name, arg in INDICATORS[kind].args.items()}
    assert_twins_equal(kind, args, high, low, close)


@pytest.mark.parametrize("kind", KINDS)
def test_streaming_equals_arrays_on_real_bars(kind, shared_data):
    archive = shared_data / "oanda" / "minute" / "eurusd" / "20140502_quote.zip"
    with zipfile.ZipFile(archive) as bundle:
        text = bundle.read(bundle.namelist()[0]).decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",")
    assert len(table) > 1000
    assert_twins_equal(kind, INDICATORS[kind].defaults(), table[:, 2], table[:, 3], table[:, 4])


@settings(max_examples=60, deadline=None)
@given(columns=bar_columns(), cut=st.integers(0, 120))
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_depends_on_later_bars(kind, columns, cut):
    definition = INDICATORS[kind]
    inputs = [columns[2]] if definition.inputs == ("source",) else list(columns)
    args = {name: 3 if arg.type is int else 2.0 for name, arg in definition.args.items()}
    whole = definition.compute(inputs, args)
    part = definition.compute([column[:cut] for column in inputs], args)
    for long, short in zip(whole, part, strict=True):
        assert np.array_equal(long[:cut], short, equal_nan=True)
