"""The paper venue as it is kept between two runs: everything that decides what it answers next.

Owns the layout and its version.  Amounts of money are decimal digits, see `aiopt.live.paper.seam`.
"""

from __future__ import annotations

import msgspec

from aiopt.live.paper.seam import VenueOrder

STATE_VERSION = 1
"""Raised whenever a field changes its meaning; an older or newer state is refused, not guessed."""


class OrderState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order at work: as sent, what is left, its level in price steps, whether it was reached, waits."""

    order: VenueOrder
    left: int
    level: int | None
    triggered: bool
    waits: bool


class LotState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fill of an entry, as far as it is left."""

    units: int
    price: float
    ts_ns: int


class PositionState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An open position and the fills it consists of, the oldest first."""

    position_id: str
    entry_order_id: str
    strategy: str
    instrument: str
    series: str
    side: int
    lots: tuple[LotState, ...]


class MarketState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last quote of an instrument, what it still offers, and rollovers since the oldest position.

    Bid and ask are in price steps, the ask as it was quoted; `offered` are units to buyers and to sellers;
    `rollovers` are time, nights and the bid before.
    """

    instrument: str
    ts_ns: int
    bid: int
    ask: int
    offered: tuple[int, int] | None
    rollovers: tuple[tuple[int, int, int], ...]


class RateState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates by which amounts of a currency were booked: time, and the rate as a fraction."""

    currency: str
    marks: tuple[tuple[int, int, int], ...]


class VenueState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a venue goes on from.

    Attributes
    ----------
    version : int
        `STATE_VERSION`.
    config_hash : str
        Of the assumptions it was made under.
    seq : int
        Events so far.
    balance : str
        In 10**-16 of the account's currency.
    markets, orders, positions, rates : tuple
        In the order in which they came.
    recent : tuple of str
        Ids of the last orders that ended.
    traded : dict of str to (int, int)
        Units each strategy entered and left.
    """

    version: int
    config_hash: str
    seq: int
    balance: str
    markets: tuple[MarketState, ...]
    orders: tuple[OrderState, ...]
    positions: tuple[PositionState, ...]
    rates: tuple[RateState, ...]
    recent: tuple[str, ...]
    traded: dict[str, tuple[int, int]]
