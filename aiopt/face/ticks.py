"""Ticks in a notebook: a tick store one can look at.

Owns reading a store or importing a provider's files into one, and the generated sample.  Knows no format and
no rule of ticks.
"""

from __future__ import annotations

import atexit
import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.face import html
from aiopt.face.progress import progress
from aiopt.face.tables import Table, Time, as_ns, as_time, utc_text, with_timestamps
from aiopt.ticks.manifest import Manifest, read_manifest

_ARROW_SCHEMA = pa.schema(
    [
        pa.field("ts_event", pa.timestamp("ns", "UTC"), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("bid", "ask", "bid_size", "ask_size")),
    ]
)


class Ticks(Table):
    """The ticks of one instrument, in a tick store on disk; nothing is read before it is asked for.

    As a table: ``ts_event`` (timestamp, UTC), ``bid`` and ``ask`` (quote currency), ``bid_size`` and
    ``ask_size`` (units of the base currency, 0 where the source has none), in order of time.

    Attributes
    ----------
    path : Path
        The store.
    manifest : Manifest
        Where the ticks come from, every hour's count, what was dropped and why.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path)

    @property
    def instrument(self) -> str:
        """Symbol, e.g. ``"EURUSD"``."""
        return self.manifest.instrument

    @property
    def start(self) -> dt.datetime:
        """Time of the first tick, UTC."""
        return as_time(self.manifest.first_ts_ns)

    @property
    def stop(self) -> dt.datetime:
        """Time of the last tick, UTC."""
        return as_time(self.manifest.last_ts_ns)

    @property
    def synthetic(self) -> bool:
        """True if the ticks were generated, not traded."""
        return self.manifest.synthetic

    @property
    def data_hash(self) -> str:
        """SHA-256 of the values: what bars and runs name as their data."""
        return self.manifest.data_hash

    @cached_property
    def dropped(self) -> dict[str, int]:
        """Ticks dropped by rule; empty if none was."""
        return {rule.rule: rule.dropped for rule in self.manifest.rules if rule.dropped}

    def __len__(self) -> int:
        return self.manifest.rows

    def scan(self) -> pl.LazyFrame:
        """Return the ticks as a lazy frame, with times as nanoseconds in ``ts_event_ns``, as on disk."""
        return pl.scan_parquet([self.path / part.path for part in self.manifest.partitions])

    def to_polars(self, start: Time | None = None, stop: Time | None = None) -> pl.DataFrame:
        """Return ticks as a Polars frame; ten million take 400 MB.

        Parameters
        ----------
        start, stop : int, str, datetime, optional
            Only ticks with ``start <= time < stop``, UTC.
        """
        found = self.scan()
        if start is not None:
            found = found.filter(pl.col("ts_event_ns") >= as_ns(start))
        if stop is not None:
            found = found.filter(pl.col("ts_event_ns") < as_ns(stop))
        return with_timestamps(found.collect())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Stream the ticks to any library that reads Arrow; a day at most is in memory."""
        return pa.RecordBatchReader.from_batches(_ARROW_SCHEMA, self._batches()).__arrow_c_stream__(
            requested_schema
        )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for part in self.manifest.partitions:
            table = pq.read_table(self.path / part.path, partitioning=None)
            stamps = table["ts_event_ns"].cast(pa.timestamp("ns", "UTC"))
            yield from pa.Table.from_arrays([stamps, *table.columns[1:]], schema=_ARROW_SCHEMA).to_batches()

    def _title(self) -> str:
        found = self.manifest
        origin = "generated ticks" if self.synthetic else "ticks"
        span = f"{utc_text(found.first_ts_ns)} … {utc_text(found.last_ts_ns)}"
        return f"{len(self):,} {origin} of {self.instrument}, {span} UTC"

    def _repr_html_(self) -> str:
        found = self.manifest
        rows: list[tuple[str, object]] = [
            ("source", found.source),
            ("store", str(self.path)),
            ("days", len(found.partitions)),
            ("dropped", ", ".join(f"{name} {n:,}" for name, n in self.dropped.items()) or "none"),
            ("silent hours", len(found.silent_hours)),
            ("data hash", found.data_hash[:12]),
        ]
        head = with_timestamps(self.scan().head(5).collect())
        return html.card(
            self._title(),
            html.table((), rows),
            html.frame_html(head, 5),
            *(html.note(n) for n in found.notes),
        )


def read_ticks(
    path: Path | str,
    *,
    instrument: str | None = None,
    format: str | None = None,
    out: Path | str | None = None,
    show_progress: bool = True,
) -> Ticks:
    """Open a tick store, or import a provider's files into one.

    Parameters
    ----------
    path : Path or str
        A tick store (the folder `aiopt ticks import` writes), or files of a provider: bi5, zip, CSV, JSON,
        Parquet, see `aiopt.ticks.sources.FORMATS`.
    instrument : str, optional
        Symbol, e.g. ``"EURUSD"``, which nothing in the files may contradict.  If absent, what they say.
    format : str, optional
        Of a provider's files; recognised if absent.
    out : Path or str, optional
        Folder in which the import is kept, so that the next call finds it.  By default a temporary folder
        that goes when Python ends.
    show_progress : bool
        Show on stderr how far a long import is.

    Returns
    -------
    Ticks

    Raises
    ------
    DataError
        If there is nothing at the path, the files break a rule of ticks, or the store was changed; names
        file and row.
    """
    from aiopt.errors import DataError
    from aiopt.ticks.importing import open_ticks

    source = Path(path)
    if not source.exists():
        msg = "There is no such file or folder. Give a tick store or a provider's files."
        raise DataError(msg, file=source)
    cache = temporary_folder("ticks") if out is None else Path(out)
    with progress("reading ticks", shown=show_progress) as report:
        store = open_ticks(source, cache, instrument=instrument, format=format, progress=report)
    return Ticks(store)


def sample_ticks(
    days: int = 2,
    *,
    instrument: str = "EURUSD",
    start: str = "2024-03-04",
    ticks_per_day: int = 20_000,
    seed: int = 7,
    edge: float | None = None,
    out: Path | str | None = None,
) -> Ticks:
    """Generate ticks, to try things without any data; nothing that earns on them means anything.

    Parameters
    ----------
    days : int
        Calendar days; week-ends have no ticks.
    instrument : str
        Symbol.
    start : str
        First day, ``YYYY-MM-DD``, UTC.
    ticks_per_day : int
        Mean of an open day.
    seed : int
        Same arguments, same ticks, on every machine.
    edge : float, optional
        Plant a known edge: a pull back to the mean that is worth this true Sharpe ratio, 2 to 11, to
        `rsi_reversion` with its own parameters on 5m bars.  A sweep over a year of them must find it.
    out : Path or str, optional
        Folder of the store; by default a temporary one that goes when Python ends.

    Returns
    -------
    Ticks
        With ``synthetic`` True.

    Examples
    --------
    >>> import aiopt as ao
    >>> ao.sample_ticks(days=1)
    <Ticks: 20,739 generated ticks of EURUSD, 2024-03-04 00:00:06 … 2024-03-04 23:59:44 UTC>
    """
    from aiopt.ticks.sample import generate_ticks

    folder = temporary_folder("sample") if out is None else Path(out)
    generate_ticks(
        folder,
        instrument=instrument,
        start=start,
        days=days,
        ticks_per_day=ticks_per_day,
        seed=seed,
        edge=msgspec.UNSET if edge is None else edge,
    )
    return Ticks(folder)


def temporary_folder(name: str) -> Path:
    """Return a new folder that is removed when Python ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"aiopt-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
