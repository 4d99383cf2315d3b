"""One thing in a data root, of a kind, with what can be said of every kind: span, rows, bytes, hash, origin.

Owns the types of the catalogue.  Knows nothing of how entries are found.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

from aiopt.market.calendar import open_hours
from aiopt.utc import HOUR_NS

Provenance = Literal["market", "synthetic", "unknown"]

KINDS: dict[str, str] = {
    "ticks": "tick store: a manifest and one Parquet file per day",
    "bars": "bar files of one instrument and timeframe",
    "downloads": "a provider's answers as they came",
    "dataset": "training set with its own metadata",
    "stream": "append-only log of features or predictions",
    "nautilus": "export for NautilusTrader",
    "run": "run folder",
    "parquet": "Parquet files that say nothing of themselves",
}
"""Kinds of entries and what they are."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something in a data root.

    Attributes
    ----------
    path : str
        Folder, as reached from the root given.
    kind : str
        Key of `KINDS`.
    instrument : str
        Symbol; empty where there is none or it is not known.
    detail : str
        Timeframe and prices of bars, status of a run, and the like.
    first_ts_ns, last_ts_ns : int or None
        Span, UTC.
    rows : int or None
        Ticks, bars, hours of a download, records.
    files : int
        Files, hidden ones left out.
    bytes : int
        Their size on disk.
    source : str
        What it was made of.
    hash : str
        Hash of the content, or of the ticks it was built from; empty where none is recorded.
    provenance : {"market", "synthetic", "unknown"}
        Whether the quotes were traded or generated.
    written_at : str
        When the newest file was written, ISO 8601 UTC.
    problem : str
        Why it cannot be used; empty if nothing is known against it.
    used_by : list of str
        Runs whose data it is.
    current : bool or None
        Of what is built from ticks or from a provider's own bars: whether these are in the catalogue.
    """

    path: str
    kind: str
    instrument: str = ""
    detail: str = ""
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None
    rows: int | None = None
    files: int = 0
    bytes: int = 0
    source: str = ""
    hash: str = ""
    provenance: Provenance = "unknown"
    written_at: str = ""
    problem: str = ""
    used_by: list[str] = []
    current: bool | None = None

    def open_hours_behind(self, now: dt.datetime | None = None) -> int | None:
        """Return the hours of open market between the last stamp and now; None without a span."""
        if self.last_ts_ns is None:
            return None
        last = self.last_ts_ns // HOUR_NS
        this = int((now or dt.datetime.now(dt.UTC)).timestamp()) // 3600
        return 0 if this <= last + 1 else int(open_hours(last + 1, this - 1).size)


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that is not as it should be.

    Attributes
    ----------
    entry : str
        `Entry.path`.
    file : str
        File at fault, relative to the entry.
    row_group : int or None
        Row group of a Parquet file, counted from 0, where one could be named.
    problem : str
        What is wrong.
    """

    entry: str
    file: str
    row_group: int | None = None
    problem: str
