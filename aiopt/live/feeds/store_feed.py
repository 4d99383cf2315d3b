"""Quotes of a tick store, one after the other, from any place in it.

Owns the order and the cursor: a place is the number of quotes before it, so a feed goes on exactly where it
was left.  `Pace` says when the next is due.  Knows no bars.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds.seam import Batch
from aiopt.live.feeds.warm_up import bars_of_store, rows_of
from aiopt.market.instrument import Instrument, instrument
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.schema import TICK_COLUMNS
from aiopt.timeframe import Timeframe
from aiopt.utc import stamp_text

_BATCH = 16_384


class Chunk(NamedTuple):
    """Consecutive quotes.

    Attributes
    ----------
    position : int
        Place of the first.
    ts_ns : list of int
        UTC.
    bid, ask, bid_size, ask_size : list of float
        As in `aiopt.ticks.schema`.
    """

    position: int
    ts_ns: list[int]
    bid: list[float]
    ask: list[float]
    bid_size: list[float]
    ask_size: list[float]

    def __len__(self) -> int:
        return len(self.ts_ns)


class StoreFeed:
    """The quotes of a tick store.

    Parameters
    ----------
    folder : Path
        The store.
    start_ns, stop_ns : int, optional
        Quotes with ``start_ns <= t < stop_ns``; default: all.

    Raises
    ------
    DataError
        If there is no store, or no quote in that span.
    """

    is_live = False
    """It ends, and a quote comes when it is stamped."""

    def __init__(self, folder: Path, *, start_ns: int | None = None, stop_ns: int | None = None) -> None:
        self.folder = Path(folder)
        self.manifest: Manifest = read_manifest(self.folder)
        self.instrument: Instrument = instrument(self.manifest.instrument)
        self.complete_from_ns = start_ns
        self.start_ns = self.manifest.first_ts_ns if start_ns is None else start_ns
        self.stop_ns = self.manifest.last_ts_ns + 1 if stop_ns is None else stop_ns
        if not self.start_ns < self.stop_ns:
            texts = f"{stamp_text(self.start_ns, 's')} and {stamp_text(self.stop_ns, 's')}"
            raise ConfigError(f"A replay must begin before it ends, but got {texts}. Turn them round.")
        self._partitions = sorted(self.manifest.partitions, key=lambda part: part.date)
        self._first = self._place_of(self.start_ns)
        self._behind = self._place_of(self.stop_ns)
        if self._first == self._behind:
            span = f"{stamp_text(self.start_ns, 's')} to {stamp_text(self.stop_ns, 's')}"
            msg = f"A replay needs quotes, but the store has none from {span}. Choose a span between "
            known = (self.manifest.first_ts_ns, self.manifest.last_ts_ns)
            first, last = (stamp_text(at, "s") for at in known)
            raise DataError(f"{msg}{first} and {last}.", file=self.folder)

    def __len__(self) -> int:
        return self._behind - self._first

    def __repr__(self) -> str:
        return f"StoreFeed({self.instrument.symbol}, {len(self)} quotes)"

    @property
    def identity(self) -> dict[str, object]:
        """What must be the same for a cursor to mean the same."""
        return {
            "kind": "store",
            "data_hash": self.manifest.data_hash,
            "start_ns": self.start_ns,
            "stop_ns": self.stop_ns,
        }

    @property
    def total(self) -> int:
        """Quotes of it."""
        return len(self)

    @property
    def history_until_ns(self) -> int:
        """Where its own quotes begin, and history ends."""
        return self.start_ns

    @property
    def first_ns(self) -> int:
        """Stamp of the first quote."""
        return next(iter(self.chunks())).ts_ns[0]

    def lost_since(self, place: int) -> bool:
        """Return False: every quote of a store can be had again."""
        return False

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return bars of the store's own quotes, see `Feed`; one that the replay begins in is there too."""
        return list(rows_of(bars_of_store(self.folder, timeframe, start_ns=start_ns, stop_ns=stop_ns)))

    async def batches(self, place: int) -> AsyncGenerator[Batch]:
        """Yield the quotes from a place on, see `Feed`."""
        for chunk in self.chunks(place):
            yield Batch(range(chunk.position, chunk.position + len(chunk)), *chunk[1:])

    def chunks(self, position: int = 0) -> Iterator[Chunk]:
        """Yield the quotes from a place on.

        Parameters
        ----------
        position : int
            Quotes of the feed that have been taken already.

        Raises
        ------
        DataError
            If a file of the store cannot be read, naming it.
        """
        at, behind = 0, 0
        wanted = self._first + position
        for part in self._partitions:
            at, behind = behind, behind + part.rows
            if behind <= wanted or at >= self._behind:
                continue
            for first, batch in self._batches(self.folder / part.path, wanted - at):
                stop = min(len(batch), self._behind - at - first)
                if stop <= 0:
                    break
                columns = (batch.column(name).to_pylist()[:stop] for name in TICK_COLUMNS)
                yield Chunk(at + first - self._first, *columns)
                wanted = at + first + stop

    def _batches(self, path: Path, skip: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield batches of a file from a row on, each with the number of its first row."""
        try:
            row = 0
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=list(TICK_COLUMNS)):
                    start, row = row, row + batch.num_rows
                    if row > skip:
                        inside = max(0, skip - start)
                        yield start + inside, batch.slice(inside)
        except (OSError, pa.ArrowException) as error:
            msg = f"A file of the tick store must be readable, but is not: {error}. Verify the store."
            raise DataError(msg, file=path) from error

    def _place_of(self, ts_ns: int) -> int:
        """Return how many quotes of the store come before a time."""
        before = 0
        for part in self._partitions:
            if part.last_ts_ns < ts_ns:
                before += part.rows
                continue
            if part.first_ts_ns >= ts_ns:
                break
            stamps = pq.read_table(self.folder / part.path, columns=["ts_event_ns"])["ts_event_ns"]
            return before + int(np.searchsorted(stamps.to_numpy(), ts_ns, side="left"))
        return before


class Pace:
    """When the next quote of a replay is due.

    Parameters
    ----------
    speed : float
        1: as it was; 60: an hour in a minute; 0: as fast as it goes.

    Raises
    ------
    ConfigError
        If it is negative or not finite.
    """

    def __init__(self, speed: float) -> None:
        if not 0 <= speed < float("inf"):
            msg = (
                f"`0 <= speed < inf` must hold, but got speed={speed!r}. Use 1 for real time, 0 for no pause."
            )
            raise ConfigError(msg)
        self.speed = speed
        self._began: tuple[float, int] | None = None

    def wait_s(self, ts_ns: int) -> float:
        """Return the seconds until a quote is due; not positive: it is."""
        if self.speed == 0:
            return 0.0
        now = time.monotonic()
        if self._began is None:
            self._began = now, ts_ns
        began, first = self._began
        return began + (ts_ns - first) / 1e9 / self.speed - now
