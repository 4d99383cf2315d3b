"""Tick stores from ticks held in memory, with any size of row groups.

Owns the shortest way to a valid store for a test.  Knows nothing of sources or validation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from aiopt import __version__
from aiopt.files import sha256_file
from aiopt.ticks.manifest import Manifest, Partition, hash_partitions, partition_path, write_manifest
from aiopt.ticks.schema import TICK_COLUMNS, TICK_SCHEMA, TickArrays
from aiopt.ticks.store import content_sha256
from aiopt.utc import DAY_NS, HOUR_NS, day_text


def write_tick_store(
    out: Path, ticks: pl.DataFrame, *, symbol: str = "EURUSD", row_group_rows: int = 131_072
) -> Manifest:
    """Write ticks as a tick store: one Parquet file per UTC day and a manifest.

    Parameters
    ----------
    out : Path
        Folder, made if absent.
    ticks : polars.DataFrame
        Columns of `aiopt.ticks.schema.TICK_SCHEMA`; sorted here by time, stably.
    symbol : str
        Instrument.
    row_group_rows : int
        Rows of a Parquet row group; small ones give many shard edges.

    Returns
    -------
    Manifest
        Marked synthetic.
    """
    ordered = ticks.select(TICK_COLUMNS).sort("ts_event_ns", maintain_order=True)
    arrays = TickArrays(*(np.ascontiguousarray(ordered[name].to_numpy()) for name in TICK_COLUMNS))
    day = arrays.ts_event_ns // DAY_NS
    partitions = [
        _write_day(out, symbol, int(value), arrays.take(day == value), row_group_rows)
        for value in np.unique(day)
    ]
    manifest = Manifest(
        aiopt_version=__version__,
        instrument=symbol,
        source="aiopt.testing",
        source_format="synthetic",
        source_hash=hash_partitions(partitions),
        synthetic=True,
        data_hash=hash_partitions(partitions),
        rows=len(arrays),
        rows_read=len(arrays),
        first_ts_ns=int(arrays.ts_event_ns[0]) if len(arrays) else 0,
        last_ts_ns=int(arrays.ts_event_ns[-1]) if len(arrays) else 0,
        settings={},
        rules=[],
        silent_hours=[],
        notes=[],
        files=[],
        partitions=partitions,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(out, manifest)
    return manifest


def _write_day(out: Path, symbol: str, day: int, ticks: TickArrays, row_group_rows: int) -> Partition:
    relative = partition_path(symbol, day_text(day))
    path = out / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(ticks.table().cast(TICK_SCHEMA), path, compression="zstd", row_group_size=row_group_rows)
    hour = (ticks.ts_event_ns - day * DAY_NS) // HOUR_NS
    return Partition(
        path=relative,
        instrument=symbol,
        date=day_text(day),
        rows=len(ticks),
        sha256=sha256_file(path),
        content_sha256=content_sha256(ticks),
        first_ts_ns=int(ticks.ts_event_ns[0]),
        last_ts_ns=int(ticks.ts_event_ns[-1]),
        hour_rows=np.bincount(hour, minlength=24).tolist(),
        hour_dropped=[0] * 24,
    )
