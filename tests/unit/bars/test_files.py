"""Bar files: round trips, atomic writes, and which series a file or folder leads to."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from aiopt.bars.files import bar_path, load_bar_set, read_bars, write_bars
from aiopt.bars.schema import BAR_SCHEMA, BarMeta
from aiopt.errors import ConfigError, DataError, UnevenBarsError
from aiopt.testing.reference_bars import build_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.timeframe import parse_timeframe

T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC


def ticks_frame(rows: list[tuple[int, float, float, float, float]]) -> pl.DataFrame:
    names = ["ts_event_ns", "bid", "ask", "bid_size", "ask_size"]
    types = [pl.Int64, *([pl.Float64] * 4)]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


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


def test_a_folder_above_names_the_child_to_use(tmp_path: Path) -> None:
    write_sides(tmp_path, "1m")
    write_sides(tmp_path, "5m")
    (tmp_path / "EURUSD" / "1m").rename(tmp_path / "EURUSD" / "range-5")
    child = tmp_path / "EURUSD" / "5m"
    with pytest.raises(DataError, match=rf"found 5m, range-5\. .*e\.g\. {child}, or --timeframe 5m\."):
        load_bar_set(tmp_path / "EURUSD")
    with pytest.raises(DataError, match=rf"of 2h, but found none, only EURUSD/5m, .*e\.g\. {child}\."):
        load_bar_set(tmp_path, timeframe="2h")
    assert len(load_bar_set(child)) > 0
    write_tick_store(tmp_path / "ticks", some_ticks())
    with pytest.raises(DataError, match=r"found EURUSD/5m, EURUSD/range-5\."):
        load_bar_set(tmp_path)
    with pytest.raises(DataError, match="this is a tick store"):
        load_bar_set(tmp_path / "ticks")
    for minutes in range(10, 20):
        write_sides(tmp_path, f"{minutes}m")
    with pytest.raises(DataError, match=r"EURUSD/15m and 6 more\."):
        load_bar_set(tmp_path)
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "stops.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="or one file, but holds none"):
        load_bar_set(lonely)


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
    with pytest.raises(DataError, match=rf"holds bid, mid\. Name one file, e\.g\. {folder}/bid\.parquet"):
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
