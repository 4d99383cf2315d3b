"""The stamps of a file: which unit or layout they are in is proved by all its rows, never guessed.

Owns the proof and the refusals.  A reading is accepted if the rows agree on it and lead to years in which the
instrument was quoted; where two fit every row of the file it is refused until one is stated.  What numbers
and texts can mean is in `time_units` and `time_text`.  Knows nothing of ticks and bars.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.ticks.clocks.local_time import WallClock
from aiopt.ticks.stamps import time_text
from aiopt.ticks.stamps.number_stamps import is_numeric, number_stamps, prove_number
from aiopt.ticks.stamps.stamp_rules import (
    AmbiguousStampsError,
    Reading,
    StampRules,
    Whole,
    missing,
    no_stamp,
    no_time_of_day,
    plain_column,
    value_at,
)
from aiopt.ticks.stamps.time_text import TextLayout, compile_format, recognise
from aiopt.ticks.stamps.time_units import UNITS
from aiopt.utc import DAY_S, stamp_text

OWN_STAMP = "ts_event_ns"
"""A column of this name is of our own schema: UTC nanoseconds, by definition."""

_LOOKED_AT = 50


class StampReader:
    """Read the stamps of one file, in the order of the file.

    Parameters
    ----------
    file : Path
        For messages.
    wall : WallClock
        Of stamps that do not say their zone, numbers included.
    rules : StampRules
        What is stated.
    whole : callable, optional
        Read where the first rows fit two readings.
    reading : Reading, optional
        If it is proved already.
    """

    def __init__(
        self,
        file: Path,
        wall: WallClock,
        rules: StampRules,
        *,
        whole: Whole | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.reading = reading
        self._file = file
        self._wall = wall
        self._rules = rules
        self._whole = whole

    def read(self, times: pl.Series, first_row: int) -> NDArray[np.int64]:
        """Return stamps as UTC nanoseconds, shape (n,).

        A number or date-time in no year of the market is carried over (it stops at the ends of int64), for
        the rule `implausible_time` to find.

        Raises
        ------
        DataError
            If a value is missing, is no stamp, or is written otherwise than the rows before; names the row.
        AmbiguousStampsError
            If two readings fit every row.
        """
        times = plain_column(times, self._file, first_row)
        if not times.len():
            return np.zeros(0, dtype=np.int64)
        if self.reading is None:
            self.reading = prove(times, first_row, self._file, self._rules, self._whole)
        if times.null_count():
            raise missing(times, first_row, self._file)
        stamps = _stamps(times, self.reading, first_row, self._file, self._rules)
        return stamps if self.reading.zoned else self._wall.to_utc(stamps)


def prove(
    times: pl.Series, first_row: int, file: Path, rules: StampRules, whole: Whole | None = None
) -> Reading:
    """Return the reading that the rows of a file agree on.

    Parameters
    ----------
    times : polars.Series
        The first rows, from `plain_column`.
    first_row : int
        Number of the first.
    file : Path
        For messages.
    rules : StampRules
        What is stated.
    whole : callable, optional
        All rows, looked at where the first ones fit two readings.

    Raises
    ------
    DataError
        If none fits, a statement has no use, or the rows are written in two ways.
    AmbiguousStampsError
        If two fit every row.
    """
    if times.null_count() == times.len():
        raise missing(times, first_row, file)
    reading = _prove(times, first_row, file, rules, whole)
    own = times.name == OWN_STAMP and reading.unit is UNITS["ns"]
    if own or reading.zoned:
        if rules.clock_given:
            what = "are UTC nanoseconds by their name" if own else "say their own zone"
            msg = f"No clock can be given for the times of {times.name!r}: they {what}. "
            raise DataError(f"{msg}Leave --timezone and --utc-offset out.", file=file)
        return Reading(reading.unit, reading.layout, zoned=True)
    if re.sub(r"[^a-z]", "", times.name.lower()) == "localtime" and not rules.clock_given:
        msg = f"{times.name!r} holds local times without their clock, such as {value_at(times, 0)!r}. "
        raise DataError(msg + "Give it with --timezone.", file=file)
    return reading


def _prove(times: pl.Series, first_row: int, file: Path, rules: StampRules, whole: Whole | None) -> Reading:
    if isinstance(times.dtype, pl.Datetime) or times.dtype == pl.Date:
        _check_no_use(times, rules, file)
        if times.dtype == pl.Date and not rules.days:
            raise no_time_of_day(times.name, value_at(times, 0), file)
        return Reading(zoned=isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None)
    if rules.format is not None:
        layout = compile_format(rules.format)
        if layout.daily and not rules.days:
            raise no_time_of_day(times.name, rules.format, file)
        return Reading(layout=layout, zoned=layout.zoned)
    if times.dtype == pl.String and not is_numeric(times):
        if rules.unit is not None:
            msg = f"A time unit is for numbers, but {times.name!r} holds {value_at(times, 0)!r}. "
            raise DataError(msg + "Leave --time-unit out, or use --time-format.", file=file)
        return _prove_text(times, first_row, file, rules, whole)
    return prove_number(times, first_row, file, rules, whole)


def _prove_text(
    times: pl.Series, first_row: int, file: Path, rules: StampRules, whole: Whole | None
) -> Reading:
    layouts: list[TextLayout] = []
    for value in times.drop_nulls().head(_LOOKED_AT).unique(maintain_order=True).to_list():
        layouts = recognise(value)
        if layouts:
            break
    else:
        row = int(times.is_not_null().arg_max() or 0)
        msg = f"{value_at(times, row)!r} in the column {times.name!r} is no time. Use ISO 8601 or "
        msg += "Unix time, or say how it is written: --time-format, e.g. '%d.%m.%Y %H:%M:%S'."
        raise DataError(msg, file=file, row=first_row + row)
    if layouts[0].daily and not rules.days:
        raise no_time_of_day(times.name, times.drop_nulls()[0], file)
    if len(layouts) == 1:
        return Reading(layout=layouts[0], zoned=layouts[0].zoned)
    witness = _Witness(layouts, rules)
    witness.see(times, first_row)
    if witness.one() is None and whole is not None:
        witness = _Witness(layouts, rules)
        for row, column in whole():
            witness.see(plain_column(column, file, row), row)
            if witness.both():
                break
    return witness.verdict(times, first_row, file)


class _Witness:
    """Which of two orders of day and month the rows of a file show."""

    def __init__(self, layouts: Sequence[TextLayout], rules: StampRules) -> None:
        self._layouts = layouts
        self._rules = rules
        self._only: list[tuple[int, str] | None] = [None, None]
        self._rows = 0

    def see(self, text: pl.Series, first_row: int) -> None:
        """Look at rows."""
        first, second = (self._fits(text, layout) for layout in self._layouts)
        for number, alone in enumerate((first & ~second, second & ~first)):
            if self._only[number] is None and alone.any():
                at = int(np.argmax(alone))
                self._only[number] = (first_row + at, str(text[at]))
        self._rows += text.len()

    def both(self) -> bool:
        """Return whether rows contradict each other."""
        return None not in self._only

    def one(self) -> TextLayout | None:
        """Return the order that some row shows and none denies."""
        shown = [layout for layout, row in zip(self._layouts, self._only, strict=True) if row is not None]
        return shown[0] if len(shown) == 1 else None

    def verdict(self, text: pl.Series, first_row: int, file: Path) -> Reading:
        """Return the reading; raise if rows contradict each other or none tells."""
        first, second = self._only
        if first is not None and second is not None:
            later = max(first, second)
            msg = f"{later[1]!r} has its day and month in another order than {min(first, second)[1]!r}. "
            raise DataError(f"{msg}Mend the file.", file=file, row=later[0])
        layout = self.one()
        if layout is None and "%d.%m.%Y" in self._layouts[0].format:
            layout = self._layouts[0]
        if layout is not None:
            return Reading(layout=layout, zoned=layout.zoned)
        value = pl.Series([str(text.drop_nulls()[0])])
        ways = [
            f"{layout.format!r} ({stamp_text(int(time_text.parse(value, layout)[0]))[:10]})"
            for layout in self._layouts
        ]
        msg = f"Day and month cannot be told apart: all {self._rows} rows fit day first and month first. "
        error = AmbiguousStampsError(
            f"{msg}{value[0]!r} is {' or '.join(ways)}. Say which: --time-format FORMAT.",
            file=file,
            row=first_row,
        )
        error.readings = tuple(Reading(layout=layout, zoned=layout.zoned) for layout in self._layouts)
        raise error

    def _fits(self, text: pl.Series, layout: TextLayout) -> NDArray[np.bool_]:
        stamps = time_text.parse(text, layout)
        inside = (stamps >= self._rules.low_ns) & (stamps < self._rules.high_ns)
        return np.asarray(inside.fill_null(value=False).to_numpy(), dtype=np.bool_)


def _stamps(
    times: pl.Series, reading: Reading, first_row: int, file: Path, rules: StampRules
) -> NDArray[np.int64]:
    if reading.layout is not None:
        text = times if times.dtype == pl.String else _digits(times, file)
        stamps = time_text.parse(text, reading.layout)
        if stamps.null_count():
            at = int(stamps.is_null().arg_max() or 0)
            raise no_stamp(times.name, value_at(times, at), first_row + at, file, reading.layout.format)
        return np.asarray(stamps.to_numpy(), dtype=np.int64)
    if reading.unit is not None:
        if times.dtype not in (pl.String, pl.Int64, pl.Float64):
            raise no_stamp(times.name, value_at(times, 0), first_row, file, reading.unit.text)
        return number_stamps(times, reading.unit, first_row, file, rules)
    if times.dtype == pl.Date:
        return UNITS["s"].to_ns(times.cast(pl.Int32).cast(pl.Int64).to_numpy() * DAY_S)
    if not isinstance(times.dtype, pl.Datetime):
        raise no_stamp(times.name, value_at(times, 0), first_row, file, "a date-time")
    return UNITS[times.dtype.time_unit].to_ns(times.to_physical().to_numpy())


def _digits(times: pl.Series, file: Path) -> pl.Series:
    if times.dtype == pl.Int64:
        return times.cast(pl.String)
    msg = f"--time-format is for text and whole numbers, but the column {times.name!r} holds {times.dtype}. "
    raise DataError(msg + "Leave it out.", file=file)


def _check_no_use(times: pl.Series, rules: StampRules, file: Path) -> None:
    for option, value in (("--time-unit", rules.unit), ("--time-format", rules.format)):
        if value is not None:
            msg = f"{option} has no use: the column {times.name!r} holds {times.dtype}. Leave it out."
            raise DataError(msg, file=file)


__all__ = [
    "OWN_STAMP",
    "AmbiguousStampsError",
    "Reading",
    "StampReader",
    "StampRules",
    "plain_column",
    "prove",
]
