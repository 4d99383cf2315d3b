"""Spread statistics, marked filling, and what bar files with more columns may be used for."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.building.build import build
from aiopt.bars.files import bar_path, load_bar_set, read_bars, write_bars
from aiopt.bars.reducing.filling import fill_gaps
from aiopt.bars.reducing.partial_bars import finish_bars
from aiopt.bars.reducing.spread_columns import SPREAD_COLUMNS
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules, time_rules
from aiopt.bars.schema import BarMeta
from aiopt.errors import ConfigError, DataError, UnevenBarsError
from aiopt.market.calendar import is_open
from aiopt.market.instrument import instrument
from aiopt.market.sessions import TradingSession, parse_session
from aiopt.testing.reference_bars import build_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.timeframe import parse_timeframe

MINUTE_NS = 60_000_000_000
EURUSD = instrument("EURUSD")
T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC, a Thursday


def some_ticks(rows: int, seed: int, hours: int = 6) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, hours * 3_600_000, rows) // 50 * 50) * 1_000_000 + T0
    points = 110_000 + np.cumsum(random.integers(-3, 4, rows))
    sizes = random.integers(0, 30, (2, rows)) * 10_000.0
    return {
        "ts_event_ns": ts,
        "bid": points / 1e5,
        "ask": (points + random.integers(0, 20, rows)) / 1e5,
        "bid_size": sizes[0],
        "ask_size": sizes[1],
    }


# --- spread -----------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    labels=st.sampled_from([("1m",), ("7m", "21m"), ("1h",)]),
)
@settings(max_examples=40, deadline=None)
def test_spread_statistics_equal_the_formulas_for_any_cut(
    seed: int, cuts: list[int], labels: tuple[str, ...]
) -> None:
    ticks = some_ticks(200, seed)
    wanted = [parse_timeframe(label) for label in labels]
    request = BarRequest(time_rules(wanted), ("bid",), spread_stats=True)
    edges = [0, *sorted(cuts), 200]
    parts = [
        TimeReducer(request, EURUSD).reduce({k: v[a:b] for k, v in ticks.items()})
        for a, b in itertools.pairwise(edges)
    ]
    at_once = TimeReducer(request, EURUSD).reduce(ticks)
    for timeframe in wanted:
        bars = finish_bars(
            TimeReducer(request, EURUSD).merge(parts), "bid", timeframe, "omit", spread_scale=100_000
        )
        assert bars.equals(finish_bars(at_once, "bid", timeframe, "omit", spread_scale=100_000))
        spread = np.rint((ticks["ask"] - ticks["bid"]) * 1e5).astype(int)
        bucket = ticks["ts_event_ns"] // timeframe.ns
        for row, key in enumerate(np.unique(bucket)):
            mine = spread[bucket == key]
            us = ticks["ts_event_ns"][bucket == key] // 1000
            length = int(us[-1] - us[0])
            timed = int((mine[:-1] * np.diff(us)).sum()) / length if length else mine.mean()
            expected = (mine.mean(), mine.max(), mine[-1], timed)
            found = bars.select(SPREAD_COLUMNS).row(row)
            assert np.allclose(np.array(found) * 1e5, expected, rtol=1e-12, atol=1e-9)


def test_statistics_need_both_sides_and_change_no_price(tmp_path: Path) -> None:
    ticks = pl.DataFrame(some_ticks(500, 2))
    write_tick_store(tmp_path / "ticks", ticks, row_group_rows=60)
    request = BarRequest(parse_bar_rules("time", "5m"), ("ask",), spread_stats=True)
    build(tmp_path / "ticks", tmp_path / "bars", request)
    bars = read_bars(bar_path(tmp_path / "bars", "EURUSD", "5m", "ask")).frame
    assert bars.columns[7:] == list(SPREAD_COLUMNS)
    assert bars.drop(SPREAD_COLUMNS).equals(build_bars(ticks, "5m", "ask"))
    assert len(load_bar_set(tmp_path / "bars")) == bars.height


# --- filling ----------------------------------------------------------------------------------------------


def bars_at(minutes: list[int], closes: list[float], start: int = T0) -> pl.DataFrame:
    count = len(minutes)
    return pl.DataFrame(
        {
            "ts_open_ns": np.array(minutes) * MINUTE_NS + start,
            "open": closes,
            "high": closes,
            "low": closes,
            "close": closes,
            "volume": [5.0] * count,
            "ticks": [2] * count,
        }
    )


def test_flat_and_linear_bars_follow_their_formulas() -> None:
    bars = bars_at([0, 4, 5], [1.0, 1.4, 1.5])
    flat = fill_gaps(bars, parse_timeframe("1m"), "flat")
    assert flat["filled"].to_list() == [False, True, True, True, False, False]
    assert flat["close"].to_list() == [1.0, 1.0, 1.0, 1.0, 1.4, 1.5]
    assert flat["ticks"].to_list() == [2, 0, 0, 0, 2, 2]
    linear = fill_gaps(bars, parse_timeframe("1m"), "linear")
    assert np.allclose(linear["open"], [1.0, 1.0, 1 + 0.4 / 3, 1 + 0.8 / 3, 1.4, 1.5])
    assert np.allclose(linear["close"], [1.0, 1 + 0.4 / 3, 1 + 0.8 / 3, 1.4, 1.4, 1.5])
    assert linear.filter("filled")["volume"].to_list() == [0.0, 0.0, 0.0]
    assert fill_gaps(bars, parse_timeframe("1m"), "none").equals(bars)


@given(seed=st.integers(0, 10_000), fill=st.sampled_from(["flat", "linear"]))
@settings(max_examples=30, deadline=None)
def test_filling_keeps_every_bar_and_marks_every_other(seed: int, fill: str) -> None:
    random = np.random.default_rng(seed)
    minutes = np.unique(random.integers(0, 4 * 24 * 60, 40))
    bars = bars_at(minutes.tolist(), (1 + random.random(minutes.size)).tolist())
    filled = fill_gaps(bars, parse_timeframe("1m"), fill)  # type: ignore[arg-type]
    assert filled.filter(~pl.col("filled")).drop("filled").equals(bars)
    ts = filled["ts_open_ns"].to_numpy()
    assert (np.diff(ts) > 0).all()
    every = np.arange(ts[0], ts[-1] + 1, MINUTE_NS)
    # Thursday to Monday: nothing is made up for the week-end.
    assert set(ts) == set(every[is_open(every)]) | set(bars["ts_open_ns"])
    always = fill_gaps(bars, parse_timeframe("1m"), fill, always_open=True)  # type: ignore[arg-type]
    assert np.array_equal(always["ts_open_ns"], every)


def test_filling_stays_in_the_session() -> None:
    session = TradingSession(start="08:00", end="08:10", timezone="Europe/London")
    start = round(dt.datetime(2014, 5, 1, 7, 0, tzinfo=dt.UTC).timestamp()) * 10**9
    bars = bars_at([1, 24 * 60 + 8], [1.0, 1.1], start).with_columns(
        ts_close_ns=pl.Series(np.array([2, 24 * 60 + 9]) * MINUTE_NS + start)
    )
    filled = fill_gaps(bars, parse_timeframe("1m"), "flat", session=session)
    minutes = ((filled["ts_open_ns"] - start) // MINUTE_NS).to_list()
    assert minutes == [*range(1, 10), *range(24 * 60, 24 * 60 + 9)]
    assert ((filled["ts_close_ns"] - filled["ts_open_ns"]) == MINUTE_NS).all()


def test_linear_bars_are_marked_as_no_past(tmp_path: Path) -> None:
    write_tick_store(tmp_path / "ticks", pl.DataFrame(some_ticks(40, 4)))
    request = BarRequest(parse_bar_rules("time", "1m"), ("bid", "ask"), fill="linear")
    build(tmp_path / "ticks", tmp_path / "bars", request)
    with pytest.raises(DataError, match="filled with prices to come"):
        load_bar_set(tmp_path / "bars")
    assert load_bar_set(tmp_path / "bars", allow_interpolated=True).interpolated
    request = BarRequest(request.rules, request.prices, fill="flat")
    build(tmp_path / "ticks", tmp_path / "bars", request)
    bars = load_bar_set(tmp_path / "bars")
    assert not bars.interpolated
    assert set(np.diff(bars.bid.ts_open_ns)) == {MINUTE_NS}


def test_contradicting_requests_are_refused() -> None:
    minute = (parse_timeframe("1m"),)
    with pytest.raises(ConfigError, match="but got both"):
        BarRequest(time_rules(minute), ("bid",), empty="flat", fill="flat")
    with pytest.raises(ConfigError, match="Did you mean 'flat'"):
        BarRequest(time_rules(minute), ("bid",), fill="flatt")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="whole days"):
        BarRequest(parse_bar_rules("time", "36h"), ("bid",), session=parse_session("17:00"))


# --- files ------------------------------------------------------------------------------------------------


def test_files_from_before_bar_types_stay_readable(tmp_path: Path) -> None:
    bars = bars_at([0, 1, 2], [1.0, 1.1, 1.2])
    old = {"instrument": "EURUSD", "timeframe": "1m", "price": "bid", "data_hash": "abc", "synthetic": False}
    table = bars.to_arrow().replace_schema_metadata({"aiopt": msgspec.json.encode(old).decode()})
    pq.write_table(table, tmp_path / "bid.parquet")
    read = read_bars(tmp_path / "bid.parquet")
    assert (read.meta.type, read.meta.session, read.meta.fill) == ("time", "", "none")
    assert len(read.arrays()) == 3


def test_arrays_are_the_frames_own_memory(tmp_path: Path) -> None:
    meta = BarMeta(instrument="EURUSD", timeframe="1m", price="bid", data_hash="abc")
    write_bars(tmp_path / "a.parquet", bars_at([0, 1], [1.0, 1.1]), meta)
    table = read_bars(tmp_path / "a.parquet")
    assert np.shares_memory(table.columns()["close"], table.frame["close"].to_numpy())
    assert np.shares_memory(table.arrays().close, table.columns()["close"])


def test_other_columns_are_refused(tmp_path: Path) -> None:
    meta = BarMeta(instrument="EURUSD", timeframe="1m", price="bid", data_hash="abc")
    bars = bars_at([0, 1], [1.0, 1.1])
    for strange in (bars.with_columns(x=pl.lit(1.0)), bars.with_columns(filled=pl.lit(1.0))):
        with pytest.raises(DataError, match="must have the columns"):
            write_bars(tmp_path / "a.parquet", strange, meta)


@pytest.mark.parametrize(
    ("start", "uneven"),
    [
        (dt.datetime(2024, 3, 4), False),  # an ordinary week
        (dt.datetime(2024, 3, 29), True),  # Sunday has 23 hours in London
        (dt.datetime(2024, 10, 25), True),  # and 25
    ],
)
def test_days_of_a_clock_change_are_not_for_backtests(
    tmp_path: Path, start: dt.datetime, uneven: bool
) -> None:
    first = round(start.replace(tzinfo=dt.UTC).timestamp()) * 10**9
    ticks = some_ticks(400, 1, hours=24 * 5)
    ticks["ts_event_ns"] = ticks["ts_event_ns"] - T0 + first
    write_tick_store(tmp_path / "ticks", pl.DataFrame(ticks))
    session = parse_session("00:00", "Europe/London")
    request = BarRequest(parse_bar_rules("time", "1d"), ("bid",), session=session)
    build(tmp_path / "ticks", tmp_path / "bars", request)
    if not uneven:
        assert len(load_bar_set(tmp_path / "bars")) == 5
        return
    with pytest.raises(UnevenBarsError, match="clock of its session changes") as caught:
        load_bar_set(tmp_path / "bars")
    assert caught.value.file == tmp_path / "bars"
