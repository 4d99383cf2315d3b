"""Wall clocks to UTC, for files stamped on one.

Owns how a clock is named, and what the hours in which it changes prove: an hour that never was proves another
clock, and of an hour that was twice only the order of the file tells which of the two is meant.  Nothing is
guessed.  Whether the clock is the right one is asked in `clock_proof`.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.utc import DAY_NS, HOUR_NS, MINUTE_NS, hour_text, stamp_text

NEW_YORK = "America/New_York"
BROKER = "NY+7"
"""New York plus seven hours: the server clock of most FX brokers, on which a day closes at 17:00 New York."""

_STEP_BACK_NS = HOUR_NS // 2
# No zone changes its clock off the half-hour, and none changes twice a day.
_CELL_NS = HOUR_NS // 2
_OFFSET = re.compile(r"^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?$", re.IGNORECASE)
_ZONE_PLUS = re.compile(r"^(?P<zone>[A-Za-z][A-Za-z_/]*[A-Za-z])(?P<hours>[+-]\d{1,2})?$")


@dataclass(frozen=True)
class Clock:
    """A wall clock: that of a zone, `ahead_ns` further.

    Attributes
    ----------
    name : str
        As given.
    zone : str or None
        IANA name; None for UTC.
    ahead_ns : int
        Nanoseconds the clock is ahead of the zone's.
    """

    name: str
    zone: str | None
    ahead_ns: int

    @property
    def is_utc(self) -> bool:
        """True if nothing has to be turned."""
        return self.zone is None and self.ahead_ns == 0

    def ahead_of_utc_ns(self, utc_ns: int) -> int:
        """Return how far the clock is ahead of UTC at a moment."""
        if self.zone is None:
            return self.ahead_ns
        # Whole seconds, without a float: nanoseconds since the epoch are more than a double holds.
        moment = dt.datetime.fromtimestamp((utc_ns + self.ahead_ns) // 1_000_000_000, tz=ZoneInfo(self.zone))
        offset = moment.utcoffset() or dt.timedelta()
        return round(offset.total_seconds()) * 1_000_000_000 + self.ahead_ns


UTC = Clock("UTC", None, 0)


def parse_clock(text: str) -> Clock:
    """Return a clock by name: ``UTC``, ``+02:00``, ``Europe/Athens``, ``NY``, or a zone plus hours, ``NY+7``.

    Raises
    ------
    DataError
        If there is no such clock.

    Examples
    --------
    >>> parse_clock("NY+7").zone
    'America/New_York'
    """
    plain = text.strip()
    if plain.upper() in {"UTC", "GMT", "Z"}:
        return UTC
    offset = _OFFSET.match(plain)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes <= 24 * 60:
            return Clock(plain, None, (-1 if offset[1] == "-" else 1) * minutes * MINUTE_NS)
    match = _ZONE_PLUS.match(plain)
    if match is not None:
        zone = NEW_YORK if match["zone"].upper() == "NY" else match["zone"]
        if _exists(zone):
            return Clock(plain, zone, int(match["hours"] or 0) * HOUR_NS)
    msg = f"{text!r} is no timezone. Give UTC, an offset (+02:00), an IANA name (Europe/Athens) or one plus "
    raise DataError(f"{msg}hours; for the server of most FX brokers give {BROKER}.")


@dataclass
class _Change:
    """The stamps of one day that the clock was put back on, in the time that was twice.

    Attributes
    ----------
    local_ns, row : int
        The first of them, and where it stands.
    first, second : int
        How many were read as the first and as the second occurrence.
    steps : int
        Steps back.
    ascending : bool
        The row before the first is not later: the file is not in order of falling time.
    latest_ns : int or None
        The last one seen.
    """

    local_ns: int
    row: int
    ascending: bool
    first: int = 0
    second: int = 0
    steps: int = 0
    latest_ns: int | None = None

    @property
    def is_proved(self) -> bool:
        """True if the order of the file tells which stamps are of the second occurrence."""
        return self.ascending and self.steps == 1

    def occurs_again(self, local: NDArray[np.int64], step_back_ns: int) -> NDArray[np.bool_]:
        """Return which of the next stamps come after a step back of more than `step_back_ns`."""
        latest = int(local[0]) - 1 if self.latest_ns is None else self.latest_ns
        before = np.concatenate(([latest], local[:-1]))
        back = local < before - step_back_ns
        self.steps += int(np.count_nonzero(back))
        again = np.logical_or.accumulate(back) | (self.second > 0)
        self.latest_ns = int(local[-1])
        second = int(np.count_nonzero(again))
        self.first, self.second = self.first + again.size - second, self.second + second
        return np.asarray(again)


class WallClock:
    """Turn the stamps of one file, in the order of the file, from a wall clock's into UTC.

    An hour that occurs twice (autumn) is read as its first occurrence until a stamp steps back by more than
    half an hour, and as its second from there: so it is proved by the order of the file.  Without such a step
    the stamps could be of either, and are refused.  So is an hour that never occurs (spring): a file that has
    it is on another clock.  On New York's clock and on `BROKER` both lie in the week-end of the FX market.

    Parameters
    ----------
    clock : Clock
        What the stamps are on.
    file : Path, optional
        For messages.
    bars : bool
        The stamps are those of bars, which ascend: then any that does not is a step back.
    """

    def __init__(self, clock: Clock, file: Path | None = None, *, bars: bool = False) -> None:
        self._clock = clock
        self._file = file
        # Ticks may share a stamp and be a little out of order; bars may not.
        self._step_back_ns = -1 if bars else _STEP_BACK_NS
        self._rows = 0
        self._latest_ns: int | None = None
        self._changes: dict[int, _Change] = {}

    def to_utc(self, local_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return UTC stamps.

        Parameters
        ----------
        local_ns : ndarray of int64, shape (n,)
            Nanoseconds since 1970-01-01 00:00 of the wall clock; of all rows of the file, in order.

        Raises
        ------
        DataError
            If a stamp lies in an hour that never was on this clock; names the row.
        """
        local = np.asarray(local_ns, dtype=np.int64) - self._clock.ahead_ns
        first_row, self._rows = self._rows, self._rows + local.size
        if self._clock.zone is None or not local.size:
            return local
        cells = local // _CELL_NS
        starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))
        offsets = [_offsets_ns(self._clock.zone, int(cell)) for cell in cells[starts].tolist()]
        lengths = np.diff(np.append(starts, local.size))
        result = local - np.repeat(np.array([first for first, _ in offsets], dtype=np.int64), lengths)
        for run, (first, second) in enumerate(offsets):
            if first != second:
                start = int(starts[run])
                part = slice(start, start + int(lengths[run]))
                if first < second:
                    raise self._never(int(local[start]), first_row + start)
                day = int(local[start]) // DAY_NS
                if day not in self._changes:
                    before = self._latest_ns if start == 0 else int(local[start - 1])
                    ascending = before is None or before <= int(local[start])
                    self._changes[day] = _Change(int(local[start]), first_row + start, ascending)
                again = self._changes[day].occurs_again(local[part], self._step_back_ns)
                result[part] += np.where(again, first - second, 0)
        self._latest_ns = int(local[-1])
        return result

    def notes(self) -> list[str]:
        """Return what was found in hours that were twice, a sentence per change, once all rows were seen.

        Raises
        ------
        DataError
            If nothing in the file tells which of the two the stamps of such an hour are of; names the first.
        """
        result = []
        for _, change in sorted(self._changes.items()):
            name = f"{hour_text(change.local_ns // HOUR_NS)} of {self._clock.zone}"
            if not change.is_proved:
                raise self._either(change, name)
            text = f"{change.first + change.second} stamp(s) in {name}, which was twice: {change.first} "
            result.append(f"{text}read as the first, {change.second} (after a step back) as the second.")
        return result

    def _never(self, local_ns: int, row: int) -> DataError:
        msg = (
            f"The clock {self._clock.name} never showed {stamp_text(local_ns + self._clock.ahead_ns)[:19]}: "
            f"{self._clock.zone} skipped {hour_text(local_ns // HOUR_NS)} at its change to summer time. The "
            "source is on another clock. Give it with --timezone or --utc-offset."
        )
        return DataError(msg, file=self._file, row=row)

    def _either(self, change: _Change, name: str) -> DataError:
        msg = (
            f"{name} was there twice, and its {change.first + change.second} stamp(s) could be of either: "
            f"they step back {change.steps} times{'' if change.ascending else ' in falling order'}, where "
            "once would tell. Remove them, give the clock as an offset (--utc-offset), or export the file in "
            "UTC."
        )
        return DataError(msg, file=self._file, row=change.row)


def _exists(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=262_144)
def _offsets_ns(zone: str, cell: int) -> tuple[int, int]:
    """Return how far a clock is ahead of UTC in a half-hour of its own, both times it may occur."""
    wall = dt.datetime(1970, 1, 1) + cell * dt.timedelta(minutes=30)
    found = (wall.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    first, second = (int((offset or dt.timedelta()).total_seconds()) * 1_000_000_000 for offset in found)
    return first, second
