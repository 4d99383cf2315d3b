"""The quotes of a journal of events: a feed to trade on again, and ticks to be made a store of.

Owns which quotes of a journal are meant.  A place is the number of quotes before it.  Knows no transport.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeGuard

import numpy as np

from aiopt.backtest.growing_bars import BarRow
from aiopt.bus.events import Event, Quote
from aiopt.bus.journal import journal_files, read_journal, read_journal_file
from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds.feed_config import JournalReplay
from aiopt.live.feeds.past import PastOfStore
from aiopt.live.feeds.seam import Batch
from aiopt.market.instrument import Instrument, instrument
from aiopt.ticks.importing import import_source
from aiopt.ticks.manifest import Manifest
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.source import Batch as TickBatch
from aiopt.ticks.sources.source import TickSource
from aiopt.timeframe import Timeframe

FORMAT = "bus_journal"
"""`Manifest.source_format` of a store that was made of a journal."""

_CHUNK = 4_096
_FOR_EVER = (1 << 63) - 1


class JournalQuotes:
    """The quotes of one session and instrument in a journal.

    Parameters
    ----------
    config : JournalReplay
        Which.

    Raises
    ------
    ConfigError
        If there are several sessions or instruments and none is named.
    DataError
        If the folder is no journal, or has no such quotes.
    """

    is_live = False

    def __init__(self, config: JournalReplay) -> None:
        self.folder = Path(config.journal)
        self._span = (config.ns("start") or 0, config.ns("stop") or _FOR_EVER)
        counts: Counter[tuple[str, str]] = Counter()
        merged = 0
        self._first: Quote | None = None
        for quote in self._read((config.session,) if config.session else (), config.instrument):
            counts[quote.session, quote.instrument] += 1
            merged += quote.merged > 1
            self._first = self._first or quote
        if self._first is None:
            of = f" of {config.session}" if config.session else ""
            msg = f"A replay needs quotes, but this journal has none{of} in that span."
            raise DataError(f"{msg} Record with quotes, or choose another session or span.", file=self.folder)
        if len(counts) > 1:
            found = ", ".join(f"{name} ({symbol}, {count:,})" for (name, symbol), count in counts.items())
            msg = f"A replay takes one session's quotes of one instrument, but the journal has {found}."
            raise ConfigError(f"{msg} Name one: feed.session, feed.instrument.")
        ((self.session, symbol),) = counts
        self.instrument: Instrument = instrument(symbol)
        self.total = sum(counts.values())
        self.merged = merged
        self.complete_from_ns = config.ns("start")
        self.first_ns = self._first.ts_ns
        self.history_until_ns = config.ns("start") or self.first_ns
        self._past = PastOfStore(config.history, self.instrument)

    def __repr__(self) -> str:
        return f"JournalQuotes({self.session}, {self.instrument.symbol}, {self.total} quotes)"

    @property
    def identity(self) -> dict[str, object]:
        """What must be the same for a place to mean the same."""
        assert self._first is not None
        return {"kind": "journal", "session": self.session, "first": self._first.id, "span": [*self._span]}

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return bars of the tick store beside it, see `Feed`."""
        return self._past.history(timeframe, start_ns, stop_ns)

    def lost_since(self, place: int) -> bool:
        """Return False: every quote of a journal can be had again."""
        return False

    def wants(self, event: Event) -> TypeGuard[Quote]:
        """Return whether an event is one of these quotes."""
        start_ns, stop_ns = self._span
        return (
            isinstance(event, Quote)
            and (event.session, event.instrument) == (self.session, self.instrument.symbol)
            and start_ns <= event.ts_ns < stop_ns
        )

    async def batches(self, place: int) -> AsyncGenerator[Batch]:
        """Yield the quotes from a place on, see `Feed`."""
        note = merged_note(self.merged, self.total)
        notes = (note,) if note and not place else ()
        quotes = islice(self._read((self.session,), self.instrument.symbol), place, None)
        for chunk in iter(lambda: list(islice(quotes, _CHUNK)), []):
            yield batch_of(chunk, range(place, place + len(chunk)))._replace(notes=notes)
            place, notes = place + len(chunk), ()

    def _read(self, sessions: tuple[str, ...], symbol: str | None) -> Iterator[Quote]:
        start_ns, stop_ns = self._span
        for event in read_journal(
            self.folder, kinds=("quote",), sessions=sessions, start_ns=start_ns, stop_ns=stop_ns
        ):
            assert isinstance(event, Quote)
            if symbol is None or event.instrument == symbol:
                yield event


def batch_of(quotes: Sequence[Quote], places: Sequence[int]) -> Batch:
    """Return quotes of the bus as quotes of a feed."""
    return Batch(
        places,
        [one.ts_ns for one in quotes],
        [one.bid for one in quotes],
        [one.ask for one in quotes],
        [one.bid_size for one in quotes],
        [one.ask_size for one in quotes],
    )


def merged_note(merged: int, total: int) -> str:
    """Return what to know where quotes stand for several; empty: none does."""
    if not merged:
        return ""
    return (
        f"{merged:,} of {total:,} quotes stand for several, of which only the last was told: highs and lows "
        "may be missing in the bars. Publish quotes unmerged where others trade on them"
    )


def store_of_journal(
    quotes: JournalQuotes,
    out: Path,
    *,
    replace: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Manifest:
    """Make a tick store of a journal's quotes, so that they can be backtested as any others.

    Parameters
    ----------
    quotes : JournalQuotes
        Which.
    out : Path
        Folder of the store.
    replace : bool
        Whether a store there is replaced.
    progress : callable, optional
        Told of the share done.

    Raises
    ------
    DataError
        If a rule of the import refuses them.
    """
    files = tuple(journal_files(quotes.folder))

    def read(number: int) -> Iterator[TickBatch]:
        found = [one for one in read_journal_file(files[number]) if quotes.wants(one)]
        if found:
            arrays = TickArrays(*(np.array(column) for column in batch_of(found, ())[1:6]))
            yield TickBatch(arrays, number, 0, files[number].stat().st_size)

    note = merged_note(quotes.merged, quotes.total)
    source = TickSource(
        format=FORMAT, root=quotes.folder, files=files, read=read, notes=[f"{note}."] if note else []
    )
    told = progress or (lambda done: None)
    return import_source(
        source,
        out,
        instrument=quotes.instrument,
        replace=replace,
        progress=lambda done, total: told(done / total),
    )
