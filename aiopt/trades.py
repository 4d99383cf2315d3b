"""A trade, from the engine's result to run folder, report and chart: one type for all of them.

Owns the fields and their rules.  Knows nothing of who made a trade, of files or of pictures.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from aiopt.errors import ConfigError

Side = Literal["long", "short"]
ExitReason = Literal[
    "stop_loss",
    "take_profit",
    "exit_signal",
    "reverse",
    "segment_end",
    "end_of_data",
    "ruin",
    "trailing",
    "break_even",
    "time",
]

_PRICES = ("entry_price", "exit_price", "stop_price", "target_price")


class TradeMark(msgspec.Struct, frozen=True, kw_only=True):
    """What a chart draws of a trade; `Trade` and `OpenTrade` are marks that know more.

    Further fields are ignored when one is decoded.

    Attributes
    ----------
    entry_ts_ns, exit_ts_ns : int
        UTC; drawn at the bar that holds the time.  `exit_ts_ns` None while the trade is open.
    side : {"long", "short"}
        Direction.
    entry_price, exit_price : float
        Quote currency; `exit_price` None while the trade is open.
    stop_price, target_price : float, optional
        Prices of its stop and its target, quote currency; None where it has none.

    Raises
    ------
    ConfigError
        If a price is not finite and positive, or the exit is incomplete or before the entry.
    """

    entry_ts_ns: int
    side: Side
    entry_price: float
    exit_ts_ns: int | None = None
    exit_price: float | None = None
    stop_price: float | None = None
    target_price: float | None = None

    def __post_init__(self) -> None:
        for name in _PRICES:
            price = getattr(self, name)
            if price is not None and not (math.isfinite(price) and price > 0):
                msg = f"A trade's prices must be finite and positive, but got {name}={price}."
                raise ConfigError(msg + " Leave it out or mend it.")
        if self.side not in ("long", "short"):
            raise ConfigError(
                f"A trade's side must be long or short, but got {self.side!r}. Write one of them."
            )
        if (self.exit_ts_ns is None) != (self.exit_price is None):
            msg = (
                "A trade's exit needs both time and price, but got "
                f"exit_ts_ns={self.exit_ts_ns}, exit_price={self.exit_price}. Give both or neither."
            )
            raise ConfigError(msg)
        if self.exit_ts_ns is not None and self.exit_ts_ns < self.entry_ts_ns:
            msg = (
                "`entry_ts_ns <= exit_ts_ns` must hold, but got "
                f"entry_ts_ns={self.entry_ts_ns}, exit_ts_ns={self.exit_ts_ns}. Exchange them."
            )
            raise ConfigError(msg)


class StopMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move of a stop.

    Attributes
    ----------
    ts_ns : int
        Opening of the bar from which on it lies there, UTC.
    price : float
        Quote currency.
    """

    ts_ns: int
    price: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.price) and self.price > 0):
            msg = f"A stop's prices must be finite and positive, but it moves to price={self.price}."
            raise ConfigError(msg + " Leave the move out or mend it.")


class FollowedTrade(TradeMark, frozen=True, kw_only=True):
    """A trade on a chart whose stop moved.

    Attributes
    ----------
    stop_moves : tuple of StopMove
        After `stop_price`, in the order of time.
    """

    stop_moves: tuple[StopMove, ...] = ()

    def __post_init__(self) -> None:
        """Check that the moves are in order, besides a mark's rules.

        Raises
        ------
        ConfigError
            If they are not, or one lies before the entry.
        """
        super().__post_init__()
        stamps = [self.entry_ts_ns, *(move.ts_ns for move in self.stop_moves)]
        if stamps != sorted(stamps):
            raise ConfigError(
                "A trade's stop_moves must be in the order of time and not before its entry, but their "
                f"ts_ns are {stamps[1:]} with entry_ts_ns={self.entry_ts_ns}. Sort them."
            )


class Trade(TradeMark, frozen=True, kw_only=True):
    """One round trip.

    Attributes
    ----------
    entry_bar, exit_bar : int
        0-based index into the bars given of the bar in which the fill happened.
    entry_ts_ns, exit_ts_ns : int
        Opening time (UTC) of those bars, as TradingView stamps trades.
    side : str
        ``"long"`` or ``"short"``.
    entry_price, exit_price : float
        Quote currency.
    size : float
        Units of the base currency, positive.
    exit_reason : str
        ``stop_loss``, ``take_profit``, ``exit_signal``, ``reverse`` (an opposite entry), ``segment_end`` or
        ``end_of_data`` (both closed at the close of `exit_bar`), ``ruin`` (the close before `exit_bar`
        found the account lost), ``trailing`` or ``break_even`` (a stop that had moved), or ``time``.
    pnl : float
        Account currency, after commission and swap; the float nearest to the exact amount.
    commission : float
        Account currency, of both sides, not negative; the float nearest to the exact amount.
    swap : float
        Account currency, part of `pnl`: negative was paid for nights, positive received.
    nights : int or None
        Nights it was held over 17:00 New York, charged or not; the triple day's rollover counts three.  None
        in a run of a version that did not count them.
    stop_price, target_price : float or None
        Prices of the stop and target orders with which it began; None where the strategy set none, and in a
        run of a version that did not record them.
    """

    entry_bar: int
    exit_bar: int
    exit_ts_ns: int
    exit_price: float
    size: float
    exit_reason: ExitReason
    pnl: float
    commission: float = 0.0
    swap: float = 0.0
    nights: int | None = None

    def __post_init__(self) -> None:
        """Check nothing: the engine's own trades are right, and a sweep makes millions of them."""


class OpenTrade(TradeMark, frozen=True, kw_only=True):
    """A position still open behind the last bar (parity mode); fields as in `Trade`."""

    entry_bar: int
    size: float
    commission: float

    def __post_init__(self) -> None:
        """Check nothing, as `Trade`."""
