"""The FX week as the witness of a clock: it opens on Sunday and closes on Friday, at 17:00 New York.

Owns what is remembered of each week's two edges, and when they fit, contradict or prove nothing.  Nothing
makes a week longer than it is: holidays, holes and cut files only shorten it.  So a market that is there
before the opening or after the closing is on another clock, while one that is missing there may be quiet.
And time does not repeat: where a file steps back by whole hours and goes on, its clock was set back.
Knows nothing of sources, zones and treatments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aiopt.market.calendar import fx_weeks
from aiopt.utc import HOUR_NS, MINUTE_NS

MOST_HOURS = 18
"""Shifts looked for: the clocks of New York and of New Zealand are as far apart."""

_SLACK_NS = 2 * MINUTE_NS
_QUIET_NS = 20 * MINUTE_NS
_OUTSIDE_NS = 25 * MINUTE_NS
_STEP_NS = 30 * MINUTE_NS
_HALF_WEEKEND_NS = 24 * HOUR_NS
_MOST_STEPS = 4
_LONGEST_PROOF_NS = 4 * HOUR_NS
"""A bar of a day is stamped 00:00 on any clock: it tells no hour."""


@dataclass
class WeekEdges:
    """The edges of a week, as the source has them; times of bars are opening times.

    Attributes
    ----------
    first_ns, last_ns : int
        First and last stamp.
    file, row : int
        Where the first was read.
    start_ns, stop_ns : int or None
        First stamp from two minutes before the opening on, and the last one (of bars: the end of the last)
        up to two minutes after the closing.
    early, late : dict of int to int
        Half-hours (bars: bar lengths, if longer) before the opening and after the closing in which there is
        something, counted from the edge, to the earliest (latest) stamp (end of bar) in it.
    """

    first_ns: int
    last_ns: int
    file: int
    row: int
    start_ns: int | None = None
    stop_ns: int | None = None
    early: dict[int, int] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Week:
    """What a week says about the clock its stamps were read as.

    Attributes
    ----------
    open_ns, close_ns : int
        The FX week, UTC nanoseconds.
    begin_ns, end_ns : int
        When the source's market begins and ends in it: unbroken up to the edges of the week if it reaches
        beyond them, so that single quotes of a week-end do not count.
    edges : WeekEdges
        What was seen.
    bar_ns : int
        Length of the bars, 0 for ticks.
    """

    open_ns: int
    close_ns: int
    begin_ns: int
    end_ns: int
    edges: WeekEdges
    bar_ns: int = 0

    @property
    def runs_through(self) -> bool:
        """True if the source quotes through the week-end: such a week has no edge to tell anything by."""
        most = (MOST_HOURS + 2) * HOUR_NS
        return self.open_ns - self.begin_ns >= most or self.end_ns - self.close_ns >= most

    @property
    def has_strays(self) -> bool:
        """True if there is something in the week-end, though not right up to an edge of the week."""
        return bool(self.edges.early or self.edges.late) and not self.contradicts()

    def opening_fits(self, late_ns: int = 0) -> bool:
        """Return whether the market begins at the opening, if the clock is `late_ns` late."""
        return self.bar_ns <= _LONGEST_PROOF_NS and _at_opening(self.begin_ns - self.open_ns - late_ns)

    def closing_fits(self, late_ns: int = 0) -> bool:
        """Return whether the market ends at the closing, if the clock is `late_ns` late."""
        return self.bar_ns <= _LONGEST_PROOF_NS and _at_closing(self.end_ns - self.close_ns - late_ns)

    def fits(self, late_ns: int = 0) -> int:
        """Return how many of the two edges fit."""
        return int(self.opening_fits(late_ns)) + int(self.closing_fits(late_ns))

    def contradicts(self, late_ns: int = 0) -> bool:
        """Return whether the market is there 25 minutes or more before the opening, or after the closing.

        So it is, too, if all there is, and more than one stamp, lies outside the week.
        """
        if self.runs_through:
            return False
        outside = self.end_ns - late_ns <= self.open_ns or self.begin_ns - late_ns >= self.close_ns
        if outside and self.end_ns - self.begin_ns > self.bar_ns:
            return True
        # A bar longer than an hour may hold the opening or the closing.
        spare = max(0, self.bar_ns - HOUR_NS)
        early = self.open_ns + late_ns - self.begin_ns - spare
        late = self.end_ns - self.close_ns - late_ns - spare
        return early >= _OUTSIDE_NS or late >= _OUTSIDE_NS

    def hours_short(self) -> int:
        """Return the whole hours by which the edges lie inside the week where they agree, else 0.

        Positive: the market begins so much after the opening; negative: it ends so much before the closing.
        A holiday, a file that begins or ends there, or a clock that is late or early.
        """
        found = set()
        begin, end = self.begin_ns - self.open_ns, self.end_ns - self.close_ns
        if 0 < begin <= MOST_HOURS * HOUR_NS and _at_opening(begin - _hours(begin) * HOUR_NS):
            found.add(_hours(begin))
        if 0 < -end <= MOST_HOURS * HOUR_NS and _at_closing(end - _hours(end) * HOUR_NS):
            found.add(_hours(end))
        return found.pop() if len(found) == 1 else 0

    def shift(self) -> Shift:
        """Return the week as one that is off."""
        begin, end = self.begin_ns - self.open_ns, self.end_ns - self.close_ns
        agreed = {
            _hours(off)
            for off, at_edge in ((begin, _at_opening), (end, _at_closing))
            if abs(off) <= MOST_HOURS * HOUR_NS and at_edge(off - _hours(off) * HOUR_NS)
        }
        opens, _ = fx_weeks(self.open_ns, self.open_ns)
        number = int(np.searchsorted(opens, self.open_ns))
        start, stop = (int(opens[number + step]) - _HALF_WEEKEND_NS for step in (0, 1))
        hours = agreed.pop() if len(agreed) == 1 else 0
        return Shift(self.open_ns, self.close_ns, start, stop, hours, self.edges)


@dataclass(frozen=True)
class Shift:
    """A week that is off.

    Attributes
    ----------
    open_ns, close_ns : int
        The FX week, UTC nanoseconds.
    start_ns, stop_ns : int
        Stamps in between, as the source has them, belong to the week: from the middle of one week-end to the
        middle of the next.
    hours : int
        Whole hours the stamps are late (early if negative); 0 if the edges agree on no such number, and the
        week cannot be moved.
    edges : WeekEdges
        What was seen.
    """

    open_ns: int
    close_ns: int
    start_ns: int
    stop_ns: int
    hours: int
    edges: WeekEdges


@dataclass(frozen=True)
class StepBack:
    """Whole hours that a file goes back by between two rows.

    Attributes
    ----------
    before_ns, after_ns : int
        Stamps of the two rows.
    file, row : int
        Where the second stands.
    """

    before_ns: int
    after_ns: int
    file: int
    row: int


class WeekWatch:
    """Remember the edges of every week, and where a file steps back by whole hours.

    Parameters
    ----------
    bar_ns : int
        Length of the bars whose opening times are seen; 0 for ticks.
    """

    def __init__(self, bar_ns: int = 0) -> None:
        self._bar_ns = bar_ns
        self._weeks: dict[int, WeekEdges] = {}
        self._latest: tuple[int, int] | None = None
        self._steps: list[StepBack] = []

    def see(
        self,
        ts_ns: NDArray[np.int64],
        file: NDArray[np.int32] | int = 0,
        row: NDArray[np.int64] | None = None,
        *,
        follows: bool = True,
    ) -> None:
        """Take note of stamps in the order of their file; `row` is their position if absent.

        With `follows` false they do not come after those seen before: a block of a file turned round.
        """
        if not ts_ns.size:
            return
        if not follows:
            self._latest = None
        self._note_steps(ts_ns, file, row)
        low, high = int(ts_ns.min()), int(ts_ns.max())
        opens, closes = fx_weeks(low - _HALF_WEEKEND_NS, high + _HALF_WEEKEND_NS)
        starts = opens - _HALF_WEEKEND_NS
        first, last = (int(np.searchsorted(starts, edge, side="right")) - 1 for edge in (low, high))
        for number in range(first, last + 1):
            span = (int(opens[number]), int(closes[number]))
            if first == last:
                self._note(span, ts_ns, file, row, None)
                continue
            part = np.flatnonzero((ts_ns >= starts[number]) & (ts_ns < starts[number + 1]))
            if part.size:
                self._note(span, ts_ns[part], file, row, part)

    def weeks(self) -> list[Week]:
        """Return what the weeks say, in order."""
        result = []
        for open_ns, edges in sorted(self._weeks.items()):
            opens, closes = fx_weeks(open_ns, open_ns)
            close_ns = int(closes[int(np.searchsorted(opens, open_ns))])
            begin_ns = _unbroken(edges.early)
            end_ns = _unbroken(edges.late)
            start = edges.start_ns if edges.start_ns is not None else edges.first_ns
            stop = edges.stop_ns if edges.stop_ns is not None else edges.last_ns + self._bar_ns
            result.append(
                Week(
                    open_ns,
                    close_ns,
                    start if begin_ns is None else begin_ns,
                    stop if end_ns is None else end_ns,
                    edges,
                    self._bar_ns,
                )
            )
        return result

    def shifts(self) -> list[Shift]:
        """Return the weeks that contradict the clock their stamps were read as."""
        return [week.shift() for week in self.weeks() if week.contradicts()]

    def steps_back(self) -> list[StepBack]:
        """Return where files step back by whole hours; nothing if so often that their rows have no order."""
        return self._steps if len(self._steps) <= _MOST_STEPS else []

    def _note_steps(
        self, ts_ns: NDArray[np.int64], file: NDArray[np.int32] | int, row: NDArray[np.int64] | None
    ) -> None:
        number = file if isinstance(file, int) else int(file[0])
        same_file = self._latest is not None and self._latest[0] == number
        before = self._latest[1] if self._latest is not None and same_file else int(ts_ns[0])
        self._latest = (number, int(ts_ns[-1]))
        steps = np.diff(ts_ns, prepend=before)
        for at in np.flatnonzero(steps <= _QUIET_NS - HOUR_NS).tolist():
            step = int(steps[at])
            # The first row on the clock set back comes up to twenty minutes after the last one before.
            on_the_hour = step % HOUR_NS <= _QUIET_NS or -step % HOUR_NS <= _SLACK_NS
            if on_the_hour and step >= -MOST_HOURS * HOUR_NS - _SLACK_NS:
                after = int(ts_ns[at])
                self._steps.append(StepBack(after - step, after, number, at if row is None else int(row[at])))

    def _note(
        self,
        span: tuple[int, int],
        stamps: NDArray[np.int64],
        file: NDArray[np.int32] | int,
        row: NDArray[np.int64] | None,
        part: NDArray[np.int64] | None,
    ) -> None:
        open_ns, close_ns = span
        first, last = int(stamps.min()), int(stamps.max())
        known = self._weeks.get(open_ns)
        if known is None or first < known.first_ns:
            at = int(np.argmin(stamps))
            at = at if part is None else int(part[at])
            number = file if isinstance(file, int) else int(file[at])
            line = at if row is None else int(row[at])
            if known is None:
                known = self._weeks[open_ns] = WeekEdges(first, last, number, line)
            known.first_ns, known.file, known.row = first, number, line
        known.last_ns = max(known.last_ns, last)
        self._note_start(known, stamps, first, open_ns)
        self._note_stop(known, stamps, last, close_ns)

    def _note_start(self, known: WeekEdges, stamps: NDArray[np.int64], first: int, open_ns: int) -> None:
        # A bar longer than an hour may hold the opening: only what lies wholly before it is early.
        spare = max(0, self._bar_ns - HOUR_NS)
        edge = open_ns - _SLACK_NS - spare
        start = first
        if first < edge:
            early = stamps[stamps < edge]
            _fill(known.early, early, open_ns - spare - early, self._bar_ns, -1)
            inside = stamps[stamps >= edge]
            if not inside.size:
                return
            start = int(inside.min())
        known.start_ns = start if known.start_ns is None else min(known.start_ns, start)

    def _note_stop(self, known: WeekEdges, stamps: NDArray[np.int64], last: int, close_ns: int) -> None:
        spare = max(0, self._bar_ns - HOUR_NS)
        edge = close_ns + _SLACK_NS + spare - self._bar_ns
        stop = last
        if last > edge:
            late = stamps[stamps > edge] + self._bar_ns
            _fill(known.late, late, late - close_ns - spare, self._bar_ns, 1)
            inside = stamps[stamps <= edge]
            if not inside.size:
                return
            stop = int(inside.max())
        stop += self._bar_ns
        known.stop_ns = stop if known.stop_ns is None else max(known.stop_ns, stop)


def _fill(
    bins: dict[int, int], stamps: NDArray[np.int64], distance: NDArray[np.int64], bar_ns: int, outwards: int
) -> None:
    """Put stamps into the half-hours they are away from an edge, keeping the outermost of each."""
    numbers = -(-distance // max(_STEP_NS, bar_ns)) - 1
    for number in np.unique(numbers).tolist():
        outermost = int((stamps[numbers == number] * outwards).max()) * outwards
        known = bins.get(number, outermost)
        bins[number] = max(known * outwards, outermost * outwards) * outwards


def _unbroken(bins: dict[int, int]) -> int | None:
    """Return the outermost stamp of the half-hours that follow each other from the edge; None without any."""
    found = None
    number = 0
    while number in bins:
        found = bins[number]
        number += 1
    return found


def _hours(off_ns: int) -> int:
    return round(off_ns / HOUR_NS)


def _at_opening(off_ns: int) -> bool:
    return -_SLACK_NS <= off_ns <= _QUIET_NS


def _at_closing(off_ns: int) -> bool:
    return -_QUIET_NS <= off_ns <= _SLACK_NS
