"""The readings of a session as a scan writes them, with the features beside.

Owns ``readings.parquet`` of a session's folder.  What a session goes on from is its own file alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.analyst.scans.reading_log import reading_log
from aiopt.analyst.scans.reading_rows import SCHEMA, WindowReading, table_of
from aiopt.bars.reading_log import ReadingLog, ReadingOrigin
from aiopt.bars.schema import BarSet
from aiopt.files import atomic_path
from aiopt.live.reading.live_reader import LoggedReading

READINGS = "readings.parquet"

FEATURES = pa.field("features", pa.map_(pa.string(), pa.float64()))
TOOK = pa.field("took_s", pa.float64())


def logged(rows: Iterable[str]) -> list[LoggedReading]:
    """Return records of a session's file as readings, in the order in which the charts ended."""
    found = [msgspec.json.decode(text, type=LoggedReading) for text in rows]
    return sorted(found, key=lambda one: one.reading.number)


def readings_only(rows: Iterable[LoggedReading]) -> list[WindowReading]:
    """Return readings without their features."""
    return [one.reading for one in rows]


def log_on_bars(rows: Iterable[str], bars: BarSet) -> ReadingLog:
    """Return the readings of a session as a backtest of its bars takes them.

    The session had all the readings there were, so every bar counts as looked at: also those of a warm-up,
    and those before the first whole chart.
    """
    found = [one for one in readings_only(logged(rows)) if not one.failure]
    opens = bars.bid.ts_open_ns
    closes = opens + bars.timeframe.ns
    if not found:
        nobody = ReadingOrigin(reader="rules", model_id="", model_revision="", prompt_version="")
        return ReadingLog(bars.instrument.symbol, nobody, (), closes, int(opens[0]))
    return replace(reading_log(found, several=True), chart_ends_ns=closes, first_ns=int(opens[0]))


def write_readings(path: Path, rows: Iterable[LoggedReading]) -> None:
    """Write readings: the columns of a scan, then ``features`` and ``took_s``; whole or not at all.

    Raises
    ------
    StorageError
        If the disk is full.
    """
    found = list(rows)
    table = table_of(readings_only(found)).cast(SCHEMA)
    table = table.append_column(
        FEATURES, pa.array([list(one.features.items()) for one in found], FEATURES.type)
    )
    table = table.append_column(TOOK, pa.array([one.took_s for one in found], TOOK.type))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
