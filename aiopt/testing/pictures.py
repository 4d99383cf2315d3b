"""A plain PNG reader and bars made by hand, for tests of charts.  Shares no code with what it checks.

Owns nothing but these; knows the bar arrays only.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.timeframe import parse_timeframe

MONDAY_NS = 1_514_764_800_000_000_000


def decode_png(png: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return indices and palette of a palette PNG with filters None or Up."""
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name = png[at + 4 : at + 8]
        chunks[name] = chunks.get(name, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (width + 1)
    lines = np.frombuffer(raw, np.uint8).reshape(height, width + 1)
    rows = np.zeros((height, width), np.uint8)
    for number, line in enumerate(lines):
        assert line[0] in (0, 2), "filter"
        # Bytes add modulo 256, as the filter wants.
        rows[number] = line[1:] + (rows[number - 1] if line[0] == 2 and number else np.uint8(0))
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    return rows, palette


def bars_of(
    prices: list[tuple[float, float, float, float]],
    *,
    volume: float = 0.0,
    instrument: str = "EURUSD",
    timeframe: str = "5m",
    gaps: dict[int, int] | None = None,
    synthetic: bool = False,
    price: str = "bid",
) -> BarArrays:
    """Return bars of (open, high, low, close); `gaps` maps a bar to the bars missing before it."""
    step = parse_timeframe(timeframe).ns
    offsets = np.arange(len(prices), dtype=np.int64)
    for bar, missing in (gaps or {}).items():
        offsets[bar:] += missing
    columns = np.array(prices, np.float64).reshape(-1, 4).T.copy()
    return BarArrays(
        instrument=instrument,
        timeframe=parse_timeframe(timeframe),
        price=price,
        ts_open_ns=MONDAY_NS + offsets * step,
        open=columns[0],
        high=columns[1],
        low=columns[2],
        close=columns[3],
        volume=np.full(len(prices), volume),
        data_hash="0" * 64,
        synthetic=synthetic,
    )
