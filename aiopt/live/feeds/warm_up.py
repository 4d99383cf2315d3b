"""History before the first decision: bars that were built before a feed begins, and the gap between the two.

Owns reading them and what is said of a gap.  Knows no strategy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from aiopt.backtest.growing_bars import BarRow
from aiopt.bars.reducing.reducer import FinishedBars, FinishedStops
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import TimeRule
from aiopt.bars.schema import BarMeta, BarSet, BarTable
from aiopt.errors import ConfigError
from aiopt.market.calendar import open_time_ns
from aiopt.market.instrument import Instrument, instrument
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.schema import TICK_COLUMNS
from aiopt.timeframe import Timeframe
from aiopt.utc import MINUTE_NS, stamp_text


def bars_of_store(
    folder: Path, timeframe: Timeframe, *, start_ns: int | None = None, stop_ns: int | None = None
) -> BarSet:
    """Return the bars of a tick store, or of a span of it, with the ladder of their stops.

    Parameters
    ----------
    folder : Path
        The store.
    timeframe : Timeframe
        Bar length.
    start_ns, stop_ns : int, optional
        Ticks with ``start_ns <= t < stop_ns``.
    """
    manifest = read_manifest(folder)
    traded = instrument(manifest.instrument)
    request = BarRequest((TimeRule(timeframe),), ("bid", "ask"))
    reducer = TimeReducer(request, traded)
    low = manifest.first_ts_ns if start_ns is None else start_ns
    high = manifest.last_ts_ns + 1 if stop_ns is None else stop_ns
    parts = []
    for part in sorted(manifest.partitions, key=lambda one: one.date):
        if part.last_ts_ns < low or part.first_ts_ns >= high:
            continue
        frame = pl.from_arrow(pq.read_table(folder / part.path, columns=list(TICK_COLUMNS)))
        assert isinstance(frame, pl.DataFrame)
        frame = frame.filter(pl.col("ts_event_ns").is_between(low, high, closed="left"))
        parts.append(reducer.reduce({name: frame[name].to_numpy() for name in TICK_COLUMNS}))
    tables, ladder = {}, None
    for made in reducer.finish(reducer.merge(parts)):
        if isinstance(made, FinishedBars):
            meta = BarMeta(
                instrument=traded.symbol,
                timeframe=timeframe.label,
                price=made.price,
                data_hash=manifest.data_hash,
                synthetic=manifest.synthetic,
            )
            tables[made.price] = BarTable(made.frame, meta)
        elif isinstance(made, FinishedStops):
            ladder = made.ladder
    bid, ask = tables["bid"].arrays(), tables["ask"].arrays()
    return BarSet(traded, timeframe, bid, ask, False, manifest.data_hash, stops=ladder)


def rows_of(bars: BarSet) -> Iterator[BarRow]:
    """Yield bars one by one."""
    sides = (
        getattr(side, name).tolist()
        for side in (bars.bid, bars.ask)
        for name in ("open", "high", "low", "close", "volume")
    )
    for row in zip(bars.bid.ts_open_ns.tolist(), *sides, strict=True):
        yield BarRow._make((*row, 0))


def whole_bars(
    folder: Path, traded: Instrument, timeframe: Timeframe, start_ns: int, stop_ns: int
) -> list[BarRow]:
    """Return the bars of a tick store that begin and end in ``[start_ns, stop_ns]``.

    Parameters
    ----------
    folder : Path
        The store.
    traded : Instrument
        What it must be of.
    timeframe : Timeframe
        Bar length.
    start_ns, stop_ns : int
        UTC.

    Raises
    ------
    ConfigError
        If the store is of another instrument.
    """
    held = read_manifest(folder)
    if held.instrument != traded.symbol:
        msg = f"History must be of what is traded, {traded.symbol}, but {folder} holds {held.instrument}."
        raise ConfigError(f"{msg} Give the tick store of {traded.symbol}.")
    if held.last_ts_ns < start_ns or held.first_ts_ns >= stop_ns:
        return []
    bars = bars_of_store(folder, timeframe, start_ns=start_ns, stop_ns=stop_ns)
    return [row for row in rows_of(bars) if row.ts_open_ns + timeframe.ns <= stop_ns]


def gap_after(last: BarRow | None, timeframe: Timeframe, first_ts_ns: int, traded: Instrument) -> str:
    """Return what is missing between history and the first quote of a feed; empty if nothing is.

    Parameters
    ----------
    last : BarRow or None
        The last bar of the history; None: there is none.
    timeframe : Timeframe
        Its length.
    first_ts_ns : int
        The first quote.
    traded : Instrument
        Says when its market is open.

    Raises
    ------
    ConfigError
        If the history reaches beyond the first quote: bars would be fed twice.
    """
    if last is None:
        return ""
    end_ns = last.ts_open_ns + timeframe.ns
    if end_ns > first_ts_ns:
        msg = (
            f"History must end before the feed begins, but its last {timeframe.label} bar ends "
            f"{stamp_text(end_ns, 's')} and the first quote is of {stamp_text(first_ts_ns, 's')}."
        )
        raise ConfigError(f"{msg} Begin the feed at {stamp_text(end_ns, 's')}, or give less history.")
    missing_ns = open_span_ns(end_ns, first_ts_ns, always_open=traded.always_open)
    if missing_ns < max(timeframe.ns, MINUTE_NS):
        return ""
    return (
        f"{missing_ns / MINUTE_NS:,.0f} open minutes of {traded.symbol} are missing between the history, "
        f"which ends {stamp_text(end_ns, 's')}, and the first quote at {stamp_text(first_ts_ns, 's')}: "
        "indicators jump over them"
    )


def open_span_ns(start_ns: int, stop_ns: int, *, always_open: bool) -> int:
    """Return for how long the market was open between two times."""
    if always_open:
        return max(0, stop_ns - start_ns)
    if stop_ns <= start_ns:
        return 0
    return int(open_time_ns(np.array([start_ns], dtype=np.int64), np.array([stop_ns], dtype=np.int64))[0])
