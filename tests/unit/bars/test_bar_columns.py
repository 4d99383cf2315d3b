"""What bar files with more columns, of older versions or of uneven days may be used for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set, read_bars, write_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.schema import BarMeta
from aiopt.errors import DataError, UnevenBarsError
from aiopt.market.sessions import parse_session
from aiopt.testing.tick_stores import write_tick_store
from tests.unit.bars.quoted_ticks import T0, some_ticks

MINUTE_NS = 60_000_000_000


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
