"""Wall clocks to UTC, for files stamped on one.  Owns how a clock is named, and the hours it changes in."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.ticks import HOUR_NS, hour_text

NEW_YORK = "America/New_York"
BROKER = "NY+7"
"""New York plus seven hours: the server clock of most FX brokers, on which a day closes at 17:00 New York."""

_STEP_BACK_NS = HOUR_NS // 2
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
            return Clock(plain, None, (-1 if offset[1] == "-" else 1) * minutes * 60_000_000_000)
    match = _ZONE_PLUS.match(plain)
    if match is not None:
        zone = NEW_YORK if match["zone"].upper() == "NY" else match["zone"]
        if _exists(zone):
            return Clock(plain, zone, int(match["hours"] or 0) * HOUR_NS)
    msg = "A timezone must be UTC, an offset (+02:00), an IANA name (Europe/Athens) or one plus hours, "
    raise DataError(f"{msg}but got {text!r}. For the server of most FX brokers use {BROKER}.")


class WallClock:
    """Turn the stamps of one file, in the order of the file, from a wall clock's into UTC.

    An hour that occurs twice (autumn) is read as its first occurrence until a stamp steps back by more than
    half an hour, and as its second from there.  An hour that never occurs (spring) is read as if the clock
    had not changed.  On New York's clock and on `BROKER` both lie in the week-end of the FX market.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second: dict[int, bool] = {}
        self._latest: dict[int, int] = {}
        self._seen: Counter[tuple[int, str]] = Counter()

    def to_utc(self, local_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return UTC stamps.

        Parameters
        ----------
        local_ns : ndarray of int64, shape (n,)
            Nanoseconds since 1970-01-01 00:00 of the wall clock.
        """
        local = np.asarray(local_ns, dtype=np.int64) - self._clock.ahead_ns
        if self._clock.zone is None or not local.size:
            return local
        hours = local // HOUR_NS
        starts = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
        offsets = [_offsets_ns(self._clock.zone, int(hour)) for hour in hours[starts].tolist()]
        lengths = np.diff(np.append(starts, local.size))
        result = local - np.repeat(np.array([first for first, _ in offsets], dtype=np.int64), lengths)
        for run, (first, second) in enumerate(offsets):
            if first != second:
                part = slice(int(starts[run]), int(starts[run] + lengths[run]))
                hour = int(hours[starts[run]])
                if first < second:
                    self._seen[hour, "skipped"] += int(lengths[run])
                else:
                    again = self._occurs_again(hour, local[part])
                    result[part] += np.where(again, first - second, 0)
        return result

    def notes(self) -> list[str]:
        """Return what was found in the hours the clock changes, a sentence per hour."""
        result = []
        for hour in sorted({hour for hour, _ in self._seen}):
            name = f"{hour_text(hour)} of {self._clock.zone}"
            skipped = self._seen[hour, "skipped"]
            if skipped:
                result.append(
                    f"{skipped} stamp(s) in {name}, which never was: read as if no clock had changed."
                )
                continue
            first, second = self._seen[hour, "first"], self._seen[hour, "second"]
            text = f"{first + second} stamp(s) in {name}, which was twice: {first} read as the first"
            result.append(f"{text}, {second} (after a step back) as the second.")
        return result

    def _occurs_again(self, hour: int, local: NDArray[np.int64]) -> NDArray[np.bool_]:
        before = np.concatenate(([self._latest.get(hour, local[0])], local[:-1]))
        again = np.logical_or.accumulate(local < before - _STEP_BACK_NS) | self._second.get(hour, False)
        self._second[hour], self._latest[hour] = bool(again[-1]), int(local[-1])
        second = int(np.count_nonzero(again))
        self._seen[hour, "first"] += again.size - second
        self._seen[hour, "second"] += second
        return np.asarray(again)


def _exists(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=262_144)
def _offsets_ns(zone: str, hour: int) -> tuple[int, int]:
    """Return how far a clock is ahead of UTC in an hour of its own, at its first and second occurrence."""
    wall = dt.datetime(1970, 1, 1) + dt.timedelta(hours=hour)
    found = (wall.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    first, second = (int((offset or dt.timedelta()).total_seconds()) * 1_000_000_000 for offset in found)
    return first, second
