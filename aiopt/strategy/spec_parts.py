"""The parts of a strategy: indicators, stops and targets, session, size.  Each checks itself alone."""

from __future__ import annotations

import datetime as dt
import re
from typing import Literal

import msgspec

from aiopt.config import canonical_json
from aiopt.errors import ConfigError, SpecError
from aiopt.indicators.wall_clock import check_timezone
from aiopt.timeframe import parse_timeframe
from aiopt.utc import MINUTE_NS

TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")
"""``HH:MM`` from 00:00 to 23:59."""


DistanceUnit = Literal["atr", "pips", "percent"]
"""What a distance is counted in."""

Origin = Literal["signal", "entry", "position"]
"""The price a distance is laid from."""

Rounding = Literal["nearest", "away"]
"""The tick on which a level lies."""


class ByContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """Base: equal and hashable by content, although fields may hold dicts."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return canonical_json(self) == canonical_json(other)

    def __ne__(self, other: object) -> bool:
        # msgspec answers `!=` itself, by identity, where it does not answer `==`.
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self) -> int:
        return hash(canonical_json(self))


class IndicatorSpec(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """One indicator of a strategy.

    Attributes
    ----------
    kind : str
        A key of `aiopt.indicators.INDICATORS`.
    source : str
        Series it reads, one of `aiopt.indicators.bar_series.SOURCES`; kinds that read high, low and close
        leave it at ``"close"``.
    args : dict
        Argument name to a number or the name of a parameter; a time of the day also as ``"HH:MM"``, a time
        zone by its IANA name.
    """

    kind: str
    source: str = "close"
    args: dict[str, int | float | str] = {}


class PriceDistance(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """How far a stop or target lies from a price.

    Attributes
    ----------
    unit : {"atr", "pips", "percent"}
        `value` times the ATR at the signal bar, times the instrument's pip, or per cent of the signal bar's
        close.
    value : number or str
        Positive number, less than 100 per cent; or the name of a parameter.
    indicator : str or None
        The ATR indicator's id if `unit` is ``"atr"``, else None.
    origin : {"signal", "entry", "position"}, optional
        The price it lies from, of `stop_loss` and `take_profit` alone.  ``"signal"``, if left out: the close
        of the signal bar.  ``"entry"``: the entry's own price; it acts from the fill on, and is fixed at the
        signal all the same, per cent too.  ``"position"``: the entry's own price, of which per cent are taken
        too; it acts from the close of the entry bar on, as a script knows that price no sooner.
    rounding : {"nearest", "away"}, optional
        The tick on which it lies, of `stop_loss` and `take_profit` alone.  ``"nearest"``, if left out, halves
        up.  ``"away"``: the one farther from the price it is laid from, as TradingView rounds the prices of
        orders that a script has not rounded.
    """

    unit: DistanceUnit
    value: int | float | str
    indicator: str | None = None
    origin: Origin | msgspec.UnsetType = msgspec.UNSET
    rounding: Rounding | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        # What it always was has no key: such a strategy keeps its hash.
        if self.origin == "signal":
            msgspec.structs.force_setattr(self, "origin", msgspec.UNSET)
        if self.rounding == "nearest":
            msgspec.structs.force_setattr(self, "rounding", msgspec.UNSET)

    @property
    def is_from_signal(self) -> bool:
        """Whether it lies from the close of the signal bar, so that its price is known there."""
        return self.origin is msgspec.UNSET


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
        check_timezone(self.timezone, where="session")

    @property
    def start_minute(self) -> int:
        """Minute of the day at which the session starts."""
        return minute_of_day(self.start)

    @property
    def end_minute(self) -> int:
        """Minute of the day at which the session ends (excluded)."""
        return minute_of_day(self.end)

    def contains(self, local: dt.datetime) -> bool:
        """Return whether a local wall-clock time lies in the session."""
        if local.isoweekday() not in self.weekdays:
            return False
        minute = local.hour * 60 + local.minute
        start, end = self.start_minute, self.end_minute
        return start <= minute < end if start < end else minute >= start or minute < end


def minute_of_day(text: str) -> int:
    """Return the minutes from midnight of ``HH:MM``."""
    return int(text[:2]) * 60 + int(text[3:])


def minutes_of(text: str, *, where: str) -> int:
    """Return the whole minutes of a length of time such as ``1h``.

    Raises
    ------
    SpecError
        If it is none, or has a part of a minute.
    """
    try:
        minutes, rest = divmod(parse_timeframe(text).ns, MINUTE_NS)
    except ConfigError as failure:
        msg = f"{where}: {failure}"
        raise SpecError(msg) from failure
    if rest:
        msg = f"{where} must be whole minutes, but got {text!r}. Use e.g. 15m, 1h, 1d."
        raise SpecError(msg)
    return minutes


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
