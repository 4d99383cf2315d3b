"""Orders at work and open positions inside the paper venue.

Owns the two records and what is left of them.  Knows no prices' meaning, no money and no rules.
"""

from __future__ import annotations

from typing import NamedTuple

from aiopt.live.paper.seam import VenueOrder
from aiopt.live.paper.venue_state import LotState, OrderState, PositionState


class Lot(NamedTuple):
    """One fill of an entry, as far as it is left."""

    units: int
    price: float
    ts_ns: int


class Working:
    """An order at work.

    Attributes
    ----------
    order : VenueOrder
        As it was sent.
    left : int
        Units not filled.
    level : int or None
        Price of a stop or limit in price steps.
    triggered : bool
        A stop that was reached: it is filled like a market order.
    waits : bool
        Whether no quote has judged it yet.
    """

    __slots__ = ("left", "level", "order", "triggered", "waits")

    def __init__(
        self, order: VenueOrder, left: int, level: int | None, *, triggered: bool = False, waits: bool = True
    ) -> None:
        self.order = order
        self.left = left
        self.level = level
        self.triggered = triggered
        self.waits = waits

    @property
    def is_urgent(self) -> bool:
        """Whether it fills at any price."""
        return self.triggered or self.order.kind == "market"

    def is_reached(self, price: int) -> bool:
        """Return whether it fills where its side deals at a price, in price steps."""
        level = self.level
        if level is None or self.triggered:
            return True
        beyond = (price - level) * self.order.side  # positive: dearer for a buyer, cheaper for a seller
        return beyond >= 0 if self.order.kind == "stop" else beyond <= 0

    @property
    def is_entry(self) -> bool:
        """Whether it opens a position of its own."""
        return self.order.position_id is None

    def state(self) -> OrderState:
        """Return it as it is kept."""
        return OrderState(
            order=self.order, left=self.left, level=self.level, triggered=self.triggered, waits=self.waits
        )


class Position:
    """An open position.

    Attributes
    ----------
    position_id, entry_order_id, strategy, instrument, series : str
        Which, and whose.
    side : int
        1 or -1.
    lots : list of Lot
        What it consists of, the oldest first.
    """

    __slots__ = ("entry_order_id", "instrument", "lots", "position_id", "series", "side", "strategy")

    def __init__(self, position_id: str, order: VenueOrder) -> None:
        self.position_id = position_id
        self.entry_order_id = order.order_id
        self.strategy = order.strategy
        self.instrument = order.instrument
        self.series = order.series
        self.side = order.side
        self.lots: list[Lot] = []

    @property
    def units(self) -> int:
        """What is left of it."""
        return sum(lot.units for lot in self.lots)

    @property
    def entry_price(self) -> float:
        """Mean price of its lots."""
        return mean_price(self.lots)

    def reduce(self, units: int) -> list[Lot]:
        """Take units out of the oldest lots; return the parts taken."""
        taken, wanted = [], units
        while wanted:
            lot = self.lots[0]
            part = min(lot.units, wanted)
            taken.append(lot._replace(units=part))
            wanted -= part
            if part == lot.units:
                del self.lots[0]
            else:
                self.lots[0] = lot._replace(units=lot.units - part)
        return taken

    def state(self) -> PositionState:
        """Return it as it is kept."""
        return PositionState(
            position_id=self.position_id,
            entry_order_id=self.entry_order_id,
            strategy=self.strategy,
            instrument=self.instrument,
            series=self.series,
            side=self.side,
            lots=tuple(LotState(units=lot.units, price=lot.price, ts_ns=lot.ts_ns) for lot in self.lots),
        )

    @classmethod
    def of(cls, state: PositionState) -> Position:
        """Return the position of a state."""
        position = cls.__new__(cls)
        for name in cls.__slots__:
            if name != "lots":
                setattr(position, name, getattr(state, name))
        position.lots = [Lot(lot.units, lot.price, lot.ts_ns) for lot in state.lots]
        return position


def mean_price(lots: list[Lot]) -> float:
    """Return the mean price of lots; that of a single price is itself, to the bit."""
    first = lots[0].price
    if all(lot.price == first for lot in lots):
        return first
    return sum(lot.units * lot.price for lot in lots) / sum(lot.units for lot in lots)
