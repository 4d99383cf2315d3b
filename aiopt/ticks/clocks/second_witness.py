"""Another provider's bars as a second witness of a clock: at which lag do highs, lows and closes agree.

Owns the comparison.  Two sources of one market show the same highs and lows at the same moment and at no
other, whatever their spreads; so the lag at which they agree best is how far their clocks are apart.  Reading
the witness is `aiopt.bars.importing.bar_import`'s.  Knows no format.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.schema import TickArrays
from aiopt.timeframe import timeframe_of_ns
from aiopt.utc import HOUR_NS, MINUTE_NS, stamp_text

HALF_HOUR_NS = HOUR_NS // 2
MOST_LAG_NS = 24 * HOUR_NS
FEWEST_BARS = 5
CLEAR = 0.7
"""The best lag must differ this much less than the next best one; otherwise the witness cannot tell."""

# Two lags are compared over nearly the same bars, or not at all.
_COMMON_SHARE = 0.5
_FEWEST_A_WEEK = 15
_WEEK_NS = 7 * 24 * HOUR_NS
_FIRST_SATURDAY_NS = 2 * 24 * HOUR_NS


@dataclass(frozen=True, eq=False)
class Ranges:
    """High, low and close of spans of one length.

    Attributes
    ----------
    ts_ns : ndarray of int64, shape (n,)
        Opening times, UTC, ascending.
    high, low, close : ndarray of float64, shape (n,)
        Quote currency.
    ns : int
        Length.
    """

    ts_ns: NDArray[np.int64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    ns: int

    def __len__(self) -> int:
        return int(self.ts_ns.size)

    def within(self, ts_ns: NDArray[np.int64], ns: int, lag_ns: int) -> tuple[NDArray[np.int64], Ranges]:
        """Return which spans ``ts_ns … ts_ns + ns`` these fill, and their ranges in them, `lag_ns` later."""
        moved = self.ts_ns + lag_ns
        # A day on which the clock is put back lasts an hour longer; it ends where the next begins.
        stops = ts_ns + ns
        gap = ts_ns[1:] - stops[:-1]
        stops[:-1] += np.where(np.abs(gap) <= HOUR_NS, gap, 0) if ns >= 12 * HOUR_NS else 0
        number = np.asarray(np.searchsorted(ts_ns, moved, side="right") - 1, dtype=np.int64)
        inside = (number >= 0) & (moved < stops[np.maximum(number, 0)])
        number, rows = number[inside], np.flatnonzero(inside)
        if not rows.size:
            return rows, Ranges(rows, *(np.zeros(0),) * 3, ns)
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        at = number[starts]
        # Only spans of which nothing is missing at the ends of what there is.
        whole = (ts_ns[at] >= moved[0]) & (stops[at] <= moved[-1] + self.ns)
        last = np.append(starts[1:], rows.size) - 1
        found = Ranges(
            ts_ns[at],
            np.maximum.reduceat(self.high[rows], starts),
            np.minimum.reduceat(self.low[rows], starts),
            self.close[rows[last]],
            ns,
        )
        return at[whole], found.take(whole)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Ranges:
        """Return some of them."""
        return Ranges(self.ts_ns[index], self.high[index], self.low[index], self.close[index], self.ns)


@dataclass(frozen=True)
class Witness:
    """A second witness.

    Attributes
    ----------
    name : str
        The last parts of its path.
    side : str
        ``"bid"``, ``"ask"`` or ``"mid"``: what is to be compared with it.
    bars : Ranges
        Its bars, UTC.
    clock : str
        What is known of its own clock.
    """

    name: str
    side: str
    bars: Ranges
    clock: str

    @property
    def identity(self) -> str:
        """Return the name and a hash of the bars: what a manifest says an import was checked against."""
        digest = hashlib.sha256()
        for column in (self.bars.ts_ns, self.bars.high, self.bars.low, self.bars.close):
            digest.update(np.ascontiguousarray(column).data)
        return f"{self.name} {digest.hexdigest()[:16]}"


class TickRanges:
    """Gather ranges of ticks, day by day, for a witness.

    Parameters
    ----------
    witness : Witness
        Gives the side and the length that fits its bars and half-hours.
    """

    def __init__(self, witness: Witness) -> None:
        self._side = witness.side
        self._ns = math.gcd(witness.bars.ns, HALF_HOUR_NS)
        self._parts: list[Ranges] = []

    def see(self, ticks: TickArrays) -> None:
        """Take note of the ticks of a day, in order of time."""
        if not len(ticks):
            return
        sides = {"bid": ticks.bid, "ask": ticks.ask}
        price = sides.get(self._side)
        price = (ticks.bid + ticks.ask) / 2 if price is None else price
        span = ticks.ts_event_ns // self._ns
        starts = np.flatnonzero(np.diff(span, prepend=span[0] - 1))
        last = np.append(starts[1:], span.size) - 1
        self._parts.append(
            Ranges(
                span[starts] * self._ns,
                np.maximum.reduceat(price, starts),
                np.minimum.reduceat(price, starts),
                price[last],
                self._ns,
            )
        )

    def result(self) -> Ranges:
        """Return the ranges of all days."""
        names = ("ts_ns", "high", "low", "close")
        columns = [np.concatenate([getattr(part, name) for part in self._parts]) for name in names]
        return Ranges(columns[0], columns[1], columns[2], columns[3], self._ns)


def ranges_of(frame: pl.DataFrame, ns: int) -> Ranges:
    """Return bars as ranges."""
    columns = [np.ascontiguousarray(frame[name].to_numpy()) for name in ("high", "low", "close")]
    return Ranges(frame["ts_open_ns"].to_numpy(), columns[0], columns[1], columns[2], ns)


def check_against(own: Ranges, witness: Witness, instrument: Instrument, source: Path) -> str:
    """Return in a sentence how a witness confirms that stamps are in UTC.

    At every lag of whole half-hours up to a day (of whole bars, if both are longer), the highs, lows and
    closes over the bars of the longer timeframe are compared: the mean absolute difference, less the median
    difference of each of the three, which is the spread.  That is done over all bars, and week by week (of
    bars longer than four hours: four weeks by four weeks), so that a clock that changes its convention does
    not hide behind the rest of the year.

    Parameters
    ----------
    own : Ranges
        Of the source; not longer than half an hour, or of bars.
    witness : Witness
        From `read_witness`.
    instrument : Instrument
        Gives the pip.
    source : Path
        For messages.

    Raises
    ------
    DataError
        If they agree at another lag than zero, over all or in a week, or no lag is clearly the best.
    """
    if not len(own):
        raise DataError(
            "No tick of the source is left to compare with the second witness. Check the source.", file=source
        )
    fine, coarse, sign = (own, witness.bars, 1) if own.ns <= witness.bars.ns else (witness.bars, own, -1)
    step = HALF_HOUR_NS if HALF_HOUR_NS % fine.ns == 0 else math.lcm(fine.ns, HALF_HOUR_NS)
    lags = np.arange(-(MOST_LAG_NS // step), MOST_LAG_NS // step + 1) * step * sign
    table = np.stack([_differences(fine, coarse, int(lag) * sign, instrument) for lag in lags])
    known = ~np.isnan(table)
    counts = known.sum(axis=1)
    label = timeframe_of_ns(coarse.ns).label
    name = f"{label} bars of {witness.name} ({witness.side}; its clock: {witness.clock})"
    verdict = _best_lag(np.nansum(table, axis=1), counts, lags, FEWEST_BARS)
    if verdict is None:
        msg = f"The second witness has {int(counts.max())} {name} in common with the source; {FEWEST_BARS} "
        raise DataError(f"{msg}are needed. Give some of the same time.", file=source)
    lag, apart, other_lag, other = verdict
    if not apart < CLEAR * other:
        msg = (
            f"The second witness cannot tell the clock: highs, lows and closes of {name} differ from the "
            f"source by {apart:.2f} pips at {_lag_text(lag)} and by {other:.2f} at {_lag_text(other_lag)}. "
            "Give bars of the same time and instrument, or shorter ones."
        )
        raise DataError(msg, file=source)
    agreeing, off = _week_by_week(table, coarse, lags)
    at_zero = int(np.flatnonzero(lags == 0)[0])
    if lag or off:
        when = "" if lag else f"in {len(off)} of {agreeing + len(off)} weeks, the first from "
        when += "" if lag else f"{stamp_text(off[0][0])[:10]}, "
        shown = lag or off[0][1]
        zero = np.nansum(table[at_zero]) / max(int(counts[at_zero]), 1)
        size = f" ({apart:.2f} pips apart, {zero:.2f} at none)" if lag else ""
        msg = (
            f"The second witness is on another clock than the source: {when}highs, lows and closes of "
            f"{name} agree at {_lag_text(shown)}{size}. If the witness is right, the stamps of the source "
            f"are {_hours_text(shown)} {'early' if shown > 0 else 'late'}: give its clock with --timezone."
        )
        raise DataError(msg, file=source)
    equal = float((table[at_zero][known[at_zero]] == 0).mean())
    weeks = f", in each of {agreeing} weeks that tell" if agreeing else ""
    return (
        f"highs, lows and closes of {int(counts[at_zero]):,} {name} agree at lag 0{weeks}: {apart:.2f} pips "
        f"apart, {equal:.1%} alike to the tick; next best is {_lag_text(other_lag)} with {other:.2f} pips."
    )


def _week_by_week(
    table: NDArray[np.float64], coarse: Ranges, lags: NDArray[np.int64]
) -> tuple[int, list[tuple[int, int]]]:
    """Return how many weeks agree at no lag, and of those at another: their first bar and the lag."""
    length = _WEEK_NS if coarse.ns <= 4 * HOUR_NS else 4 * _WEEK_NS
    numbers = (coarse.ts_ns - _FIRST_SATURDAY_NS) // length
    agreeing, off = 0, []
    for number in np.unique(numbers).tolist():
        part = table[:, numbers == number]
        counts = np.count_nonzero(~np.isnan(part), axis=1)
        found = _best_lag(np.nansum(part, axis=1), counts, lags, _FEWEST_A_WEEK)
        if found is None or not found[1] < CLEAR * found[3]:
            continue
        if found[0]:
            off.append((int(coarse.ts_ns[numbers == number][0]), found[0]))
        else:
            agreeing += 1
    return agreeing, off


def _differences(fine: Ranges, coarse: Ranges, lag_ns: int, item: Instrument) -> NDArray[np.float64]:
    """Return how far high, low and close of each coarse bar are off at a lag, in pips; NaN if not known."""
    result = np.full(len(coarse), np.nan)
    at, inner = fine.within(coarse.ts_ns, coarse.ns, lag_ns)
    if at.size:
        outer = coarse.take(at)
        apart = [getattr(inner, name) - getattr(outer, name) for name in ("high", "low", "close")]
        # Less than half a step is the noise of doubles.
        whole = [np.rint((values - np.median(values)) / item.tick_size) * item.tick_size for values in apart]
        result[at] = np.mean([np.abs(values) for values in whole], axis=0) / item.pip_size
    return result


def _best_lag(
    sums: NDArray[np.float64], counts: NDArray[np.int64], lags: NDArray[np.int64], fewest: int
) -> tuple[int, float, int, float] | None:
    """Return the best and the next best lag with their mean differences; None if too few bars are common."""
    enough = counts >= max(fewest, int(counts.max()) * _COMMON_SHARE)
    if np.count_nonzero(enough) < 2:
        return None
    means = np.where(enough, sums / np.maximum(counts, 1), np.inf)
    order = np.lexsort((np.abs(lags), means))
    best, other = int(order[0]), int(order[1])
    return int(lags[best]), float(means[best]), int(lags[other]), float(means[other])


def _lag_text(lag_ns: int) -> str:
    return f"a lag of {'+' if lag_ns >= 0 else '-'}{_hours_text(lag_ns)}"


def _hours_text(lag_ns: int) -> str:
    hours, rest = divmod(abs(lag_ns) // MINUTE_NS, 60)
    return f"{hours}:{rest:02d} h"
