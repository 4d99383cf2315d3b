"""Whether the opening times of a request's bars can be what its timeframe says.  Owns these rules.

Times in another unit and bars of another length are read without a murmur by everything behind: the chart,
the rules and the model would speak of another market.  What cannot be told apart (a few bars of 5 minutes
called 1m) is let through.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import AnalysisRequestError
from aiopt.timeframe import Timeframe, timeframe_of_ns
from aiopt.utc import HOUR_NS, MINUTE_NS

_UNITS = (("seconds", 1_000_000_000), ("milliseconds", 1_000_000), ("microseconds", 1_000))
_FIRST = 31_536_000_000_000_000
"""1971: before it nobody quoted currencies, and until then reach the microseconds of two millennia."""
_LAST = 4_102_444_800_000_000_000
"""2100."""
_QUARTER = 15 * MINUTE_NS
_ENOUGH = 10
"""Gaps from which on a common divisor is no accident."""


def check_bar_times(ts_open_ns: NDArray[np.int64], timeframe: Timeframe) -> None:
    """Check the unit of opening times, their grid and their distances.

    Parameters
    ----------
    ts_open_ns : ndarray of int64
        Opening times, in order.
    timeframe : Timeframe
        What the request says the bars are.

    Raises
    ------
    AnalysisRequestError
        Naming the first time at fault and what it may have been meant to be.
    """
    for row in np.flatnonzero((ts_open_ns < _FIRST) | (ts_open_ns >= _LAST))[:1].tolist():
        raise AnalysisRequestError(_wrong_unit(int(ts_open_ns[row]), row))
    _check_gaps(ts_open_ns, timeframe)
    _check_grid(ts_open_ns, timeframe)


def _wrong_unit(stamp: int, row: int) -> str:
    rule = (
        f"Opening times must be nanoseconds since 1970 (UTC), from 1971 to 2099, but bar {row} has {stamp}."
    )
    for unit, scale in _UNITS:
        if _FIRST <= stamp * scale < _LAST:
            year = dt.datetime.fromtimestamp(stamp * scale // 1_000_000_000, dt.UTC).year
            return f"{rule} As {unit} it would be in {year}: multiply by {scale:,}."
    return f"{rule} Give nanoseconds."


def _check_grid(ts_open_ns: NDArray[np.int64], timeframe: Timeframe) -> None:
    """Bars open on whole multiples of their length; long ones may begin with a session."""
    grid = int(np.gcd(timeframe.ns, _QUARTER))
    for row in np.flatnonzero(ts_open_ns % grid)[:1].tolist():
        raise AnalysisRequestError(
            f"Bars of {timeframe.label} must open on whole multiples of {_label(grid)}, but bar {row} opens "
            f"{int(ts_open_ns[row]) % grid:,} ns later ({int(ts_open_ns[row])}). Give opening times, or "
            "correct `timeframe`."
        )


def _check_gaps(ts_open_ns: NDArray[np.int64], timeframe: Timeframe) -> None:
    gaps = np.diff(ts_open_ns)
    if not gaps.size:
        return
    length = timeframe.ns
    rest = gaps % length
    # A session's clock moves by an hour in spring and autumn, and its bars with it.
    shift = HOUR_NS if length > HOUR_NS else 0
    wrong = np.minimum(rest, length - rest) > 0
    if shift:
        wrong &= (rest != shift) & (rest != length - shift)
    wrong |= gaps < length - shift
    for row in np.flatnonzero(wrong)[:1].tolist():
        raise AnalysisRequestError(
            f"Bars of {timeframe.label} must open a multiple of {timeframe.label} apart, but bar {row + 1} "
            f"opens {_label(int(gaps[row]))} after the one before.{_meant(gaps, timeframe)}"
        )
    steps = (gaps + length // 2) // length
    common = int(np.gcd.reduce(steps))
    if gaps.size >= _ENOUGH and common > 1:
        raise AnalysisRequestError(
            f"Bars of {timeframe.label} must open {timeframe.label} apart where none is missing, but all "
            f"{gaps.size} distances are multiples of {_label(common * length)}.{_meant(gaps, timeframe)}"
        )


def _meant(gaps: NDArray[np.int64], timeframe: Timeframe) -> str:
    """Say which timeframe the bars may have: their most frequent distance."""
    values, counts = np.unique(gaps, return_counts=True)
    usual = int(values[np.argmax(counts)])
    if usual != timeframe.ns and usual % 1_000_000_000 == 0:
        return f" Most are {_label(usual)} apart: write that as `timeframe`, or correct the times."
    return " Correct the times, or `timeframe`."


def _label(ns: int) -> str:
    return timeframe_of_ns(ns).label if ns % 1_000_000_000 == 0 else f"{ns:,} ns"
