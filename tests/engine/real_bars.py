"""Real bars for engine tests, read straight from the providers' files."""

from __future__ import annotations

import lzma
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.timeframe import parse_timeframe

MINUTE = parse_timeframe("1m")


def histdata_minutes(shared_data: Path, n_bars: int) -> BarSet:
    """Return the first minutes of HistData's 2018 as one price; clock times are taken as UTC."""
    archive = shared_data / "histdata" / "HISTDATA_COM_ASCII_EURUSD_M12018.zip"
    with zipfile.ZipFile(archive) as opened:
        name = next(name for name in opened.namelist() if name.endswith(".csv"))
        lines = opened.read(name).decode().splitlines()[:n_bars]
    rows = [line.split(";") for line in lines]
    times = [datetime.strptime(row[0], "%Y%m%d %H%M%S").replace(tzinfo=UTC).timestamp() for row in rows]
    ts = np.array(times, dtype=np.int64) * 1_000_000_000
    keep = np.concatenate([[True], np.diff(ts) > 0])
    prices = np.array([[float(value) for value in row[1:5]] for row in rows])[keep]
    bid = _arrays(ts[keep], prices, "bid", "histdata-2018")
    return BarSet(instrument("EURUSD"), MINUTE, bid, bid, True, bid.data_hash)


def dukascopy_minutes(shared_data: Path) -> BarSet:
    """Return the provider's bid and ask minutes of 4 February 2019."""
    folder = shared_data / "dukascopy" / "EURUSD" / "2019" / "01" / "04"
    start_ns = int(datetime(2019, 2, 4, tzinfo=UTC).timestamp()) * 1_000_000_000
    sides = {}
    for side in ("BID", "ASK"):
        raw = lzma.decompress((folder / f"{side}_candles_min_1.bi5").read_bytes())
        record = np.frombuffer(raw, dtype=np.dtype([("p", ">u4", 5), ("v", ">f4")]))
        seconds, opened, close, low, high = record["p"].astype(np.int64).T
        prices = np.round(np.stack([opened, high, low, close], axis=1) / 1e5, 5)
        ts = start_ns + seconds * 1_000_000_000
        sides[side] = _arrays(ts, prices, side.lower(), "dukascopy-2019-02-04")
    return BarSet(instrument("EURUSD"), MINUTE, sides["BID"], sides["ASK"], False, "dukascopy-2019-02-04")


def _arrays(ts: np.ndarray, prices: np.ndarray, price: str, name: str) -> BarArrays:
    columns = (np.ascontiguousarray(column) for column in prices.T)
    return BarArrays("EURUSD", MINUTE, price, ts, *columns, volume=np.zeros(ts.size), data_hash=name)
