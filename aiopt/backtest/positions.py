"""Positions as the engine's strategy keeps them: open ones, and round trips that are over.

Owns these records alone.
"""

from __future__ import annotations

from typing import NamedTuple

from aiopt.backtest.bookkeeper import Settlement


class ClosedPosition(NamedTuple):
    """One round trip as the venue filled it; times are the engine's."""

    side: int
    units: float
    entry_ts_ns: int
    entry_price: float
    stop: float
    target: float
    exit_ts_ns: int
    exit_price: float
    exit_reason: str
    settlement: Settlement


class HeldPosition(NamedTuple):
    """An open position: what is left of it.

    `stop` is the first price of its stop, `target` that of the nearest target left; NaN where there are none.
    """

    side: int
    units: float
    entry_ts_ns: int
    entry_price: float
    stop: float
    target: float


class Leg(NamedTuple):
    """What one fill of a closing order took, until all of the position has gone."""

    units: float
    entry_ts_ns: int
    entry_price: float
    exit_ts_ns: int
    exit_price: float
