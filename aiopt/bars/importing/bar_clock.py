"""The clock of a provider's bars: from the stamps of their files to UTC, with the week as the witness.

Owns the order of that: the clock of each file is given or chosen, stamps are turned, and all weeks together
must bear it out.  Ticks go the same way through `aiopt.ticks.checks.validation`.  Knows no layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.importing.ohlcv import modal_timeframe
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.clock_proof import ClockProof, clock_proof, doubtful_clock, shift_error, step_error
from aiopt.ticks.clocks.clock_shift import WeekWatch
from aiopt.ticks.clocks.conventions import GIVEN, FileClock, choose, convention
from aiopt.ticks.clocks.local_time import UTC, WallClock, parse_clock

Parts = Sequence[tuple[Path, dict[str, pl.DataFrame]]]
"""Files and their bars per price side; ``ts_open_ns`` int64 and ``row`` int64 among the columns."""

_REMEDY = "Give the right one with --timezone; --keep-clock takes the bars as they are."


def bars_to_utc(
    parts: Parts, format: str, instrument: Instrument, *, timezone: str | None = None, keep: bool = False
) -> tuple[list[tuple[Path, dict[str, pl.DataFrame]]], ClockProof]:
    """Return the bars of files with opening times in UTC, and what proves the clock.

    Parameters
    ----------
    parts : Parts
        Bars whose ``ts_open_ns`` is the wall clock's, rows in the order of the file.
    format : str
        Layout, a key of the conventions.
    instrument : Instrument
        One that is always open has no weeks.
    timezone : str, optional
        Clock of all files, if the user said so.
    keep : bool
        Take the clock although weeks contradict it; the proof counts them.

    Raises
    ------
    DataError
        If a week contradicts the clock, the clock is in doubt, or a stamp can be of two instants; names the
        file, the row, and the clocks that fit.
    """
    everything = [next(iter(sides.values()))["ts_open_ns"].to_numpy() for _, sides in parts]
    bar_ns = modal_timeframe(np.sort(np.concatenate(everything)), parts[0][0]).ns
    watch = WeekWatch(bar_ns)
    clocks = []
    result = []
    for number, ((file, sides), stamps) in enumerate(zip(parts, everything, strict=True)):
        if timezone is None:
            clock = choose(file, convention(format, file), [stamps], bar_ns=bar_ns)
        else:
            clock = FileClock(parse_clock(timezone), GIVEN)
        clocks.append(clock)
        turned = {side: _turned(frame, clock, file) for side, frame in sides.items()}
        first = next(iter(turned.values()))
        watch.see(first["ts_open_ns"].to_numpy(), number, first["row"].to_numpy())
        result.append((file, turned))
    files = [file for file, _ in parts]
    weeks = [] if instrument.always_open else watch.weeks()
    if not keep:
        found = [week.shift() for week in weeks if week.contradicts()]
        if found:
            raise shift_error(found, weeks, clocks, files, _REMEDY)
        steps = watch.steps_back()
        if steps:
            raise step_error(steps[0], files, "Or take it as it is with --keep-clock.")
        doubt = doubtful_clock(weeks, clocks, files)
        if doubt is not None:
            raise doubt
    return result, clock_proof(weeks, clocks, instrument)


def check_utc(ts_open_ns: NDArray[np.int64], bar_ns: int, instrument: Instrument, file: Path) -> None:
    """Refuse bars that are taken as they are, opening times in UTC, although weeks contradict that.

    Raises
    ------
    DataError
        Names the first such week, and the clocks that fit.
    """
    watch = WeekWatch(bar_ns)
    watch.see(ts_open_ns)
    weeks = [] if instrument.always_open else watch.weeks()
    found = [week.shift() for week in weeks if week.contradicts()]
    if found:
        remedy = "Turn them into bar files with `aiopt bars import FILE --out DIR --timezone CLOCK`."
        raise shift_error(found, weeks, [FileClock(UTC)], [file], remedy)


def _turned(frame: pl.DataFrame, clock: FileClock, file: Path) -> pl.DataFrame:
    wall = WallClock(clock.clock, file, bars=True)
    utc = wall.to_utc(frame["ts_open_ns"].to_numpy())
    # Raises where the order of the file does not tell one reading of an hour from the other.
    wall.notes()
    return frame.with_columns(pl.Series("ts_open_ns", utc))
