"""From the file of a scan to what a strategy's gate looks at.

Owns what is refused on the way: readings of two instruments, of two readers or revisions, of other prices
than those that are traded, and scans in which nothing was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aiopt.analyst.scans.reading_rows import WindowReading, load_readings
from aiopt.analyst.scans.scanning import prices_hash
from aiopt.bars.reading_log import FIGURES, MarketReading, ReadingLog, ReadingOrigin, SeenPattern
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.errors import ConfigError, DataError


def market_reading(one: WindowReading, *, latency_s: float | None = None) -> MarketReading:
    """Return what a strategy looks at of one window that was read.

    Parameters
    ----------
    one : WindowReading
        With a reading.
    latency_s : float, optional
        Seconds from the window's close to the answer, instead of those it took.
    """
    known_ns = one.available_ns if latency_s is None else one.ts_end_ns + round(latency_s * 1e9)
    figures = {name: getattr(one, name) for name in FIGURES}
    return MarketReading(
        ts_end_ns=one.ts_end_ns,
        known_ns=known_ns,
        bias=one.bias or "",
        trend=one.trend or "",
        volatility=one.volatility or "",
        figures={name: float(value) for name, value in figures.items() if value is not None},
        patterns=tuple(SeenPattern(seen.kind, one.bars - 1 - seen.last_bar) for seen in one.patterns),
    )


def reading_log(
    readings: Sequence[WindowReading],
    *,
    latency_s: float | None = None,
    file: Path | None = None,
    several: bool = False,
) -> ReadingLog:
    """Return the readings of a scan in the order in which they were known.

    Parameters
    ----------
    readings : sequence of WindowReading
        In any order; windows without a reading tell what was looked at.
    latency_s : float, optional
        Seconds every answer takes, instead of those it took in the scan.
    file : Path, optional
        Named in errors.
    several : bool
        Take readings of several readers as one log, named after all of them: those of a live session in
        which rules stood in for a model, or whose model was switched.

    Raises
    ------
    ConfigError
        If `latency_s` is negative.
    DataError
        If there is no reading, or they are of two instruments, or (unless `several`) of two readers, models,
        revisions or prompts: names the row.
    """
    if latency_s is not None and not 0 <= latency_s < 1e9:
        msg = f"`latency_s >= 0` must hold, but got latency_s={latency_s}. Give seconds, e.g. 2."
        raise ConfigError(msg)
    read = [(row, one) for row, one in enumerate(readings) if not one.failure]
    if not read:
        msg = f"A gate needs readings, but none of the {len(readings):,} windows has one. Scan again."
        raise DataError(msg, file=file)
    first = read[0][1]
    origin = _origin(first)
    for row, one in read:
        if one.instrument != first.instrument:
            msg = f"Readings must be of one instrument, but are of {first.instrument} and {one.instrument}."
            raise DataError(f"{msg} Give one scan.", file=file, row=row)
        if not several and _origin(one) != origin:
            msg = (
                f"Readings must be of one revision, but are by {_said(origin)} and by {_said(_origin(one))}."
            )
            raise DataError(f"{msg} Two models are two strategies: give one scan.", file=file, row=row)
    return ReadingLog(
        instrument=first.instrument,
        origin=_joined([one for _, one in read]) if several else origin,
        readings=tuple(market_reading(one, latency_s=latency_s) for _, one in read),
        chart_ends_ns=np.unique(np.array([one.ts_end_ns for one in readings], dtype=np.int64)),
        first_ns=min(one.ts_start_ns for one in readings),
        latency_s=latency_s,
    )


def load_reading_log(path: Path, *, latency_s: float | None = None) -> ReadingLog:
    """Return the readings of a finished scan's file or folder; errors as `load_readings`, `reading_log`."""
    return reading_log(load_readings(path), latency_s=latency_s, file=path)


def with_readings(bars: BarSet, path: Path, *, latency_s: float | None = None) -> BarSet:
    """Return bars with the readings of a scan, for strategies that ask for them.

    Parameters
    ----------
    bars : BarSet
        To be traded.
    path : Path
        ``readings.parquet``, or the scan's folder.
    latency_s : float, optional
        As in `reading_log`.

    Raises
    ------
    ConfigError, DataError
        As `load_readings` and `reading_log`; also if charts were read of other prices than these bars'.
    """
    readings = load_readings(path)
    log = reading_log(readings, latency_s=latency_s, file=path)
    check_charts(readings, bars.bid, file=path)
    return replace(bars, readings=log)


def check_charts(readings: Sequence[WindowReading], bars: BarArrays, *, file: Path | None = None) -> None:
    """Refuse readings of other prices: the hash of every chart that lies in the bars must be theirs.

    Charts of another timeframe cannot be compared, and those that reach beyond the bars are passed over.

    Raises
    ------
    DataError
        Names the row.
    """
    closes = bars.ts_open_ns + bars.timeframe.ns
    for row, one in enumerate(readings):
        if one.timeframe != bars.timeframe.label or one.instrument != bars.instrument:
            continue
        start = int(np.searchsorted(bars.ts_open_ns, one.ts_start_ns))
        stop = int(np.searchsorted(closes, one.ts_end_ns, side="right"))
        if one.ts_start_ns < bars.ts_open_ns[0] or one.ts_end_ns > closes[-1]:
            continue
        if stop - start != one.bars or prices_hash(bars.slice(start, stop)) != one.chart_sha256:
            msg = (
                f"Readings must be of the prices that are traded, but the chart of {one.sample} shows other "
            )
            raise DataError(f"{msg}bars. Scan these bars, or give the bars of the scan.", file=file, row=row)


def _origin(one: WindowReading) -> ReadingOrigin:
    return ReadingOrigin(
        reader=one.reader,
        model_id=one.model_id,
        model_revision=one.model_revision,
        prompt_version=one.prompt_version,
    )


def _joined(readings: Sequence[WindowReading]) -> ReadingOrigin:
    """Return the origin of readings by several, each name once, in the order in which they first answered."""
    found = list(dict.fromkeys(map(_origin, readings)))
    if len(found) == 1:
        return found[0]
    names = ("reader", "model_id", "model_revision", "prompt_version")
    told = {name: dict.fromkeys(getattr(one, name) for one in found) for name in names}
    return ReadingOrigin(**{name: ", ".join(filter(None, words)) for name, words in told.items()})


def _said(origin: ReadingOrigin) -> str:
    prompt = f" (prompt {origin.prompt_version})" if origin.prompt_version else ""
    return f"{origin.text}{prompt}"
