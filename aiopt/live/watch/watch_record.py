"""What the watchdog says and what it goes on from.  Owns these records alone."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from aiopt.live.watch.watch_config import Action

WATCH_STATE_VERSION = 1

FeedState = Literal["live", "stale", "halted", "closed"]
Cause = Literal[
    "",
    "no quote yet",
    "silent",
    "frozen",
    "late",
    "stamp ahead",
    "stamps go back",
    "no price",
    "absurd price",
    "wide spread",
    "market closed",
    "repeated",
    "stale for long",
    "reset",
]


class WatchEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of a feed's state.

    Attributes
    ----------
    instrument : str
        Symbol.
    before, state : str
        What it was and what it is.
    cause : str
        Why.
    text : str
        The same for people, with values.
    ts_ns : int
        When it was found, on the clock of arrivals.
    actions : tuple of str
        What the configuration wants done in the new state.
    """

    instrument: str
    before: FeedState
    state: FeedState
    cause: Cause
    text: str
    ts_ns: int
    actions: tuple[Action, ...]


class Verdict(NamedTuple):
    """What to do with a quote.

    Attributes
    ----------
    is_accepted : bool
        Whether it may reach bars and venue.
    cause : str
        What is wrong with it, accepted or not; empty if nothing is.
    events : tuple of WatchEvent
        Changes of state it brought.
    """

    is_accepted: bool
    cause: Cause
    events: tuple[WatchEvent, ...]


class WatchState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a watchdog goes on from.

    Attributes
    ----------
    version : int
        `WATCH_STATE_VERSION`.
    state, cause : str
        What it is, and why.
    since_ns : int
        Since when; of a stale feed from the beginning of the trouble.
    is_fresh : bool
        Whether the next good quote makes it live at once: at the start, and when the market has opened.
    week : (int, int)
        The FX week it is in: opening and closing time.
    last_stamp_ns, last_bid, last_ask : int, float, float
        Of the last quote taken; -1 and 0.0 before it.
    alive_ns : int
        Arrival of that quote, or the opening of the market.
    moved_ns : int
        When the price last changed.
    recent, suspects : tuple of float
        Mid prices taken, and those that would be absurd unless more of them come.
    back_run, good_run : int
        Quotes in a row whose stamp went back, and that were good.
    good_ns : int
        Arrival of the first good one.
    counts : dict of str to int
        Quotes by what was wrong with them.
    """

    version: int
    state: FeedState
    cause: Cause
    since_ns: int
    is_fresh: bool
    week: tuple[int, int]
    last_stamp_ns: int
    last_bid: float
    last_ask: float
    alive_ns: int
    moved_ns: int
    recent: tuple[float, ...]
    suspects: tuple[float, ...]
    back_run: int
    good_run: int
    good_ns: int
    counts: dict[str, int]
