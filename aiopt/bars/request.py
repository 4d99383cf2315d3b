"""Which bars to build: one request for every kind of bar.

Owns the request and what it rules out.  Knows nothing of how or where bars are built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from aiopt.bars.reducing.filling import Fill, check_fill
from aiopt.bars.rules import BarRule, TimeRule
from aiopt.bars.schema import TIME_BARS, Empty, check_empty, check_price
from aiopt.bars.stops.stop_ladders import RECORD_SIDES
from aiopt.errors import ConfigError
from aiopt.market.sessions import TradingSession, check_session_timeframe
from aiopt.timeframe import Timeframe, timeframe_of_ns


class BarRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which bars to build.

    Attributes
    ----------
    rules : tuple of BarRule
        When bars end: at least one, all of one type; repeated ones count once.  See
        `aiopt.bars.rules.time_rules` and `parse_bar_rules`.
    prices : tuple of str
        Among `PRICES`; at least one; repeated ones count once.
    session : TradingSession, optional
        Bars begin anew with its days, and ticks outside it are left out; without one, time bars begin at
        whole multiples of their length since the epoch, UTC.
    spread_stats : bool
        Add the columns of `aiopt.bars.reducing.spread_columns.SPREAD_COLUMNS`.
    empty : {"omit", "flat"}
        What happens to time bars without ticks.
    fill : {"none", "flat", "linear"}
        Add marked time bars for times without ticks, see `aiopt.bars.reducing.filling`.
    stops : bool
        Where bid and ask time bars are built, write ``stops.parquet`` beside them, by which a backtest fills
        stops at the first quote beyond; see `aiopt.bars.stops.stop_ladders`.

    Raises
    ------
    ConfigError
        If there is no rule or price, a price is unknown, or options contradict each other.
    """

    rules: tuple[BarRule, ...]
    prices: tuple[str, ...]
    session: TradingSession | None = None
    spread_stats: bool = False
    empty: Empty = "omit"
    fill: Fill = "none"
    stops: bool = True

    def __post_init__(self) -> None:
        if not self.rules:
            raise ConfigError("Bars need at least one rule, but got none. Name one, e.g. 5m.")
        if not self.prices:
            raise ConfigError("Bars need at least one price, but got none. Name one, e.g. bid.")
        for name in ("rules", "prices"):
            msgspec.structs.force_setattr(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for price in self.prices:
            check_price(price)
        check_empty(self.empty)
        check_fill(self.fill)
        types = {rule.type for rule in self.rules}
        if len(types) > 1:
            msg = f"The bars of a build must be of one type, but got {' and '.join(sorted(types))}."
            raise ConfigError(msg + " Build them apart.")
        if self.type != TIME_BARS and (self.empty != "omit" or self.fill != "none"):
            msg = f"Only time bars can be filled, but these are {self.type} bars."
            raise ConfigError(msg + " Leave `empty` and `fill` out.")
        if self.empty == "flat" and (self.session is not None or self.fill != "none"):
            msg = (
                "Bars without ticks can be flat everywhere or be filled and marked in sessions, but got both."
            )
            raise ConfigError(msg + ' Leave `empty` out and use fill="flat".')
        if self.session is not None:
            for timeframe in self.timeframes:
                check_session_timeframe(timeframe)

    @property
    def type(self) -> str:
        """Type of all the rules: ``"time"``, ``"tick"``, ``"volume"``, ``"range"`` or ``"renko"``."""
        return self.rules[0].type

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """Timeframes of time bars; of others none."""
        return tuple(rule.timeframe for rule in self.rules if isinstance(rule, TimeRule))

    @property
    def with_stops(self) -> bool:
        """True if stop ladders are built: asked for, of time bars, and of both sides."""
        return self.stops and self.type == TIME_BARS and set(RECORD_SIDES) <= set(self.prices)

    @property
    def session_label(self) -> str:
        """How bar files name the session; empty without one."""
        return "" if self.session is None else self.session.label

    @property
    def tick_columns(self) -> list[str]:
        """Tick columns needed, the time first."""
        return tick_columns(self.prices, spread=self.spread_stats)


def tick_columns(prices: Iterable[str], *, spread: bool = False) -> list[str]:
    """Return the tick columns needed for these price sides, the time first."""
    sides = {side for price in prices for side in (("bid", "ask") if price == "mid" else (price,))}
    sized = [side for side in ("bid", "ask") if side in sides]
    priced = ["bid", "ask"] if spread else sized
    return ["ts_event_ns", *priced, *(f"{side}_size" for side in sized)]


def base_timeframe(timeframes: Iterable[Timeframe]) -> Timeframe:
    """Return the longest timeframe every one of `timeframes` is a whole multiple of.

    Bars start at multiples of their length since the epoch, so bars of this length never straddle two longer
    ones.

    Examples
    --------
    >>> from aiopt.timeframe import parse_timeframe
    >>> base_timeframe([parse_timeframe("4m"), parse_timeframe("6m")]).label
    '2m'
    """
    return timeframe_of_ns(math.gcd(*(timeframe.ns for timeframe in timeframes)))
