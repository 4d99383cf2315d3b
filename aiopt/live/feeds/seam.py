"""What a session asks of a feed, whatever it is: quotes from a place on, and the history before them.

Owns the seam.  Knows no feed.

A *place* is a whole number that goes up from quote to quote and that a feed makes of what it knows for
certain; a session keeps the place behind its last quote and gives it back when it goes on.  What a feed
cannot give any more is a *hole*, and is said with the first quote behind it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from aiopt.backtest.growing_bars import BarRow
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe

SILENCE_S = 0.5
"""Seconds after which a feed says that nothing has come: whoever reads it has other things to do too."""


class Batch(NamedTuple):
    """Quotes that came together, or that none came.

    Attributes
    ----------
    places : sequence of int
        Place of each quote, going up.
    ts_ns : sequence of int
        UTC, by the provider.
    bid, ask, bid_size, ask_size : sequence of float
        As in `aiopt.ticks.schema`.
    arrived_ns : int or None
        When they came, on this machine's clock; None: a replay, where a quote comes when it is stamped.
    hole : str
        Why quotes before the first one are missing; empty: none is.
    complete_from_ns : int or None
        Behind a hole: from when on every quote is there; None: from the first one.
    notes : tuple of str
        What else is to be written down: errors of the provider, and that they are over.
    """

    places: Sequence[int] = ()
    ts_ns: Sequence[int] = ()
    bid: Sequence[float] = ()
    ask: Sequence[float] = ()
    bid_size: Sequence[float] = ()
    ask_size: Sequence[float] = ()
    arrived_ns: int | None = None
    hole: str = ""
    notes: tuple[str, ...] = ()
    complete_from_ns: int | None = None


class Feed(Protocol):
    """A source of quotes of one instrument."""

    @property
    def instrument(self) -> Instrument:
        """What is quoted."""
        ...

    @property
    def identity(self) -> dict[str, object]:
        """What must be the same for a place to mean the same."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether quotes come on this machine's clock and go on for ever; False: a replay, which ends."""
        ...

    @property
    def total(self) -> int | None:
        """Quotes of a replay; None where nobody knows."""
        ...

    @property
    def complete_from_ns(self) -> int | None:
        """From when on every quote is there, UTC; None: from the first one, or a hole is said with it."""
        ...

    @property
    def history_until_ns(self) -> int:
        """Where history ends, UTC; the quotes begin there or later."""
        ...

    @property
    def first_ns(self) -> int:
        """Stamp of the first quote; where that is still to come, `history_until_ns`."""
        ...

    def batches(self, place: int) -> AsyncGenerator[Batch]:
        """Yield quotes from a place on; an empty batch after `SILENCE_S` without any, if it is live.

        Parameters
        ----------
        place : int
            0: from the beginning, or from now on.

        Raises
        ------
        AioptError
            If waiting does not help.
        """
        ...

    def lost_since(self, place: int) -> bool:
        """Return whether quotes behind a place cannot be had any more, so that history has to fill bars."""
        ...

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return the bars in ``[start_ns, stop_ns)``; empty: nothing is known of them.

        Raises
        ------
        AioptError
            If history is there and cannot be read.
        """
        ...


@runtime_checkable
class FetchesHistory(Protocol):
    """A feed whose history takes its time: it is asked for piece by piece."""

    def fetch_history(self, start_ns: int, stop_ns: int, progress: Callable[[float], None]) -> None:
        """Get what `Feed.history` of a span will need.

        Parameters
        ----------
        start_ns, stop_ns : int
            UTC.
        progress : callable
            Told of the share done.

        Raises
        ------
        AioptError
            If it cannot be had.
        """
        ...
