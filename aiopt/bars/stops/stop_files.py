"""The file of a stop ladder, ``stops.parquet`` beside the bars: a row per bar, its record quotes as lists.

Owns the format, its hash and the proof that a ladder belongs to the bars beside it.  What a ladder is says
`aiopt.bars.stops.stop_ladders`; knows nothing of bars' prices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.bars.stops.stop_ladders import RECORD_SIDES, StopLadder
from aiopt.errors import DataError
from aiopt.files import atomic_path, remove_stale

STOPS_NAME = "stops.parquet"
"""File name of a ladder, in the folder of the bars it belongs to."""

SHARED = ("instrument", "timeframe", "data_hash", "session")
"""What a ladder's metadata and that of its bars must agree on."""

_METADATA_KEY = b"aiopt_stops"
_SCHEMA = pa.schema(
    [
        pa.field("ts_open_ns", pa.int64(), nullable=False),
        pa.field("bid", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
        pa.field("ask", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
    ]
)


class StopMeta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a ladder comes from; stored in its Arrow schema under the key ``aiopt_stops``.

    Attributes
    ----------
    instrument, timeframe, data_hash, synthetic, session
        As in `aiopt.bars.schema.BarMeta`; a ladder belongs to bars of which all these are the same.
    price_scale : int
        Price steps per unit of price.
    content_sha256 : str
        Of the opening times and records, whatever the compression.
    """

    instrument: str
    timeframe: str
    data_hash: str
    synthetic: bool
    session: str
    price_scale: int
    content_sha256: str = ""


@dataclass(frozen=True)
class StopTable:
    """The content of a ladder's file: opening times of its bars, records, provenance."""

    ts_open_ns: NDArray[np.int64]
    ladder: StopLadder
    meta: StopMeta

    def content_sha256(self) -> str:
        """Return the hex SHA-256 of opening times and records."""
        digest = hashlib.sha256()
        one = self.ladder
        for array in (self.ts_open_ns, one.bid_offsets, one.bid_steps, one.ask_offsets, one.ask_steps):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def aligned(self, ts_open_ns: NDArray[np.int64]) -> StopLadder:
        """Return the ladder of bars with these opening times; a bar that is not in the table has no records.

        Raises
        ------
        DataError
            If the table has a bar that is not among them.
        """
        if np.array_equal(self.ts_open_ns, ts_open_ns):
            return self.ladder
        rows = np.searchsorted(ts_open_ns, self.ts_open_ns)
        inside = rows < ts_open_ns.size
        if not (inside.all() and np.array_equal(ts_open_ns[rows], self.ts_open_ns)):
            msg = "A stop ladder must be of the bars beside it, but has bars that they have not."
            raise DataError(msg + " Build the bars again.")
        spread: dict[str, NDArray[np.int64]] = {}
        for side in RECORD_SIDES:
            counts = np.zeros(ts_open_ns.size, dtype=np.int64)
            counts[rows] = np.diff(getattr(self.ladder, f"{side}_offsets"))
            spread[f"{side}_offsets"] = np.concatenate(([0], np.cumsum(counts)))
        one = self.ladder
        return StopLadder(
            spread["bid_offsets"], one.bid_steps, spread["ask_offsets"], one.ask_steps, one.price_scale
        )


def write_stop_table(path: Path, table: StopTable) -> None:
    """Write a ladder to one Parquet file, atomically; equal ladders give equal bytes.

    Raises
    ------
    StorageError
        If the disk is full or the folder is not writable.
    """
    one = table.ladder
    meta = msgspec.structs.replace(table.meta, content_sha256=table.content_sha256())
    columns = [pa.array(table.ts_open_ns)]
    for offsets, steps in ((one.bid_offsets, one.bid_steps), (one.ask_offsets, one.ask_steps)):
        columns.append(pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(steps)))
    arrow = pa.Table.from_arrays(
        [column.cast(field.type) for column, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )
    arrow = arrow.replace_schema_metadata({_METADATA_KEY: msgspec.json.encode(meta, order="sorted")})
    remove_stale(Path(path).parent)
    with atomic_path(Path(path)) as temporary:
        pq.write_table(
            arrow,
            temporary,
            compression="zstd",
            use_dictionary=False,
            column_encoding=dict.fromkeys(
                ("ts_open_ns", "bid.list.element", "ask.list.element"), "DELTA_BINARY_PACKED"
            ),
            write_page_checksum=True,
        )


def read_stop_meta(path: Path) -> StopMeta | None:
    """Return the provenance of a ladder's file without reading its records; None if it is none."""
    try:
        text = (pq.read_schema(path).metadata or {}).get(_METADATA_KEY)
        return None if text is None else msgspec.json.decode(text, type=StopMeta)
    except (pa.ArrowException, OSError, msgspec.DecodeError):
        return None


def read_stop_table(path: Path) -> StopTable:
    """Read a ladder written by `write_stop_table` and prove its hash.

    Raises
    ------
    DataError
        If the file is missing, is no ladder, or does not hold what was written.
    """
    meta = read_stop_meta(path)
    if meta is None:
        raise DataError("The file must be a stop ladder, but is not. Build the bars again.", file=path)
    try:
        arrow = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as failure:
        msg = f"A stop ladder must be readable, but: {failure}. Build the bars again."
        raise DataError(msg, file=path) from failure
    sides: dict[str, NDArray[Any]] = {}
    for side in RECORD_SIDES:
        column = arrow.column(side).combine_chunks()
        sides[f"{side}_offsets"] = column.offsets.to_numpy().astype(np.int64)
        sides[f"{side}_steps"] = np.ascontiguousarray(column.values.to_numpy())
    ladder = StopLadder(**sides, price_scale=meta.price_scale)
    table = StopTable(np.ascontiguousarray(arrow.column("ts_open_ns").to_numpy()), ladder, meta)
    if table.content_sha256() != meta.content_sha256:
        msg = "A stop ladder must hold what was written, but its hash differs. Build the bars again."
        raise DataError(msg, file=path)
    return table


def ladder_beside(
    bars_path: Path, bars: Mapping[str, str], ts_open_ns: NDArray[np.int64]
) -> StopLadder | None:
    """Return the ladder in the folder of a bar file, None if there is none.

    Parameters
    ----------
    bars_path : Path
        The bar file.
    bars : mapping of str to str
        What a ladder and its bars must have in common, `SHARED`.
    ts_open_ns : ndarray of int64, shape (n_bars,)
        Its opening times.

    Raises
    ------
    DataError
        If the ladder is damaged or that of other bars.
    """
    path = bars_path.with_name(STOPS_NAME)
    if not path.is_file():
        return None
    table = read_stop_table(path)
    for name in SHARED:
        theirs, ours = getattr(table.meta, name), bars[name]
        if theirs != ours:
            msg = (
                f"A stop ladder must be of the bars beside it, but its {name} is {theirs!r}, theirs {ours!r}."
            )
            raise DataError(msg + " Build the bars again.", file=path)
    try:
        return table.aligned(ts_open_ns)
    except DataError as failure:
        raise DataError(failure.reason, file=path) from failure
