"""Axes: from values to rows, from bars to columns, and which round values and times get a label.

Owns the mapping and the labels' texts; draws nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from aiopt.utc import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, time_text

FloatArray = NDArray[np.float64]


TIME_STEPS_NS = (
    *(n * SECOND_NS for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE_NS for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_NS for n in (1, 2, 3, 4, 6, 8, 12)),
    *(n * DAY_NS for n in (1, 2, 5, 10, 30, 90, 365, 1825)),
)
"""Distances between labelled times; from two days on, parts of the calendar of about that length."""

_MANTISSAS = (1, 2, 5)
_EXPONENTS = range(-12, 16)


@dataclass(frozen=True, slots=True)
class ValueScale:
    """A linear map from values to rows of a pane.

    Attributes
    ----------
    low, high : float
        Values on the centres of the bottom and the top row.
    top, bottom : int
        Those rows.
    """

    low: float
    high: float
    top: int
    bottom: int

    def y(self, values: FloatArray) -> FloatArray:
        """Return exact positions in rows: ``top + (high - value) / (high - low) * (bottom - top)``."""
        result: FloatArray = self.top + (self.high - values) / (self.high - self.low) * (
            self.bottom - self.top
        )
        return result

    def rows(self, values: FloatArray) -> NDArray[np.int64]:
        """Return the rows the values lie in: `y` rounded half up.  Values far outside stop just outside."""
        y = np.clip(self.y(values), self.top - 10_000, self.bottom + 10_000)
        return np.floor(y + 0.5).astype(np.int64)

    def row(self, value: float) -> int:
        """Return the row of one value."""
        return int(self.rows(np.array([value], np.float64))[0])

    def value(self, row: int) -> float:
        """Return the value on the centre of a row."""
        return self.high - (row - self.top) / (self.bottom - self.top) * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class BarScale:
    """A map from bars to columns: equal slots, whatever time lies between bars.

    Attributes
    ----------
    n_bars : int
        Number of slots.
    left, width : int
        First column and number of columns of the pane.
    """

    n_bars: int
    left: int
    width: int

    @property
    def centres(self) -> NDArray[np.int64]:
        """Centre column of each bar: ``left + floor((2 i + 1) width / (2 n_bars))``."""
        return self.left + (2 * np.arange(self.n_bars, dtype=np.int64) + 1) * self.width // (2 * self.n_bars)

    @property
    def body(self) -> tuple[int, int]:
        """Columns of a candle's body left and right of its centre.

        Bodies take about three quarters of a slot, leave at least one column free and are at most 31 wide.
        They lie even on both sides, but for slots of 3 to 4 columns, where they are 2 wide.
        """
        slot = self.width / self.n_bars
        half = max(0, min(15, int((min(slot - 1, 0.75 * slot + 0.5) - 1) // 2)))
        return half, 1 if half == 0 and slot >= 3 else half


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled value."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class TimeTick:
    """A labelled bar; `strong` where a new day (or year) begins."""

    bar: int
    label: str
    strong: bool


def value_ticks(
    scale: ValueScale, *, min_distance: int, decimals: int | None, compact: bool = False
) -> list[Tick]:
    """Return the round values on an axis.

    Parameters
    ----------
    scale : ValueScale
        The axis.
    min_distance : int
        Rows between two labels, at least.  The step is the smallest of 1, 2, 5 times a power of ten that
        keeps it.
    decimals : int, optional
        Decimal places of the labels, and the finest step; as many as the step needs if not given.
    compact : bool
        Write thousands as K, millions as M, billions as B.
    """
    step = _step(scale, min_distance, -12 if decimals is None else -decimals)
    places = max(0, -int(step.as_tuple().exponent)) if decimals is None else decimals
    low, high = Decimal(scale.low), Decimal(scale.high)
    number = -(-low // step)
    if number * step < low:  # Decimal's // truncates toward zero
        number += 1
    ticks = []
    while number * step <= high:
        value = number * step
        ticks.append(Tick(float(value), compact_label(float(value)) if compact else f"{value:.{places}f}"))
        number += 1
    return ticks


def compact_label(value: float) -> str:
    """Return ``"950"``, ``"1.5K"``, ``"20M"``."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def _step(scale: ValueScale, min_distance: int, min_exponent: int) -> Decimal:
    rows_per_unit = (scale.bottom - scale.top) / (scale.high - scale.low)
    for exponent in _EXPONENTS:
        for mantissa in _MANTISSAS:
            step = Decimal(mantissa).scaleb(exponent)
            if exponent >= min_exponent and float(step) * rows_per_unit >= min_distance:
                return step
    return Decimal(1).scaleb(_EXPONENTS[-1])


def time_ticks(ts_open_ns: NDArray[np.int64], bars: BarScale, *, min_distance: int) -> list[TimeTick]:
    """Return the labelled bars: those that open exactly at a round time, and the first bar of each new day.

    Parameters
    ----------
    ts_open_ns : ndarray of shape (n_bars,), int64
        Opening times, UTC, increasing.
    bars : BarScale
        The axis.
    min_distance : int
        Columns between the centres of two labels, at least; where two are nearer, a new day wins.
    """
    if ts_open_ns.size == 1:
        return [TimeTick(0, _stamp(int(ts_open_ns[0])), True)]
    step = _time_step(ts_open_ns, bars, min_distance)
    by_calendar = step >= 2 * DAY_NS
    candidates = _calendar_ticks(ts_open_ns, step) if by_calendar else _clock_ticks(ts_open_ns, step)
    centres = bars.centres
    last_column = bars.left + bars.width - 1
    chosen: list[TimeTick] = []
    for tick in sorted(candidates, key=lambda tick: (not tick.strong, tick.bar)):
        x = int(centres[tick.bar])
        inside = bars.left + min_distance // 3 <= x <= last_column - min_distance // 3
        if inside and all(abs(x - int(centres[other.bar])) >= min_distance for other in chosen):
            chosen.append(tick)
    return sorted(chosen, key=lambda tick: tick.bar)


def _time_step(ts_open_ns: NDArray[np.int64], bars: BarScale, min_distance: int) -> int:
    """Return the smallest step whose labels keep their distance at the usual time between bars."""
    usual = int(np.median(np.diff(ts_open_ns)))
    slot = bars.width / bars.n_bars
    for step in TIME_STEPS_NS:
        if step >= usual and step / usual * slot >= min_distance:
            return step
    return TIME_STEPS_NS[-1]


def _clock_ticks(ts_open_ns: NDArray[np.int64], step: int) -> list[TimeTick]:
    days = ts_open_ns // DAY_NS
    new_day = np.concatenate(([False], np.diff(days) > 0))
    new_day[0] = ts_open_ns[0] % DAY_NS == 0
    round_time = ts_open_ns % step == 0
    ticks = []
    for bar in np.flatnonzero(new_day | round_time).tolist():
        moment = _moment(int(ts_open_ns[bar]))
        if new_day[bar]:
            ticks.append(TimeTick(bar, _day(moment), True))
        else:
            ticks.append(
                TimeTick(bar, f"{moment:%H:%M:%S}" if step < MINUTE_NS else f"{moment:%H:%M}", False)
            )
    return ticks


def _calendar_ticks(ts_open_ns: NDArray[np.int64], step: int) -> list[TimeTick]:
    """Return the first bars of days, months or years, about `step` apart."""
    ticks = []
    previous: tuple[int, int] | None = None
    for bar, ts in enumerate(ts_open_ns.tolist()):
        moment = _moment(ts)
        year, part = moment.year, _part_of_year(moment, step)
        if previous is not None and (year, part) != previous and _is_labelled(year, step):
            new_year = year != previous[0]
            label = (
                f"{year}" if new_year else _MONTHS[moment.month - 1] if step >= 30 * DAY_NS else _day(moment)
            )
            ticks.append(TimeTick(bar, label, new_year))
        previous = year, part
    return ticks


def _part_of_year(moment: dt.datetime, step: int) -> int:
    days = step // DAY_NS
    if days >= 365:
        return 0
    if days >= 30:
        return (moment.month - 1) // (days // 30)
    return moment.month * 100 + min((moment.day - 1) // days, 30 // days - 1)


def _is_labelled(year: int, step: int) -> bool:
    return step <= 365 * DAY_NS or year % (step // (365 * DAY_NS)) == 0


def _moment(ts_ns: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=ts_ns // 1000)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _day(moment: dt.datetime) -> str:
    """Return ``"2 Jan"``; never the machine's language."""
    return f"{moment.day} {_MONTHS[moment.month - 1]}"


def _stamp(ts_ns: int) -> str:
    moment = _moment(ts_ns)
    return f"{_day(moment)} {moment:%H:%M}"


def stamp(ts_ns: int) -> str:
    """Return ``"2018-01-02 08:00"``, with seconds where there are any."""
    return time_text(ts_ns).removesuffix(":00")
