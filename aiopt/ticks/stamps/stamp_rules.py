"""What is stated about the stamps of a source, what a file proved, and how a stamp is refused.

Owns the types that proof and reading share.  Proves nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.errors import DataError
from aiopt.ticks.stamps.time_text import TextLayout
from aiopt.ticks.stamps.time_units import EARLIEST_NS, TimeUnit, latest_ns


@dataclass(frozen=True, kw_only=True)
class StampRules:
    """What is stated about the stamps of a source, and what they may be.

    Attributes
    ----------
    low_ns, high_ns : int
        The instrument was quoted in ``low_ns <= stamp < high_ns``.
    unit : str or None
        Key of `UNITS` that was stated for numbers.
    format : str or None
        Layout that was stated for text, see `aiopt.ticks.stamps.time_text`.
    days : bool
        Whole days and hours are stamps too, as of bars.
    clock_given : bool
        A clock was stated, so stamps that say their own zone are refused.
    """

    low_ns: int = EARLIEST_NS
    high_ns: int
    unit: str | None = None
    format: str | None = None
    days: bool = False
    clock_given: bool = False

    @classmethod
    def plain(cls, *, days: bool = False) -> StampRules:
        """Return the rules of a source about which nothing is stated."""
        return cls(high_ns=latest_ns(), days=days)


@dataclass(frozen=True)
class Reading:
    """How the stamps of a file are read: numbers by a unit, text by a layout, or date-times as they are."""

    unit: TimeUnit | None = None
    layout: TextLayout | None = None
    zoned: bool = False

    @property
    def text(self) -> str:
        """What is said about it."""
        if self.layout is not None:
            return f"text like {self.layout.format}"
        return "date-times" if self.unit is None else self.unit.text

    @property
    def is_plain(self) -> bool:
        """True for what needs no mention: Unix times, date-times and text with the year first."""
        if self.layout is not None:
            return self.layout.format.startswith("%Y")
        return self.unit is None or self.unit.name in {"s", "ms", "us", "ns"}


class AmbiguousStampsError(DataError):
    """Two readings fit every row; `readings` holds them."""

    readings: tuple[Reading, ...] = ()


Whole = Callable[[], Iterator[tuple[int, pl.Series]]]
"""All stamps of a file as columns of rows, with the number of the first."""


def plain_column(times: pl.Series, file: Path, first_row: int) -> pl.Series:
    """Return a column of stamps as text, int64, float64, days or date-times.

    Raises
    ------
    DataError
        If it is of another kind, or of numbers too short to hold a time.
    """
    dtype = times.dtype
    if dtype == pl.String:
        text = times.str.strip_chars()
        return text.set(text == "", None) if (text == "").any() else text
    if dtype in (pl.Categorical, pl.Enum) or dtype.is_decimal():
        return times.cast(pl.String).str.strip_chars()
    if dtype.is_integer():
        if dtype in (pl.UInt64, pl.Int128):
            times = times.clip(-(2**62) if dtype == pl.Int128 else 0, 2**63 - 1)
        return times.cast(pl.Int64)
    if dtype == pl.Float32:
        msg = f"The column {times.name!r} is float32, which holds 7 digits; times need more. "
        raise DataError(msg + "Write whole numbers (int64) or date-times.", file=file)
    if dtype == pl.Float64:
        values = times.to_numpy()
        wrong = ~np.isfinite(values)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise no_stamp(times.name, times[at], first_row + at, file)
        return times
    if dtype in (pl.Date, pl.Null) or isinstance(dtype, pl.Datetime):
        return times
    msg = f"The column {times.name!r} holds {dtype}, not times. Use integers or date-times."
    raise DataError(msg, file=file)


def value_at(times: pl.Series, at: int) -> object:
    """Return a value of a column; date-times, which may be of years Python has no dates for, as text."""
    one = times.slice(at, 1)
    return (one.cast(pl.String) if one.dtype.is_temporal() else one)[0]


def shown(times: pl.Series, at: int) -> str:
    """Return a value of a column as text."""
    value = value_at(times, at)
    return "nothing" if value is None else str(value)


def missing(times: pl.Series, first_row: int, file: Path) -> DataError:
    """Return the error for the first stamp of a column that is null."""
    at = 0 if times.dtype == pl.Null else int(times.is_null().arg_max() or 0)
    return no_stamp(times.name, None, first_row + at, file)


def no_stamp(name: str, value: object, row: int, file: Path, like: str = "") -> DataError:
    """Return the error for a value that is no stamp, or none like those before it."""
    shown = "nothing (null)" if value is None else repr(value)
    kind = f" ({like}, as the rows before it)" if like else ""
    msg = f"The column {name!r} must hold a time{kind}, but got {shown}. Mend or remove the row."
    return DataError(msg, file=file, row=row)


def no_time_of_day(name: str, value: object, file: Path) -> DataError:
    """Return the error for days where a time is needed."""
    msg = f"The column {name!r} holds days ({value}) without a time of day. Add the time."
    return DataError(msg, file=file)
