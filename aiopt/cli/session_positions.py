"""Bars and readings at the entries of closed positions: those that are named, or a session's own.

Owns which of them are taken.  Prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aiopt.errors import InputError

if TYPE_CHECKING:
    from aiopt.analyst.scans import WindowReading
    from aiopt.bars.schema import BarSet
    from aiopt.live.session.session_record import SessionRecord


def bars_for(
    sources: Sequence[Path], bars_path: Path | None, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], BarSet]:
    """Return the bars of instruments and timeframes.

    Parameters
    ----------
    sources : sequence of Path
        Where the positions are from.
    bars_path : Path or None
        Folder of bars; None: the bars that the sessions decided on.
    keys : sequence of (str, str)
        Instrument and timeframe.

    Raises
    ------
    InputError
        If there is no folder, and not every source is a session, or several have the same series.
    DataError
        If a file is missing or damaged.
    """
    if bars_path is not None:
        from aiopt.bars.files import load_bar_set

        return {key: load_bar_set(bars_path, timeframe=key[1], symbol=key[0]) for key in keys}
    records = _records(sources)
    if records is None:
        msg = "The bars that were traded must be named, as not all SOURCES are sessions. Add --bars FOLDER."
        raise InputError(msg)
    found: dict[tuple[str, str], BarSet] = {}
    for record in records:
        for frame in sorted({one.frame.label for one in record.config.strategies}):
            bars = record.bars_of(frame)
            key = bars.instrument.symbol, frame
            if key in found:
                msg = f"Several sessions have bars of {key[0]}-{key[1]}, each of its own days."
                raise InputError(f"{msg} Add --bars FOLDER with the bars of all of them.")
            found[key] = bars
    return {key: found[key] for key in keys}


def readings_for(sources: Sequence[Path], readings_path: Path | None) -> list[WindowReading] | None:
    """Return the readings of a scan, or those of the sessions; None where nobody read.

    Parameters
    ----------
    sources : sequence of Path
        Where the positions are from.
    readings_path : Path or None
        Of a scan.
    """
    if readings_path is not None:
        from aiopt.analyst.scans import load_readings

        return load_readings(readings_path)
    found = [one.reading for record in _records(sources) or () for one in record.readings]
    return found or None


def _records(sources: Sequence[Path]) -> list[SessionRecord] | None:
    """Return the sessions; None if a source is none."""
    from aiopt.live.session.session_record import read_record
    from aiopt.live.state.session_file import is_session

    return [read_record(one) for one in sources] if all(map(is_session, sources)) else None
