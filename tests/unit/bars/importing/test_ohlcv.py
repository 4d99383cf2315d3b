"""Foreign OHLCV Parquet files as bar sets."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from aiopt.bars.files import load_bar_set
from aiopt.errors import DataError

T0_S = 1_398_902_400  # 2014-05-01 00:00 UTC
STEPS = [0, 60, 120, 180, 300, 360]  # one minute is missing


def frame(time: Any, name: str = "timestamp") -> pl.DataFrame:
    close = 1.1 + np.arange(len(STEPS)) / 1e4
    return pl.DataFrame(
        {
            name: time,
            "Open": close - 1e-4,
            "High": close + 2e-4,
            "Low": close - 3e-4,
            "Close": close,
            "Volume": [7] * 6,
        }
    )


def seconds() -> list[int]:
    return [T0_S + step for step in STEPS]


def moments(zone: dt.tzinfo | None = None) -> list[dt.datetime]:
    return [
        dt.datetime.fromtimestamp(second, dt.UTC).astimezone(zone).replace(tzinfo=zone)
        for second in seconds()
    ]


TIMES = {
    "seconds": seconds(),
    "float seconds": [float(second) for second in seconds()],
    "milliseconds": [second * 10**3 for second in seconds()],
    "microseconds": [second * 10**6 for second in seconds()],
    "nanoseconds": [second * 10**9 for second in seconds()],
    "naive date-times": moments(),
    "UTC date-times": pl.Series(moments()).dt.replace_time_zone("UTC"),
    "New York date-times": pl.Series(moments())
    .dt.replace_time_zone("UTC")
    .dt.convert_time_zone("America/New_York"),
    "text": [f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in moments()],
}
TIMES["naive date-times"] = pl.Series(
    [dt.datetime(2014, 5, 1) + dt.timedelta(seconds=step) for step in STEPS]
)


@pytest.mark.parametrize("kind", TIMES)
def test_every_kind_of_time_gives_the_same_bars(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "EURUSD.parquet"
    frame(TIMES[kind]).write_parquet(path)
    bars = load_bar_set(path)
    assert bars.bid.ts_open_ns.tolist() == [second * 10**9 for second in seconds()]
    assert bars.timeframe.label == "1m"
    assert bars.single_price
    assert bars.instrument.symbol == "EURUSD"
    assert bars.bid.price == "last"
    assert bars.bid.volume.tolist() == [7.0] * 6


@pytest.mark.parametrize(
    "name", ["ts_event_ns", "ts_open_ns", "Time", "DateTime", "date", "open_time", "Open Time"]
)
def test_time_columns_are_found_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "EURUSD.parquet"
    frame(seconds(), name).write_parquet(path)
    assert load_bar_set(path).bid.ts_open_ns[0] == T0_S * 10**9


def test_a_pandas_index_is_a_time(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.parquet"
    data = frame(seconds()).drop("timestamp").to_pandas()
    data.index = pd.to_datetime(seconds(), unit="s", utc=True)
    data.to_parquet(path)
    assert load_bar_set(path).bid.ts_open_ns.tolist() == [second * 10**9 for second in seconds()]


def test_a_lone_date_time_column_of_any_name_is_the_time(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.parquet"
    frame(TIMES["naive date-times"], "when").write_parquet(path)
    assert load_bar_set(path).bid.ts_open_ns[0] == T0_S * 10**9


def test_volume_is_optional_and_content_decides_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.parquet"
    frame(seconds()).write_parquet(path)
    first = load_bar_set(path).data_hash
    frame(seconds()).write_parquet(path, compression="uncompressed")
    assert load_bar_set(path).data_hash == first
    frame(seconds()).drop("Volume").write_parquet(path)
    bars = load_bar_set(path)
    assert bars.bid.volume.tolist() == [0.0] * 6
    assert bars.data_hash != first


def test_foreign_sides_make_a_research_set(tmp_path: Path) -> None:
    frame(seconds()).write_parquet(tmp_path / "bid.parquet")
    shifted = frame(seconds()).with_columns(pl.col("Open", "High", "Low", "Close") + 1e-5)
    shifted.write_parquet(tmp_path / "ask.parquet")
    bars = load_bar_set(tmp_path, symbol="EURUSD")
    assert not bars.single_price
    assert (bars.ask.close > bars.bid.close).all()


def test_files_without_usable_times_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "EURUSD.parquet"
    frame(seconds()).drop("timestamp").write_parquet(path)
    with pytest.raises(DataError, match="must have a time column"):
        load_bar_set(path)
    frame([*seconds()[:5], None]).write_parquet(path)
    with pytest.raises(DataError, match=r"row 5: .*null"):
        load_bar_set(path)
    frame(["yesterday"] * 6).write_parquet(path)
    with pytest.raises(DataError, match="ISO 8601"):
        load_bar_set(path)
    frame([True] * 6).write_parquet(path)
    with pytest.raises(DataError, match="integers or date-times"):
        load_bar_set(path)
    frame(seconds()).head(1).write_parquet(path)
    with pytest.raises(DataError, match="at least two bars"):
        load_bar_set(path)
    frame([second * 10**9 + index for index, second in enumerate(seconds())]).write_parquet(path)
    with pytest.raises(DataError, match="multiple of one second"):
        load_bar_set(path)
    frame([T0_S, *seconds()[:5]]).write_parquet(path)
    with pytest.raises(DataError, match="opening times must increase"):
        load_bar_set(path)
