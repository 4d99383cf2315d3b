"""The reference builder equals the definition of time bars."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.schema import BAR_SCHEMA, PRICES
from aiopt.errors import ConfigError, DataError
from aiopt.testing.reference_bars import build_bars
from aiopt.ticks.schema import nearest_decimal
from aiopt.timeframe import parse_timeframe

MINUTE_NS = 60_000_000_000

T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC


def ticks_frame(rows: list[tuple[int, float, float, float, float]]) -> pl.DataFrame:
    names = ["ts_event_ns", "bid", "ask", "bid_size", "ask_size"]
    types = [pl.Int64, *([pl.Float64] * 4)]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


@st.composite
def tick_frames(draw: st.DrawFn, max_size: int = 60) -> pl.DataFrame:
    """Ticks in any order of time, with equal times, gaps of minutes and prices on the 0.00001 grid."""
    row = st.tuples(
        st.integers(-20 * 60_000, 20 * 60_000).map(lambda ms: T0 + ms * 1_000_000),
        st.integers(100_000, 100_400),
        st.integers(0, 30),
        st.integers(0, 2_000_000),
        st.integers(0, 2_000_000),
    )
    rows = draw(st.lists(row, min_size=1, max_size=max_size))
    return ticks_frame([(t, b / 1e5, (b + s) / 1e5, float(x), float(y)) for t, b, s, x, y in rows])


def naive_bars(
    ticks: pl.DataFrame, length_ns: int, price: str
) -> list[tuple[int, float, float, float, float, float, int]]:
    """Bars by a plain loop: the definition, written a second time."""
    groups: dict[int, list[tuple[float, float]]] = {}
    for ts, bid, ask, bid_size, ask_size in sorted(ticks.rows(), key=lambda row: row[0]):
        value = {"bid": bid, "ask": ask, "mid": nearest_decimal((bid + ask) / 2)}[price]
        size = {"bid": bid_size, "ask": ask_size, "mid": bid_size + ask_size}[price]
        groups.setdefault(ts // length_ns, []).append((value, size))
    bars = []
    for bucket in sorted(groups):
        values = [value for value, _ in groups[bucket]]
        volume = math.fsum(size for _, size in groups[bucket])
        bars.append(
            (bucket * length_ns, values[0], max(values), min(values), values[-1], volume, len(values))
        )
    return bars


@given(ticks=tick_frames(), price=st.sampled_from(PRICES), label=st.sampled_from(["1m", "5m", "7s", "1h"]))
@settings(max_examples=80, deadline=None)
def test_bars_equal_their_definition(ticks: pl.DataFrame, price: str, label: str) -> None:
    bars = build_bars(ticks, label, price)
    assert bars.schema == BAR_SCHEMA
    assert bars.rows() == naive_bars(ticks, parse_timeframe(label).ns, price)


@given(ticks=tick_frames(), price=st.sampled_from(PRICES))
@settings(max_examples=50, deadline=None)
def test_every_tick_is_in_exactly_one_bar(ticks: pl.DataFrame, price: str) -> None:
    bars = build_bars(ticks, "1m", price)
    assert bars["ticks"].sum() == ticks.height
    assert (bars["ticks"] > 0).all()
    assert bars["ts_open_ns"].is_unique().all()
    sizes = ticks["bid_size"] + ticks["ask_size"] if price == "mid" else ticks[f"{price}_size"]
    assert bars["volume"].sum() == sizes.sum()


@given(ticks=tick_frames(), label=st.sampled_from(["1m", "5m"]))
@settings(max_examples=50, deadline=None)
def test_flat_bars_fill_every_gap_and_change_nothing_else(ticks: pl.DataFrame, label: str) -> None:
    length_ns = parse_timeframe(label).ns
    omitted = build_bars(ticks, label, "bid")
    flat = build_bars(ticks, label, "bid", empty="flat")
    assert flat.filter(pl.col("ticks") > 0).equals(omitted)
    steps = flat["ts_open_ns"].diff().drop_nulls()
    assert (steps == length_ns).all()
    assert flat["ts_open_ns"][0] == omitted["ts_open_ns"][0]
    assert flat["ts_open_ns"][-1] == omitted["ts_open_ns"][-1]
    previous_close = flat["close"].shift(1)
    for name in ("open", "high", "low", "close"):
        filled = flat.with_columns(previous=previous_close).filter(pl.col("ticks") == 0)
        assert filled[name].equals(filled["previous"].rename(name), check_names=False)
    assert flat.filter(pl.col("ticks") == 0)["volume"].sum() == 0.0


def test_ticks_of_equal_time_keep_their_order() -> None:
    ticks = ticks_frame(
        [(T0 + 5, 1.3, 1.4, 1, 1), (T0, 1.1, 1.2, 1, 1), (T0, 1.2, 1.3, 1, 1), (T0 + 5, 1.0, 1.1, 1, 1)]
    )
    bar = build_bars(ticks, "1m", "bid").row(0, named=True)
    assert (bar["open"], bar["close"]) == (1.1, 1.0)


def test_a_tick_on_the_edge_belongs_to_the_bar_it_opens() -> None:
    ticks = ticks_frame([(T0 + MINUTE_NS - 1, 1.1, 1.2, 1, 1), (T0 + MINUTE_NS, 1.2, 1.3, 1, 1)])
    assert build_bars(ticks, "1m", "bid")["ts_open_ns"].to_list() == [T0, T0 + MINUTE_NS]


def test_no_ticks_give_no_bars() -> None:
    for empty in ("omit", "flat"):
        bars = build_bars(ticks_frame([]), "1m", "mid", empty=empty)
        assert bars.height == 0
        assert bars.schema == BAR_SCHEMA


def test_bad_requests_and_ticks_are_refused() -> None:
    ticks = ticks_frame([(T0, 1.1, 1.2, 1, 1), (T0, float("nan"), 1.2, 1, 1)])
    with pytest.raises(DataError, match="bid is nan at row 1"):
        build_bars(ticks, "1m", "bid")
    with pytest.raises(DataError, match="ask_size missing"):
        build_bars(ticks.drop("ask_size"), "1m", "bid")
    with pytest.raises(ConfigError, match="Did you mean 'bid'"):
        build_bars(ticks, "1m", "bidd")
    with pytest.raises(ConfigError, match="omit, flat"):
        build_bars(ticks, "1m", "bid", empty="fill")  # type: ignore[arg-type]
