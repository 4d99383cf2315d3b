"""The reference bar builder, flat bars, bar files and bar sets."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.files import bar_path, load_bar_set, read_bars, write_bars
from aiopt.bars.schema import BAR_SCHEMA, PRICES, BarMeta
from aiopt.errors import ConfigError, DataError, UnevenBarsError
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


# --- files ------------------------------------------------------------------------------------------------


def some_ticks(rows: int = 500, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    ts = np.sort(random.integers(0, 3_600_000, rows)) * 1_000_000 + T0
    bid = (110_000 + np.cumsum(random.integers(-2, 3, rows))) / 1e5
    ask = np.round(bid + random.integers(0, 20, rows) / 1e5, 5)
    sizes = random.integers(1, 30, (2, rows)) * 250_000.0
    return pl.DataFrame(
        {"ts_event_ns": ts, "bid": bid, "ask": ask, "bid_size": sizes[0], "ask_size": sizes[1]}
    )


def meta(price: str = "bid", timeframe: str = "1m", data_hash: str = "ab" * 32) -> BarMeta:
    return BarMeta(
        instrument="EURUSD",
        timeframe=timeframe,
        price=price,
        data_hash=data_hash,
        synthetic=True,
        source="test",
    )


def write_sides(out: Path, label: str = "1m", sides: tuple[str, ...] = ("bid", "ask")) -> Path:
    for side in sides:
        path = bar_path(out, "EURUSD", parse_timeframe(label), side)
        write_bars(path, build_bars(some_ticks(), label, side), meta(side, label))
    return out / "EURUSD" / label


def test_bars_survive_a_round_trip_with_their_provenance(tmp_path: Path) -> None:
    bars = build_bars(some_ticks(), "1m", "mid")
    write_bars(tmp_path / "mid.parquet", bars, meta("mid"))
    table = read_bars(tmp_path / "mid.parquet")
    assert table.frame.equals(bars)
    assert table.meta == meta("mid")
    assert b"aiopt" in pq.read_schema(tmp_path / "mid.parquet").metadata
    arrays = table.arrays()
    assert len(arrays) == bars.height
    assert (arrays.synthetic, arrays.data_hash, arrays.price) == (True, "ab" * 32, "mid")
    for name in ("ts_open_ns", "open", "high", "low", "close", "volume"):
        assert getattr(arrays, name).flags.c_contiguous
        assert np.array_equal(getattr(arrays, name), bars[name].to_numpy())


def test_equal_bars_give_equal_bytes(tmp_path: Path) -> None:
    bars = build_bars(some_ticks(), "1m", "bid")
    for name in ("a", "b"):
        write_bars(tmp_path / f"{name}.parquet", bars, meta())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    bars = build_bars(some_ticks(), "1m", "bid")
    write_bars(tmp_path / "bid.parquet", bars, meta())
    before = (tmp_path / "bid.parquet").read_bytes()
    with pytest.raises(DataError, match="must have the columns"):
        write_bars(tmp_path / "bid.parquet", bars.drop("ticks"), meta())
    assert (tmp_path / "bid.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["bid.parquet"]


def test_slices_are_views_and_arrays_survive_pickling(tmp_path: Path) -> None:
    bars = load_bar_set(write_sides(tmp_path))
    part = bars.slice(3, 10)
    assert len(part) == 7
    assert np.shares_memory(part.ask.close, bars.ask.close)
    assert np.array_equal(part.bid.open, bars.bid.open[3:10])
    copy = pickle.loads(pickle.dumps(bars))
    assert np.array_equal(copy.bid.close, bars.bid.close)
    assert copy.instrument == bars.instrument


def test_a_folder_of_both_sides_is_a_research_set(tmp_path: Path) -> None:
    folder = write_sides(tmp_path, sides=("bid", "ask", "mid"))
    bars = load_bar_set(folder)
    assert not bars.single_price
    assert (bars.bid.price, bars.ask.price) == ("bid", "ask")
    assert bars.instrument.symbol == "EURUSD"
    assert bars.timeframe.label == "1m"
    assert (bars.ask.open >= bars.bid.open).all()
    assert bars.data_hash == "ab" * 32
    assert bars.synthetic


def test_one_file_stands_for_both_sides(tmp_path: Path) -> None:
    folder = write_sides(tmp_path, sides=("mid",))
    for path in (folder, folder / "mid.parquet"):
        bars = load_bar_set(path)
        assert bars.single_price
        assert bars.bid is bars.ask
        assert bars.slice(0, 2).bid is not None


def test_a_folder_above_is_resolved_by_timeframe(tmp_path: Path) -> None:
    write_sides(tmp_path, "1m")
    write_sides(tmp_path, "5m")
    for folder in (tmp_path, tmp_path / "EURUSD"):
        assert load_bar_set(folder, timeframe="5m").timeframe.label == "5m"
    with pytest.raises(DataError, match="found EURUSD/1m, EURUSD/5m"):
        load_bar_set(tmp_path)
    with pytest.raises(DataError, match="of 15m, but found none"):
        load_bar_set(tmp_path, timeframe="15m")
    with pytest.raises(DataError, match="must be of 5m, but are of 1m"):
        load_bar_set(tmp_path / "EURUSD" / "1m", timeframe="5m")
    with pytest.raises(DataError, match="must be of GBPUSD, but are of EURUSD"):
        load_bar_set(tmp_path / "EURUSD" / "1m", symbol="GBPUSD")


def test_sides_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = write_sides(tmp_path)
    bars = build_bars(some_ticks(), "1m", "ask")
    write_bars(folder / "ask.parquet", bars.slice(1), meta("ask"))
    with pytest.raises(DataError, match="same opening times, but there are"):
        load_bar_set(folder)
    write_bars(folder / "ask.parquet", bars, meta("ask", data_hash="cd" * 32))
    with pytest.raises(DataError, match="from the same ticks"):
        load_bar_set(folder)
    write_bars(folder / "ask.parquet", build_bars(some_ticks(), "5m", "ask"), meta("ask", "5m"))
    with pytest.raises(DataError, match="EURUSD 1m and EURUSD 5m"):
        load_bar_set(folder)


def test_missing_ambiguous_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this path does not"):
        load_bar_set(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        load_bar_set(tmp_path / "empty")
    folder = write_sides(tmp_path, sides=("bid", "mid"))
    with pytest.raises(DataError, match="holds bid, mid"):
        load_bar_set(folder)
    text = tmp_path / "text.parquet"
    text.write_text("time,open\n")
    with pytest.raises(DataError, match="readable Parquet"):
        load_bar_set(text)
    foreign = tmp_path / "foreign.parquet"
    some_ticks().write_parquet(foreign)
    with pytest.raises(DataError, match="aiopt metadata"):
        read_bars(foreign)
    with pytest.raises(DataError, match="open, high, low, close missing"):
        load_bar_set(foreign)


@pytest.mark.parametrize(
    ("column", "row", "value", "rule"),
    [
        ("ts_open_ns", 4, 0, "opening times must increase"),
        ("close", 3, float("nan"), "finite and positive"),
        ("low", 2, -1.0, "finite and positive"),
        ("high", 5, 0.5, "high must be at least"),
        ("low", 6, 1.1, "low must be at most"),
        ("volume", 1, -1.0, "volume must be"),
    ],
)
def test_bars_that_break_a_rule_are_refused_with_their_row(
    tmp_path: Path, column: str, row: int, value: float, rule: str
) -> None:
    bars = build_bars(some_ticks(), "1m", "bid")
    values = bars[column].to_list()
    values[row] = value
    broken = bars.with_columns(pl.Series(column, values, dtype=BAR_SCHEMA[column]))
    write_bars(tmp_path / "bid.parquet", broken, meta())
    with pytest.raises(DataError, match=rf"row {row}: In bars .*{rule}"):
        load_bar_set(tmp_path / "bid.parquet")


def test_bars_of_events_asked_for_by_name_are_refused_with_the_reason(tmp_path: Path) -> None:
    ticks = ticks_frame([(60_000_000_000 * n, 1.1, 1.2, 0.0, 0.0) for n in range(3)])
    frame = build_bars(ticks, price="mid", timeframe="1m")
    frame = frame.with_columns(ts_close_ns=pl.col("ts_open_ns") + 1)
    meta = BarMeta(
        instrument="EURUSD", timeframe="range-5", price="mid", data_hash="0" * 64, type="range", size=5.0
    )
    write_bars(tmp_path / "EURUSD" / "range-5" / "mid.parquet", frame, meta)
    with pytest.raises(UnevenBarsError, match=r"these are range bars \(range-5\)"):
        load_bar_set(tmp_path, timeframe="range-5")
    with pytest.raises(DataError, match="one series of bars of tick-5, but found none"):
        load_bar_set(tmp_path, timeframe="tick-5")
    with pytest.raises(ConfigError, match="must be a number and one of s, m, h, d"):
        load_bar_set(tmp_path, timeframe="five")
