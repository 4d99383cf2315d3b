"""Ticks, bars and indicators of the face: what they hold, how they leave, what they refuse."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import aiopt as ao
from aiopt.bars.files import load_bar_set
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.errors import ConfigError, DataError, SpecError, UnevenBarsError
from aiopt.face.tables import as_ns, with_timestamps
from aiopt.indicators import INDICATORS
from aiopt.indicators.bar_series import bar_series


def test_ticks_are_those_of_the_store(ticks: ao.Ticks) -> None:
    frame = ticks.to_polars()
    assert frame.height == len(ticks) == ticks.manifest.rows
    assert frame.schema["ts_event"] == pl.Datetime("ns", "UTC")
    assert frame["ts_event"].is_sorted()
    assert frame["ts_event"][0] == ticks.start
    assert frame["ts_event"].cast(pl.Int64)[-1] == ticks.manifest.last_ts_ns
    assert ticks.synthetic
    assert repr(ticks).startswith(f"<Ticks: {len(ticks):,} generated ticks of EURUSD, 2024-03-04 00:0")


def test_ticks_of_a_span(ticks: ao.Ticks) -> None:
    part = ticks.to_polars("2024-03-04T07:00", dt.datetime(2024, 3, 4, 8, tzinfo=dt.UTC))
    whole = ticks.to_polars()
    hour = whole.filter(pl.col("ts_event").dt.truncate("1h") == dt.datetime(2024, 3, 4, 7, tzinfo=dt.UTC))
    assert part.height > 0
    assert part.equals(hour)


def test_ticks_stream_to_arrow(ticks: ao.Ticks) -> None:
    table = pa.table(ticks)
    assert table.schema.field("ts_event").type == pa.timestamp("ns", "UTC")
    assert pl.DataFrame(table).equals(ticks.to_polars())


def test_a_store_or_a_providers_file_is_read(tmp_path: Path, ticks: ao.Ticks) -> None:
    assert ao.read_ticks(ticks.path).path == ticks.path
    csv = tmp_path / "EURUSD.csv"
    ticks.to_polars().rename({"ts_event": "timestamp"}).head(50).write_csv(csv)
    found = ao.read_ticks(csv, out=tmp_path / "imported", show_progress=False)
    assert (len(found), found.instrument, found.synthetic) == (50, "EURUSD", False)
    assert ao.read_ticks(csv, out=tmp_path / "imported", show_progress=False).path == found.path


def test_ticks_that_are_not_there() -> None:
    with pytest.raises(DataError, match="nothing/here: There is no such file or folder"):
        ao.read_ticks("nothing/here")


def test_bars_are_bid_and_ask_with_stops_unless_a_price_is_named(ticks: ao.Ticks, bars: ao.Bars) -> None:
    assert bars.prices == ("bid", "ask")
    assert isinstance(bars.bar_set.stops, StopLadder)
    assert not bars.bar_set.single_price
    assert bars.data_hash == bars.bar_set.data_hash == ticks.data_hash
    mid = ao.build_bars(ticks, "5m", price="mid")
    assert mid.prices == ("mid",)
    assert mid.bar_set.single_price
    assert mid.bid is mid.ask is mid


def test_bars_as_a_table(bars: ao.Bars) -> None:
    frame = bars.to_polars()
    sides = [
        f"{side}_{name}" for side in ("bid", "ask") for name in ("open", "high", "low", "close", "volume")
    ]
    assert frame.columns == ["ts_open", *sides, "ticks"]
    assert frame["bid_close"].to_list() == bars.bar_set.bid.close.tolist()
    pandas = bars.to_pandas()
    assert isinstance(pandas["ts_open"].dtype, pd.DatetimeTZDtype)
    assert str(pandas["ts_open"].dtype) == "datetime64[ns, UTC]"
    assert pa.table(bars).num_rows == len(bars)
    assert bars.bid.to_polars().columns == ["ts_open", "open", "high", "low", "close", "volume", "ticks"]


def test_the_same_bars_as_the_files_of_a_build(tmp_path: Path, ticks: ao.Ticks, bars: ao.Bars) -> None:
    kept = ao.build_bars(ticks, "5m", out=tmp_path)
    assert (tmp_path / "EURUSD" / "5m" / "bid.parquet").is_file()
    for found in (kept, ao.read_bars(tmp_path), ao.read_bars(tmp_path / "EURUSD" / "5m", "5m")):
        assert found.to_polars().equals(bars.to_polars())
    loaded = load_bar_set(tmp_path)
    assert loaded.data_hash == kept.bar_set.data_hash
    assert np.array_equal(loaded.stops.ask_offsets, kept.bar_set.stops.ask_offsets)


def test_several_lengths_in_one_pass(ticks: ao.Ticks, bars: ao.Bars) -> None:
    found = ao.build_bars(ticks, ["1h", "5m"])
    assert sorted(found) == ["1h", "5m"]
    assert found["5m"].to_polars().equals(bars.to_polars())


def test_bars_that_are_not_cut_by_time(ticks: ao.Ticks) -> None:
    found = ao.build_bars(ticks, "range-5", price="mid")
    assert found.timeframe == "range-5"
    assert "ts_close" in found.to_polars().columns
    with pytest.raises(UnevenBarsError, match="these are range bars"):
        _ = found.bar_set


def test_columns_that_are_asked_for(ticks: ao.Ticks) -> None:
    one = ao.build_bars(ticks, "5m", price="bid", spread_stats=True, fill="flat").to_polars()
    assert one.columns[-5:] == ["spread_mean", "spread_max", "spread_last", "spread_time_mean", "filled"]
    both = ao.build_bars(ticks, "5m", spread_stats=True).to_polars()
    assert both.columns[-4:] == ["spread_mean", "spread_max", "spread_last", "spread_time_mean"]


def test_a_slice_has_an_identity_of_its_own(bars: ao.Bars) -> None:
    assert bars[:] is bars
    assert len(bars[-20:]) == 20
    day = bars["2024-03-05":"2024-03-06"]
    assert day.start == dt.datetime(2024, 3, 5, tzinfo=dt.UTC)
    assert day.stop == dt.datetime(2024, 3, 5, 23, 55, tzinfo=dt.UTC)
    assert len(day.bar_set.stops) == len(day)
    assert len({bars.data_hash, day.data_hash, bars[-20:].data_hash}) == 3
    assert day.data_hash == bars["2024-03-05":].data_hash


@pytest.mark.parametrize("part", [slice(0, 10, 2), 3], ids=["step", "number"])
def test_other_ways_to_index_are_refused(bars: ao.Bars, part: object) -> None:
    with pytest.raises(ConfigError, match="cut by a slice without a step"):
        _ = bars[part]


def test_an_empty_slice_is_refused(bars: ao.Bars) -> None:
    with pytest.raises(ConfigError, match="No bar of <Bars"):
        _ = bars["2025-01-01":]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"price": "middle"}, "price must be one of bid, ask, mid, but got 'middle'"),
        ({"timeframe": "5x"}, "timeframe must be a number and one of s, m, h, d, but got '5x'"),
        ({"engine": "spark"}, "engine must be one of auto, local, ray, but got 'spark'"),
        ({"timeframe": ["5m", "range-5"]}, "must be of one type"),
    ],
)
def test_bars_that_cannot_be_asked_for(ticks: ao.Ticks, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ao.build_bars(ticks, **{"timeframe": "5m", **arguments})


def test_nothing_is_left_behind_by_a_build(
    ticks: ao.Ticks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ao.build_bars(ticks, "1h")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", list(INDICATORS))
def test_every_indicator_of_the_registry_takes_bars(kind: str, bars: ao.Bars) -> None:
    import inspect

    definition = INDICATORS[kind]
    function = getattr(ao.indicators, kind)
    parameters = dict(inspect.signature(function).parameters)
    assert parameters.pop("bars")
    assert ("source" in parameters) == ("source" in definition.inputs)
    parameters.pop("source", None)
    assert {name: one.default for name, one in parameters.items()} == definition.defaults()
    found = function(bars)
    assert list(found.outputs) == list(definition.outputs)
    arrays = bars.arrays
    inputs = [bar_series(arrays, "close" if name == "source" else name) for name in definition.inputs]
    for values, expected in zip(
        found.outputs.values(), definition.compute(inputs, definition.defaults()), strict=True
    ):
        assert np.array_equal(values, expected, equal_nan=True)
    if "time" not in definition.inputs:  # the first day, week or session decides
        assert np.isfinite(found.values[definition.warmup(definition.defaults())])


def test_indicators_take_arrays_as_their_package_does(bars: ao.Bars) -> None:
    close = bars.arrays.close
    assert np.array_equal(ao.indicators.rsi(close, 14), ao.indicators.rsi(bars, 14).values, equal_nan=True)
    assert ao.indicators.rsi(bars, source="hl2").values[-1] != ao.indicators.rsi(bars).values[-1]


def test_an_indicator_is_a_table_and_an_array(bars: ao.Bars) -> None:
    macd = ao.indicators.macd(bars)
    assert np.asarray(macd).shape == (len(bars), 3)
    assert macd.to_polars().columns == ["ts_open", "macd", "signal", "histogram"]
    assert macd["signal"] is macd.outputs["signal"]
    assert np.asarray(ao.indicators.sma(bars)).shape == (len(bars),)
    with pytest.raises(SpecError, match="1 <= length <= 5000"):
        ao.indicators.sma(bars, 0)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2024-03-04", 1_709_510_400_000_000_000),
        ("2024-03-04T01:00+01:00", 1_709_510_400_000_000_000),
        (dt.datetime(2024, 3, 4, tzinfo=dt.UTC), 1_709_510_400_000_000_000),
        (dt.date(2024, 3, 4), 1_709_510_400_000_000_000),
        (17, 17),
    ],
)
def test_times_are_utc(time: object, expected: int) -> None:
    assert as_ns(time) == expected


def test_a_time_that_is_none() -> None:
    with pytest.raises(ConfigError, match="Cannot read the time 'noon'"):
        as_ns("noon")


def test_only_times_become_timestamps() -> None:
    frame = pl.DataFrame({"ts_open_ns": [1], "entry_ts_ns": [2], "latency_ns": [3]})
    found = with_timestamps(frame)
    assert found.columns == ["ts_open", "entry_ts", "latency_ns"]
    assert found.schema["latency_ns"] == pl.Int64
    assert found["entry_ts"].cast(pl.Int64).to_list() == [2]


def test_sides_of_different_ticks_do_not_meet_in_a_folder(tmp_path: Path, ticks: ao.Ticks) -> None:
    ao.build_bars(ticks, "1h", "bid", out=tmp_path / "bars", show_progress=False)
    other = ao.sample_ticks(days=1, ticks_per_day=2_000, seed=99)
    with pytest.raises(
        DataError, match=r"bid\.parquet: The sides of a series must be built from the same ticks"
    ):
        ao.build_bars(other, "1h", "ask", out=tmp_path / "bars", show_progress=False)
    assert not (tmp_path / "bars" / "EURUSD" / "1h" / "ask.parquet").exists()
    both = ao.build_bars(other, "1h", out=tmp_path / "bars", show_progress=False)
    assert both.prices == ("bid", "ask")


def test_bars_go_to_a_folder(tmp_path: Path, ticks: ao.Ticks) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="`out` must be a folder"):
        ao.build_bars(ticks, "1h", out=file, show_progress=False)
    assert file.read_text() == "mine"
