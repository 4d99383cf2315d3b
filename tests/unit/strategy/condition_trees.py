"""Hypothesis strategies for condition trees and bars; shared by the tests of this folder."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from aiopt.bars.schema import BarArrays
from aiopt.strategy.conditions import (
    SERIES,
    And,
    Arithmetic,
    Call,
    Compare,
    History,
    Name,
    Negate,
    Not,
    Number,
    Or,
    Output,
    Series,
)
from aiopt.timeframe import parse_timeframe

PARAMS = {"level": 1.0, "length": 3}
"""Parameters the trees may name."""

numbers = st.one_of(
    st.integers(0, 5).map(Number), st.floats(0.0, 3.0, allow_nan=False).map(lambda value: Number(abs(value)))
)
references = st.one_of(
    st.sampled_from(SERIES).map(Series), st.just(Name("rsi")), st.just(Output("macd", "signal"))
)
bars = st.one_of(st.integers(1, 6).map(Number), st.just(Name("length")))


def _compound_values(inner):
    return st.one_of(
        st.builds(Negate, inner),
        st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner),
        st.builds(lambda value: Call("abs", (value,)), inner),
        st.builds(lambda name, a, b: Call(name, (a, b)), st.sampled_from(["min", "max"]), inner, inner),
        st.builds(lambda name, a, n: Call(name, (a, n)), st.sampled_from(["highest", "lowest"]), inner, bars),
    )


values = st.recursive(
    st.one_of(numbers, references, st.just(Name("level")), st.builds(History, references, st.integers(1, 4))),
    _compound_values,
    max_leaves=5,
)

simple_conditions = st.one_of(
    st.builds(Compare, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), values, values),
    st.builds(
        lambda name, a, b: Call(name, (a, b)), st.sampled_from(["crossover", "crossunder"]), values, values
    ),
    st.builds(lambda name, a, n: Call(name, (a, n)), st.sampled_from(["rising", "falling"]), values, bars),
)


def _compound_conditions(inner):
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, inner), st.builds(And, several), st.builds(Or, several))


conditions = st.recursive(simple_conditions, _compound_conditions, max_leaves=4)


def make_bars(n_bars=400, *, seed=0, start="2024-03-29T00:00", timeframe="15m", flat=0.1) -> BarArrays:
    """Return random bars in ticks of 0.00001, a share `flat` of them without any movement."""
    generator = np.random.default_rng(seed)
    length = parse_timeframe(timeframe)
    moves = generator.integers(-12, 13, n_bars) * (generator.random(n_bars) > flat)
    close = 110_000 + np.cumsum(moves)
    open_ = np.concatenate((close[:1], close[:-1]))
    moving = generator.random(n_bars) > flat
    high = np.maximum(open_, close) + generator.integers(0, 8, n_bars) * moving
    low = np.minimum(open_, close) - generator.integers(0, 8, n_bars) * moving
    first = int(np.datetime64(start, "ns").astype(np.int64))
    return BarArrays(
        instrument="EURUSD",
        timeframe=length,
        price="bid",
        ts_open_ns=first + length.ns * np.arange(n_bars, dtype=np.int64),
        open=open_ / 1e5,
        high=high / 1e5,
        low=low / 1e5,
        close=close / 1e5,
        volume=generator.integers(0, 50, n_bars) * 1e5,
        data_hash="generated",
        synthetic=True,
    )
