"""The parts of a strategy: indicators, stops and targets, session, size.  Each checks itself alone."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from typing import Literal

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import SpecError, did_you_mean

TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")
"""``HH:MM`` from 00:00 to 23:59."""


class ByContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """Base: equal and hashable by content, although fields may hold dicts."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return canonical_json(self) == canonical_json(other)

    def __hash__(self) -> int:
        return hash(canonical_json(self))


class IndicatorSpec(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """One indicator of a strategy.

    Attributes
    ----------
    kind : str
        A key of `aiopt.indicators.INDICATORS`.
    source : str
        Series it reads, one of `PRICE_SOURCES`; kinds that read high, low and close leave it at ``"close"``.
    args : dict
        Argument name to a number or the name of a parameter.
    """

    kind: str
    source: str = "close"
    args: dict[str, int | float | str] = {}


class PriceDistance(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """Distance of a stop or target from the close of the signal bar.

    Attributes
    ----------
    unit : {"atr", "pips"}
        `value` times the ATR at the signal bar, or times the instrument's pip.
    value : number or str
        Positive number, or the name of a parameter.
    indicator : str or None
        The ATR indicator's id if `unit` is ``"atr"``, else None.
    """

    unit: Literal["atr", "pips"]
    value: int | float | str
    indicator: str | None = None


class SessionFilter(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """When entries are allowed, tested on a bar's opening time in `timezone`.

    Attributes
    ----------
    start, end : str
        ``"HH:MM"``; ``start <= time < end``, over midnight if start > end.
    timezone : str
        IANA name, e.g. ``"Europe/London"``; daylight saving is followed.
    weekdays : tuple of int
        Monday 1 to Sunday 7, of the bar's own local day.
    """

    start: str
    end: str
    timezone: str = "UTC"
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5)

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            text = getattr(self, name)
            if TIME_OF_DAY.match(text) is None:
                msg = f"session: {name} must be a time HH:MM from 00:00 to 23:59, but got {text!r}."
                raise SpecError(msg)
        if self.start == self.end:
            msg = f"session: start and end are both {self.start}. For the whole day leave the session out."
            raise SpecError(msg)
        if not self.weekdays or any(not 1 <= day <= 7 for day in self.weekdays):
            msg = f"session: weekdays must be some of 1 (Monday) to 7, but got {list(self.weekdays)}."
            raise SpecError(msg)
        msgspec.structs.force_setattr(self, "weekdays", tuple(sorted(set(self.weekdays))))
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as failure:
            hint = did_you_mean(self.timezone, zoneinfo.available_timezones())
            hint = hint if hint.startswith(" Did") else " Use e.g. UTC, Europe/London, America/New_York."
            msg = f"session: there is no timezone {self.timezone!r}. Use an IANA name.{hint}"
            raise SpecError(msg) from failure

    @property
    def start_minute(self) -> int:
        """Minute of the day at which the session starts."""
        return _minute_of_day(self.start)

    @property
    def end_minute(self) -> int:
        """Minute of the day at which the session ends (excluded)."""
        return _minute_of_day(self.end)

    def contains(self, local: dt.datetime) -> bool:
        """Return whether a local wall-clock time lies in the session."""
        if local.isoweekday() not in self.weekdays:
            return False
        minute = local.hour * 60 + local.minute
        start, end = self.start_minute, self.end_minute
        return start <= minute < end if start < end else minute >= start or minute < end


def _minute_of_day(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class FixedSize(
    ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False, tag_field="kind", tag="fixed"
):
    """The same position every time.

    Attributes
    ----------
    units : int
        Units of the base currency, positive.
    """

    units: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.units <= 10**9:
            msg = f"size: `1 <= units <= 1e9` must hold, but got units={self.units}. Choose e.g. 10000."
            raise SpecError(msg)


class RiskSize(
    ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False, tag_field="kind", tag="risk"
):
    """A position that loses `risk_pct` per cent of the *initial* balance at its stop.

    ``units = floor(initial_balance * risk_pct / 100 / stop_distance / step) * step``; an entry whose size
    would be less than one step is not taken.  The account cuts it to what margin allows.

    Attributes
    ----------
    risk_pct : float
        In (0, 100].
    step : int
        Units of the base currency sizes are rounded down to.
    """

    risk_pct: float
    step: int = 1000

    def __post_init__(self) -> None:
        if not 0 < self.risk_pct <= 100:
            msg = f"size: `0 < risk_pct <= 100` must hold, but got risk_pct={self.risk_pct}. Choose e.g. 0.5."
            raise SpecError(msg)
        if not 1 <= self.step <= 10**7:
            msg = f"size: `1 <= step <= 1e7` must hold, but got step={self.step}. Choose e.g. 1000."
            raise SpecError(msg)


PositionSize = FixedSize | RiskSize
