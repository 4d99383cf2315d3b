"""Trading sessions in local time: when a bar may begin, right through clock changes.

Owns the notation ``17:00`` and ``08:00-17:00`` of ``--session``, and the mapping from stamps to sessions and
to the bars inside them.  Knows nothing of ticks or prices; the FX week is in `aiopt.market.calendar`.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.errors import ConfigError, did_you_mean
from aiopt.timeframe import Timeframe
from aiopt.utc import DAY_NS

_CLOCK = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)$")
_EPOCH = dt.date(1970, 1, 1)
# 1970-01-04 was a Sunday: groups of days are counted from it, so that seven days are a week from Sunday.
_FIRST_SUNDAY = 3


class TradingSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of every day, in the wall clock of a place.

    The session of the local day ``d`` begins at ``d start``.  It ends where the session of ``d + 1`` begins,
    or, if `end` is given, at the first `end` after `start` (on ``d + 1`` if ``end <= start``).  A time of the
    wall clock that a clock change skips is read with the offset before the change; of a time that occurs
    twice the first counts.

    Attributes
    ----------
    start : str
        ``HH:MM``.
    end : str or None
        ``HH:MM``; None: sessions follow each other without a break.
    timezone : str
        IANA name, e.g. ``"America/New_York"``.

    Raises
    ------
    ConfigError
        If a time or the zone is none, or `end` equals `start`.
    """

    start: str
    end: str | None = None
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for name, text in (("start", self.start), ("end", self.end)):
            if text is not None and not _CLOCK.match(text):
                msg = (
                    f"The {name} of a session must be HH:MM, but got {text!r}. Use e.g. 17:00 or 08:00-17:00."
                )
                raise ConfigError(msg)
        if self.start == self.end:
            msg = f"The session {self.start}-{self.end} ends when it starts."
            raise ConfigError(msg + f" For whole days give {self.start} alone.")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as failure:
            hint = did_you_mean(self.timezone, available_timezones())
            msg = f"There is no timezone {self.timezone!r}. Use an IANA name.{hint}"
            raise ConfigError(msg + " Use e.g. America/New_York.") from failure

    @property
    def label(self) -> str:
        """Return e.g. ``"17:00 America/New_York"``."""
        return f"{self.start}{'' if self.end is None else f'-{self.end}'} {self.timezone}"

    def spans(self, first_ns: int, last_ns: int, timeframe: Timeframe | None = None) -> SessionSpans:
        """Return the sessions of the bars of `timeframe` that hold `first_ns` to `last_ns`, both included."""
        around = 3 + (0 if timeframe is None else timeframe.ns // DAY_NS)
        first, last = first_ns // DAY_NS - around, last_ns // DAY_NS + around
        edges = np.array([_edges(self, day) for day in range(first, last + 1)], dtype=np.int64)
        return SessionSpans(
            days=np.arange(first, last + 1, dtype=np.int64),
            begins=np.ascontiguousarray(edges[:, 0]),
            ends=np.ascontiguousarray(edges[:, 1]),
        )


class SessionSpans:
    """Consecutive sessions as arrays of shape (n_sessions,).

    Attributes
    ----------
    days : ndarray of int64
        Local days since the epoch on which they begin.
    begins, ends : ndarray of int64
        UTC nanoseconds; a session holds ``begin <= t < end``.
    """

    def __init__(self, days: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self.days = days
        self.begins = begins
        self.ends = ends

    def number(self, ts_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of the session each stamp lies in, -1 where it lies in none."""
        at = np.searchsorted(self.begins, ts_ns, side="right") - 1
        return np.where((at >= 0) & (ts_ns < self.ends[np.maximum(at, 0)]), at, -1)

    def opening(self, ts_ns: NDArray[np.int64], timeframe: Timeframe) -> NDArray[np.int64]:
        """Return when the bar of `timeframe` opens that holds each stamp, all of them inside sessions."""
        at = self.number(ts_ns)
        if timeframe.ns < DAY_NS:
            begin = self.begins[at]
            return begin + (ts_ns - begin) // timeframe.ns * timeframe.ns
        return self.begins[self._group_first(at, timeframe)]

    def closing(self, ts_open_ns: NDArray[np.int64], timeframe: Timeframe) -> NDArray[np.int64]:
        """Return when bars that open at `ts_open_ns` are due to end: the first moment that is not theirs."""
        at = self.number(ts_open_ns)
        if timeframe.ns < DAY_NS:
            return np.minimum(ts_open_ns + timeframe.ns, self.ends[at])
        last = self._group_first(at, timeframe) + timeframe.ns // DAY_NS - 1
        return self.ends[last]

    def openings(self, first_ns: int, last_ns: int, timeframe: Timeframe) -> NDArray[np.int64]:
        """Return the opening time of every bar from `first_ns` to `last_ns`, themselves opening times."""
        begins, ends = self.begins, self.ends
        if timeframe.ns >= DAY_NS:
            found = np.unique(self.begins[self._group_first(np.arange(begins.size), timeframe)])
        else:
            counts = -((begins - ends) // timeframe.ns)
            first = np.repeat(np.cumsum(counts) - counts, counts)
            found = np.repeat(begins, counts) + (np.arange(first.size) - first) * timeframe.ns
        return np.ascontiguousarray(found[(found >= first_ns) & (found <= last_ns)])

    def _group_first(self, at: NDArray[np.int64], timeframe: Timeframe) -> NDArray[np.int64]:
        """Return the index of the first session of the group of days that session `at` belongs to."""
        return at - (self.days[at] - _FIRST_SUNDAY) % (timeframe.ns // DAY_NS)


def parse_session(text: str, timezone: str = "UTC") -> TradingSession:
    """Parse ``"17:00"`` (days that begin then) or ``"08:00-17:00"`` (a window of each day).

    Raises
    ------
    ConfigError
        If the text is neither.

    Examples
    --------
    >>> parse_session("17:00", "America/New_York").label
    '17:00 America/New_York'
    """
    start, dash, end = (part.strip() for part in text.partition("-"))
    return TradingSession(start=start, end=end if dash else None, timezone=timezone)


def check_session_timeframe(timeframe: Timeframe) -> None:
    """Raise `ConfigError` unless bars of `timeframe` fit into sessions."""
    if timeframe.ns > DAY_NS and timeframe.ns % DAY_NS:
        msg = f"With a session, bars longer than a day must be whole days, but got {timeframe.label}."
        raise ConfigError(msg + " Use e.g. 1d or 7d.")


@lru_cache(maxsize=65536)
def _edges(session: TradingSession, day: int) -> tuple[int, int]:
    date = _EPOCH + dt.timedelta(days=day)
    begin = _instant(date, session.start, session.timezone)
    if session.end is None:
        return begin, _instant(date + dt.timedelta(days=1), session.start, session.timezone)
    end_date = date if session.end > session.start else date + dt.timedelta(days=1)
    return begin, max(begin, _instant(end_date, session.end, session.timezone))


def _instant(date: dt.date, clock: str, timezone: str) -> int:
    local = dt.datetime.combine(date, dt.time.fromisoformat(clock), tzinfo=ZoneInfo(timezone))
    return round(local.timestamp()) * 1_000_000_000
