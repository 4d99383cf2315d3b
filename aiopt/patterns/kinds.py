"""The kinds of pattern and the record of one found.  Owns names and mirror images; finds nothing."""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["bullish", "bearish", "neutral"]
Group = Literal["candlestick", "swing"]


class PatternKind(msgspec.Struct, frozen=True):
    """A kind of pattern.

    Attributes
    ----------
    name : str
        Name in records, schemas and prompts.
    direction : {"bullish", "bearish", "neutral"}
        What tradition reads from it; whether that pays is for a backtest to say.
    mirror : str
        The kind it becomes when prices are turned upside down.
    group : {"candlestick", "swing"}
        One to three bars, or pivots.
    meaning : str
        One line for prompts and people.
    """

    name: str
    direction: Direction
    mirror: str
    group: Group
    meaning: str


def _pair(group: Group, bullish: str, bearish: str, up: str, down: str) -> tuple[PatternKind, PatternKind]:
    return (
        PatternKind(bullish, "bullish", bearish, group, up),
        PatternKind(bearish, "bearish", bullish, group, down),
    )


def _neutral(group: Group, name: str, meaning: str) -> PatternKind:
    return PatternKind(name, "neutral", name, group, meaning)


PATTERN_KINDS: dict[str, PatternKind] = {
    kind.name: kind
    for kind in (
        _neutral("candlestick", "doji", "open and close nearly equal"),
        *_pair(
            "candlestick",
            "hammer",
            "shooting_star",
            "after a fall: small body on top of a long lower wick",
            "after a rise: small body below a long upper wick",
        ),
        *_pair(
            "candlestick",
            "bullish_engulfing",
            "bearish_engulfing",
            "after a fall: a rising body covers the falling body before it",
            "after a rise: a falling body covers the rising body before it",
        ),
        _neutral("candlestick", "inside_bar", "a bar within the range of the one before"),
        _neutral("candlestick", "outside_bar", "a bar beyond both ends of the one before"),
        *_pair(
            "candlestick",
            "morning_star",
            "evening_star",
            "long falling body, small body, long rising body",
            "long rising body, small body, long falling body",
        ),
        *_pair(
            "candlestick",
            "three_white_soldiers",
            "three_black_crows",
            "three long rising bodies in steps",
            "three long falling bodies in steps",
        ),
        *_pair(
            "swing",
            "double_bottom",
            "double_top",
            "two lows at one price, then a close above the high between",
            "two highs at one price, then a close below the low between",
        ),
        *_pair(
            "swing",
            "inverse_head_and_shoulders",
            "head_and_shoulders",
            "three lows, the middle one lowest, then a close above the neckline",
            "three highs, the middle one highest, then a close below the neckline",
        ),
        *_pair(
            "swing",
            "ascending_triangle",
            "descending_triangle",
            "flat highs and rising lows",
            "flat lows and falling highs",
        ),
        _neutral("swing", "symmetrical_triangle", "falling highs and rising lows"),
        *_pair(
            "swing",
            "rising_channel",
            "falling_channel",
            "parallel rising lines through highs and lows",
            "parallel falling lines through highs and lows",
        ),
        _neutral("swing", "rectangle", "flat parallel lines through highs and lows"),
        *_pair(
            "swing",
            "breakout_up",
            "breakout_down",
            "a close above a narrow range of many bars",
            "a close below a narrow range of many bars",
        ),
    )
}
"""Every kind by name."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A pattern found in bars.

    Attributes
    ----------
    confirmed_bar : int
        First bar at whose close the pattern is known; nothing after it was looked at.
    first_bar, last_bar : int
        Bars that form it, both included.  ``last_bar <= confirmed_bar``.
    kind : str
        A key of `PATTERN_KINDS`.
    price : float
        Its reference price, quote currency: close of a candlestick pattern, neckline of a reversal, broken
        edge of a breakout, close at confirmation of triangles and channels.
    """

    confirmed_bar: int
    first_bar: int
    last_bar: int
    kind: str
    price: float

    @property
    def direction(self) -> Direction:
        """What tradition reads from it."""
        return PATTERN_KINDS[self.kind].direction
