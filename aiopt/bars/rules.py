"""When a bar ends: after a time, or when enough ticks, volume or price movement has come together.

Owns the five kinds of rules, their sizes and their labels (``5m``, ``range-2.5``), which name the folders of
bars.  Knows nothing of ticks, prices or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec
import numpy as np

from aiopt.bars.schema import TIME_BARS
from aiopt.errors import ConfigError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe, parse_timeframe

EventType = Literal["tick", "volume", "range", "renko"]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
RULE_TYPES: tuple[str, ...] = (TIME_BARS, *EVENT_TYPES)

Carry = Literal["nothing", "amount", "path"]
"""What the bars of a part of the ticks depend on of the ticks before: nothing; an amount, which adds up; or
the whole path of prices, so that the part must be walked from its true beginning."""

_SIZE = re.compile(r"^\d{1,15}(\.\d{1,9})?$")


class TimeRule(
    msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True, tag="time", tag_field="kind"
):
    """A bar ends when a time is over.

    Attributes
    ----------
    timeframe : Timeframe
        How long a bar is.
    """

    timeframe: Timeframe

    @property
    def type(self) -> str:
        """Return ``"time"``."""
        return TIME_BARS

    @property
    def size(self) -> float:
        """Return 0.0: only other bars have a size."""
        return 0.0

    @property
    def label(self) -> str:
        """Return the name of the folder of such bars, e.g. ``"5m"``."""
        return self.timeframe.label

    @property
    def carry(self) -> Carry:
        """Return ``"nothing"``: ticks belong to a bar by their stamps alone."""
        return "nothing"


class EventRule(
    msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True, tag="event", tag_field="kind"
):
    """A bar ends when something has happened.

    Attributes
    ----------
    type : {"tick", "volume", "range", "renko"}
        What is measured.
    size : float
        Ticks; units of the base currency; pips.  Positive, whole for ticks.

    Raises
    ------
    ConfigError
        If the type is unknown or the size is not positive, or not whole for ticks.
    """

    type: str
    size: float

    def __post_init__(self) -> None:
        if self.type not in EVENT_TYPES:
            msg = f"The type of a bar must be time or one of {', '.join(EVENT_TYPES)}, but got {self.type!r}."
            raise ConfigError(msg + did_you_mean(self.type, EVENT_TYPES))
        if not 0 < self.size < 1e15:
            raise ConfigError(f"The size of a {self.type} bar must be positive, but got {self.size:g}.")
        if self.type == "tick" and self.size != int(self.size):
            raise ConfigError(f"The size of a tick bar must be a whole number, but got {self.size:g}.")

    @property
    def label(self) -> str:
        """Return the name of the folder of such bars, e.g. ``"range-2.5"``."""
        return f"{self.type}-{np.format_float_positional(self.size, trim='-')}"

    @property
    def carry(self) -> Carry:
        """Return ``"amount"`` for tick and volume bars, ``"path"`` for range and Renko bars."""
        return "amount" if self.type in ("tick", "volume") else "path"

    def half_steps(self, item: Instrument) -> int:
        """Return the size of a range or Renko bar in half price steps.

        Raises
        ------
        ConfigError
            If it is not a whole number of price steps of the instrument.
        """
        steps = self.size * item.pip_size / item.tick_size
        whole = round(steps)
        if whole < 1 or abs(steps - whole) > 1e-6:
            step = item.tick_size / item.pip_size
            msg = (
                f"The size of a {self.type} bar of {item.symbol} must be a multiple of {step:g} pips, but got"
            )
            raise ConfigError(f"{msg} {self.size:g}. Change it.")
        return 2 * whole


BarRule = TimeRule | EventRule
"""When a bar ends, whatever the kind."""


def time_rules(timeframes: Iterable[Timeframe | str]) -> tuple[TimeRule, ...]:
    """Return a rule per timeframe; text is parsed.

    Examples
    --------
    >>> [rule.label for rule in time_rules(["1m", "60m"])]
    ['1m', '1h']
    """
    parsed = (parse_timeframe(one) if isinstance(one, str) else one for one in timeframes)
    return tuple(TimeRule(timeframe) for timeframe in parsed)


def parse_bar_rule(label: str) -> BarRule:
    """Parse the label of a rule: ``"5m"``, ``"tick-500"``, ``"range-2.5"``.

    Raises
    ------
    ConfigError
        If it is the label of none.

    Examples
    --------
    >>> parse_bar_rule("range-2.50").label
    'range-2.5'
    """
    type_, dash, size = label.strip().partition("-")
    if not dash or type_[:1].isdigit():
        return TimeRule(parse_timeframe(label))
    return parse_bar_rules(type_, size)[0]


def parse_bar_rules(type_: str, sizes: str) -> tuple[BarRule, ...]:
    """Parse a comma-separated list of sizes of one type; the sizes of time bars are timeframes.

    Raises
    ------
    ConfigError
        If the type is unknown, there is no size, or one is not a number.

    Examples
    --------
    >>> [rule.label for rule in parse_bar_rules("range", "5,2.50")]
    ['range-5', 'range-2.5']
    >>> [rule.label for rule in parse_bar_rules("time", "1m, 5m")]
    ['1m', '5m']
    """
    names = [text.strip() for text in sizes.split(",") if text.strip()]
    if type_ == TIME_BARS:
        if not names:
            raise ConfigError("Bars need at least one timeframe, but got none. Name one, e.g. 1m.")
        return tuple(dict.fromkeys(time_rules(names)))
    for text in names:
        if not _SIZE.match(text):
            raise ConfigError(f"The size of a bar must be a plain number, but got {text!r}. Use e.g. 100.")
    if not names:
        raise ConfigError(f"Bars of type {type_} need a size, but got none. Give e.g. --size 100.")
    return tuple(dict.fromkeys(EventRule(type_, float(text)) for text in names))
