"""Numeric stamps: which unit a column counts in, proved by the years it leads to.

Owns the known units, the years a quote can be of, and the exact way from a number to nanoseconds.  Knows
nothing of text, files and clocks.

No two units meet in the years from 1990 to tomorrow but one pair: .NET ticks of 2001 on look like nanoseconds
of early 1990.  What both fit is for the caller to refuse.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.utc import DAY_NS, DAY_S

EARLIEST_NS = 7305 * DAY_NS
"""1990-01-01: no quotes are kept from before."""

_INT64 = np.iinfo(np.int64)


def latest_ns() -> int:
    """Return the end of tomorrow, UTC: wall clocks run up to 14 hours ahead."""
    return (time.time_ns() // DAY_NS + 2) * DAY_NS


@dataclass(frozen=True)
class TimeUnit:
    """What a number counts.

    Attributes
    ----------
    name : str
        As given to ``--time-unit``.
    text : str
        What it is.
    factor_ns : int
        Nanoseconds per count; 0 for digits ``YYYYMMDD…``.
    origin : int
        Count at 1970-01-01.
    digits : int
        Of a compact stamp; 0 for the others.
    """

    name: str
    text: str
    factor_ns: int = 0
    origin: int = 0
    digits: int = 0

    @property
    def has_time_of_day(self) -> bool:
        """False for whole days and hours, which are stamps of bars only."""
        return not self.digits or self.digits >= len("YYYYMMDDHHMM")

    def bounds(self, low_ns: int, high_ns: int) -> tuple[int, int]:
        """Return the first count from `low_ns` on, and the first from `high_ns` on."""
        if self.digits:
            return _compact_bound(low_ns, self.digits), _compact_bound(high_ns, self.digits)
        return tuple(self.origin - (-edge // self.factor_ns) for edge in (low_ns, high_ns))  # type: ignore[return-value]

    def to_ns(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return counts as nanoseconds since 1970; what int64 cannot hold stops at its ends.

        A compact stamp that is no time (month 13, minute 60) becomes the least int64.
        """
        if self.digits:
            return _from_compact(values, self.digits)
        # Far counts are set to the ends first, so that no product overflows.
        least, most = _INT64.min // self.factor_ns + 1, _INT64.max // self.factor_ns - 1
        counts = np.clip(values, max(_INT64.min, least + self.origin), min(_INT64.max, most + self.origin))
        return (counts - self.origin) * self.factor_ns

    def to_ns_float(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return finite counts with fractions as nanoseconds since 1970, rounded to what a double can tell.

        That is a microsecond, and of .NET ticks (18 digits) a tenth of a millisecond.
        """
        quantum = 100_000 if self.origin and self.factor_ns < DAY_NS else 1_000
        scale = self.factor_ns / quantum
        most = 9e18 / self.factor_ns
        counts = np.clip(values - self.origin, -most, most)
        return np.asarray(np.rint(counts * scale), dtype=np.int64) * quantum


UNITS: dict[str, TimeUnit] = {
    unit.name: unit
    for unit in (
        TimeUnit("s", "seconds since 1970", 1_000_000_000),
        TimeUnit("ms", "milliseconds since 1970", 1_000_000),
        TimeUnit("us", "microseconds since 1970", 1_000),
        TimeUnit("ns", "nanoseconds since 1970", 1),
        TimeUnit("dotnet", ".NET ticks: 100 ns since the year 1", 100, 621_355_968_000_000_000),
        TimeUnit("filetime", "Windows file times: 100 ns since 1601", 100, 116_444_736_000_000_000),
        TimeUnit("excel", "days since 1899-12-30, as spreadsheets and OLE count", DAY_NS, 25_569),
        TimeUnit("YYYYMMDD", "days as digits", digits=8),
        TimeUnit("YYYYMMDDHH", "hours as digits", digits=10),
        TimeUnit("YYYYMMDDHHMM", "minutes as digits", digits=12),
        TimeUnit("YYYYMMDDHHMMSS", "seconds as digits", digits=14),
        TimeUnit("YYYYMMDDHHMMSSmmm", "milliseconds as digits", digits=17),
    )
}
"""The known units, by the name `--time-unit` takes."""


def units_of(low: float, high: float, low_ns: int, high_ns: int) -> list[TimeUnit]:
    """Return the units in which numbers from `low` to `high` lie in the years `low_ns` to `high_ns`."""
    return [unit for unit in UNITS.values() if _holds(unit, low, high, low_ns, high_ns)]


def fitting(
    values: NDArray[np.int64] | NDArray[np.float64], unit: TimeUnit, low_ns: int, high_ns: int
) -> NDArray[np.bool_]:
    """Return which numbers lie in those years, read in a unit."""
    low, high = unit.bounds(low_ns, high_ns)
    return np.asarray((values >= low) & (values < high))


def _holds(unit: TimeUnit, low: float, high: float, low_ns: int, high_ns: int) -> bool:
    first, last = unit.bounds(low_ns, high_ns)
    return first <= low and high < last


def _compact_bound(ns: int, digits: int) -> int:
    text = str(np.datetime64(ns // 1_000_000, "ms")).translate({ord(mark): None for mark in "-T:."})
    return int(text[:digits])


def _from_compact(values: NDArray[np.int64], digits: int) -> NDArray[np.int64]:
    """Return ``YYYYMMDD[HH[MM[SS[mmm]]]]`` as nanoseconds; the least int64 where it is no time."""
    rest = np.asarray(values, dtype=np.int64)
    parts: list[NDArray[np.int64]] = []
    for width in {8: "", 10: "2", 12: "22", 14: "222", 17: "3222"}[digits]:
        rest, part = np.divmod(rest, 10 ** int(width))
        parts.append(part)
    millis = parts.pop(0) if digits == 17 else np.zeros_like(rest)
    clock = [*reversed(parts), *[np.zeros_like(rest)] * 3][:3]
    years, month_day = np.divmod(rest, 10_000)
    months, days = np.divmod(month_day, 100)
    sound = (years >= 1) & (years <= 9999) & (months >= 1) & (months <= 12) & (days >= 1)
    sound &= (clock[0] < 24) & (clock[1] < 60) & (clock[2] < 60)
    month = np.where(sound, (years - 1970) * 12 + months - 1, 0).astype("datetime64[M]")
    first = month.astype("datetime64[D]")
    length = ((month + 1).astype("datetime64[D]") - first).astype(np.int64)
    sound &= days <= length
    day = first.astype(np.int64) + days - 1
    # Years beyond what int64 nanoseconds hold stop at its ends.
    seconds = day * DAY_S + clock[0] * 3_600 + clock[1] * 60 + clock[2]
    most = _INT64.max // 1_000_000_000 - 1
    ns = np.clip(seconds, -most, most) * 1_000_000_000 + millis * 1_000_000
    return np.asarray(np.where(sound, ns, _INT64.min))


__all__ = ["EARLIEST_NS", "UNITS", "TimeUnit", "fitting", "latest_ns", "units_of"]
