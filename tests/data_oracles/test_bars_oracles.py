"""Bars built from real ticks equal the bars the providers publish themselves."""

from __future__ import annotations

import datetime as dt
import io
import lzma
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.files import bar_path, read_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.ticks.importing import import_ticks
from aiopt.timeframe import parse_timeframe

MINUTE = parse_timeframe("1m")
OHLC = ["open", "high", "low", "close"]


def ns(moment: dt.datetime) -> int:
    return int(moment.replace(tzinfo=dt.UTC).timestamp()) * 1_000_000_000


# --- Dukascopy --------------------------------------------------------------------------------------------

DUKASCOPY_DAY = dt.datetime(2019, 2, 4)
DUKASCOPY_FOLDER = "EURUSD/2019/01/04"  # months count from 0


@pytest.fixture(scope="module")
def dukascopy_bars(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dukascopy")
    manifest = import_ticks(shared_data / "dukascopy" / "EURUSD", out / "ticks", instrument="EURUSD")
    assert manifest.rows == 136_741
    request = BarRequest(time_rules((MINUTE,)), ("bid", "ask"), empty="flat")
    built = build(out / "ticks", out / "bars", request)
    assert built.ticks == 136_741
    return out / "bars"


def dukascopy_candles(path: Path) -> pl.DataFrame:
    """Decode the provider's minute candles: second of the day, prices in points, volume in millions."""
    record = np.dtype(
        [(name, ">u4") for name in ("second", "open", "close", "low", "high")] + [("volume", ">f4")]
    )
    raw = np.frombuffer(lzma.decompress(path.read_bytes(), format=lzma.FORMAT_ALONE), dtype=record)
    columns = {name: np.round(raw[name].astype(np.float64) / 1e5, 5) for name in OHLC}
    return pl.DataFrame(
        {"ts_open_ns": ns(DUKASCOPY_DAY) + raw["second"].astype(np.int64) * 1_000_000_000}
        | columns
        | {"volume": raw["volume"].astype(np.float64) * 1e6}
    )


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_dukascopy_minutes_equal_the_providers_candles(
    shared_data: Path, dukascopy_bars: Path, side: str
) -> None:
    candles = dukascopy_candles(
        shared_data / "dukascopy" / DUKASCOPY_FOLDER / f"{side.upper()}_candles_min_1.bi5"
    )
    assert candles.height == 1_440
    bars = read_bars(bar_path(dukascopy_bars, "EURUSD", MINUTE, side)).frame
    joined = candles.join(bars, on="ts_open_ns", how="left", suffix="_built", maintain_order="left")
    built = joined.drop_nulls("ticks")
    # Flat bars lie between the first and the last tick; the provider's day also has flat ones outside.
    assert built.height == bars.height
    outside = joined.filter(pl.col("ticks").is_null())
    assert (outside["volume"] == 0).all()
    for name in OHLC:
        assert (built[name] == built[f"{name}_built"]).all(), name
    traded = built.filter(pl.col("ticks") > 0)
    assert traded.height == (candles["volume"] > 0).sum()
    relative = ((traded["volume_built"] - traded["volume"]) / traded["volume"]).abs()
    assert relative.max() < 4e-5  # type: ignore[operator]
    flat = built.filter(pl.col("ticks") == 0)
    assert (flat["volume"] == 0).all()
    assert (flat["volume_built"] == 0).all()
    assert outside.height + flat.height == (candles["volume"] == 0).sum()


# --- OANDA ------------------------------------------------------------------------------------------------

OANDA_DAYS = ["20140501", "20140502", "20140504", "20140505", "20140506", "20140507"]


@pytest.fixture(scope="module")
def oanda_bars(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("oanda")
    manifest = import_ticks(shared_data / "oanda" / "tick" / "eurusd", out / "ticks", instrument="EURUSD")
    assert manifest.rows > 180_000
    build(out / "ticks", out / "bars", BarRequest(time_rules((MINUTE,)), ("bid", "ask")))
    return out / "bars"


def oanda_minutes(path: Path, day: str) -> pl.DataFrame:
    """Decode the provider's minutes: ms of the day, then open, high, low, close, volume of bid and of ask."""
    names = [f"{side}_{name}" for side in ("bid", "ask") for name in (*OHLC, "volume")]
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    frame = pl.read_csv(io.BytesIO(text), has_header=False, new_columns=["ms", *names])
    midnight = ns(dt.datetime.strptime(day, "%Y%m%d"))
    return frame.with_columns(ts_open_ns=pl.col("ms").cast(pl.Int64) * 1_000_000 + midnight)


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_oanda_minutes_equal_the_providers_minutes(shared_data: Path, oanda_bars: Path, side: str) -> None:
    minutes = pl.concat(
        [
            oanda_minutes(shared_data / "oanda" / "minute" / "eurusd" / f"{day}_quote.zip", day)
            for day in OANDA_DAYS
        ]
    )
    bars = read_bars(bar_path(oanda_bars, "EURUSD", MINUTE, side)).frame
    assert minutes.height > 6_000
    assert bars["ts_open_ns"].to_list() == minutes["ts_open_ns"].to_list()
    for name in OHLC:
        assert (bars[name] == minutes[f"{side}_{name}"]).all(), name
