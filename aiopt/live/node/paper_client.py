"""The node's execution client: NautilusTrader's orders to the paper venue, and the venue's events back.

Owns that translation, and the gate every order passes first.  It answers at once, in the call: there is no
latency between strategy and venue but that of the next quote.  Knows no strategy.

Exits bear their position's id, so the venue can neither refuse them as increases nor let them outlive the
position, and no halt of NautilusTrader's risk engine (which is bypassed) keeps a close from the market.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.live.execution_client import LiveExecutionClient
from nautilus_trader.model.enums import AccountType, LiquiditySide, OmsType, OrderSide, OrderType
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    PositionId,
    TradeId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.model.objects import AccountBalance, Currency, Money, Price, Quantity

from aiopt.live.paper import seam
from aiopt.live.paper.seam import PaperPosition, VenueEvent, VenueOrder
from aiopt.live.paper.venue import PaperVenue

_KINDS: dict[Any, seam.OrderKind] = {
    OrderType.MARKET: "market",
    OrderType.STOP_MARKET: "stop",
    OrderType.LIMIT: "limit",
}

Gate = Callable[[VenueOrder], tuple[str, str] | None]
"""Takes an order and says why it may not go to the venue, rule and reason; None: it may."""


def _units(quantity: Quantity) -> float:
    """Return a quantity as the decimal number it is: the engine's fixed point can be one bit off."""
    return round(quantity.as_double(), quantity.precision)


def venue_order_id(order_id: str) -> VenueOrderId:
    """Return the id the venue's side knows an order by."""
    return VenueOrderId(f"V-{order_id}")


class NodeParts(NamedTuple):
    """What a node gives its clients."""

    loop: asyncio.AbstractEventLoop
    msgbus: MessageBus
    cache: Cache
    clock: LiveClock


class PaperClient(LiveExecutionClient):
    """Sends orders to a `PaperVenue`.

    Parameters
    ----------
    parts : NodeParts
        The node's.
    name : str
        Of client and venue.
    venue : PaperVenue
        Takes the orders.
    gate : callable
        Asked before each order, see `Gate`.
    on_event : callable
        Told of each event of the venue before the node is.
    """

    def __init__(
        self,
        parts: NodeParts,
        name: str,
        venue: PaperVenue,
        gate: Gate,
        on_event: Callable[[VenueEvent], None],
    ) -> None:
        currency = Currency.from_str(venue.config.account_currency)
        super().__init__(
            loop=parts.loop,
            client_id=ClientId(name),
            venue=Venue(name),
            oms_type=OmsType.HEDGING,
            account_type=AccountType.MARGIN,
            base_currency=currency,
            instrument_provider=InstrumentProvider(),
            msgbus=parts.msgbus,
            cache=parts.cache,
            clock=parts.clock,
        )
        self._set_account_id(AccountId(f"{name}-001"))
        self._currency = currency
        self._paper = venue
        self._gate = gate
        self._on_event = on_event
        self.now_ns = 0
        """Time of the present step: orders sent in it bear this stamp."""
        self.series: dict[str, str] = {}
        """Bar series of each strategy, by its tag."""

    async def _connect(self) -> None:
        self.tell_account()

    async def _disconnect(self) -> None:
        """Leave nothing behind."""

    def tell_account(self) -> None:
        """Tell the node what the account holds."""
        account = self._paper.account(self.now_ns)
        total, zero = Money(account.balance, self._currency), Money(0, self._currency)
        self.generate_account_state([AccountBalance(total, zero, total)], [], True, self.now_ns)

    # --- orders ---------------------------------------------------------------------------------------

    def submit_order(self, command: Any) -> None:
        """Send an order to the venue, if the gate lets it pass."""
        order = command.order
        identity = order.strategy_id, order.instrument_id, order.client_order_id
        self.generate_order_submitted(*identity, self.now_ns)
        kind = _KINDS.get(order.order_type)
        if kind is None:
            reason = f"The paper venue takes market, stop and limit orders, but got {order.order_type}."
            self.generate_order_rejected(*identity, reason, self.now_ns)
            return
        price = {"market": None, "stop": getattr(order, "trigger_price", None), "limit": None}[kind]
        price = order.price if kind == "limit" else price
        tag = order.strategy_id.get_tag()
        sent = VenueOrder(
            order_id=order.client_order_id.value,
            strategy=tag,
            instrument=order.instrument_id.symbol.value.replace("/", ""),
            series=self.series.get(tag, ""),
            side=1 if order.side == OrderSide.BUY else -1,
            units=_units(order.quantity),
            kind=kind,
            price=None if price is None else round(price.as_double(), price.precision),
            position_id=None if command.position_id is None else command.position_id.value,
            ts_ns=self.now_ns,
        )
        refusal = self._gate(sent)
        if refusal is not None:
            self.generate_order_rejected(*identity, f"{refusal[0]}: {refusal[1]}", self.now_ns)
            return
        self.tell(self._paper.submit(sent))

    def cancel_order(self, command: Any) -> None:
        """Take an order back."""
        self.tell(self._paper.cancel(command.client_order_id.value, self.now_ns))

    def close_position(self, held: PaperPosition, order_id: str) -> None:
        """Close a position at the next quote, past its strategy and past the gate."""
        order = VenueOrder(
            order_id=order_id,
            strategy=held.strategy,
            instrument=held.instrument,
            series=held.series,
            side=-held.side,
            units=held.units,
            kind="market",
            position_id=held.position_id,
            ts_ns=self.now_ns,
        )
        self.send(order)

    def send(self, order: VenueOrder) -> None:
        """Send an order of the session itself, past the gate."""
        self.tell(self._paper.submit(order))

    def take_back(self, order_id: str) -> None:
        """Take any order back."""
        self.tell(self._paper.cancel(order_id, self.now_ns))

    def move(self, order_id: str, price: float) -> None:
        """Give any order another price."""
        self.tell(self._paper.modify(order_id, price, None, self.now_ns))

    def batch_cancel_orders(self, command: Any) -> None:
        """Take several orders back."""
        for one in command.cancels:
            self.cancel_order(one)

    def cancel_all_orders(self, command: Any) -> None:
        """Take all orders of a strategy on an instrument back."""
        symbol, tag = command.instrument_id.symbol.value.replace("/", ""), command.strategy_id.get_tag()
        for one in self._paper.orders():
            if one.order.instrument == symbol and one.order.strategy == tag:
                self.tell(self._paper.cancel(one.order.order_id, self.now_ns))

    def modify_order(self, command: Any) -> None:
        """Give an order another price or size."""
        price = command.trigger_price or command.price
        order = self._cache.order(command.client_order_id)
        units = None
        if command.quantity is not None:
            units = _units(command.quantity) - _units(order.filled_qty)
        level = None if price is None else round(price.as_double(), price.precision)
        self.tell(self._paper.modify(command.client_order_id.value, level, units, self.now_ns))

    # --- events ---------------------------------------------------------------------------------------

    def tell(self, events: tuple[VenueEvent, ...]) -> None:
        """Tell the node what the venue did, in order."""
        for event in events:
            self._on_event(event)
            order = self._cache.order(ClientOrderId(event.order_id))
            if order is not None:  # an order of the session itself is none of the node's
                self._tell_of(order, event)

    def _tell_of(self, order: Any, event: VenueEvent) -> None:
        identity = order.strategy_id, order.instrument_id, order.client_order_id
        known = (*identity, venue_order_id(event.order_id))
        match event:
            case seam.Accepted():
                self.generate_order_accepted(*known, event.ts_ns)
                if event.units != _units(order.quantity):
                    self._updated(order, event.units, None, event.ts_ns)
            case seam.Rejected():
                self.generate_order_rejected(*identity, f"{event.rule}: {event.reason}", event.ts_ns)
            case seam.Cancelled():
                self.generate_order_canceled(*known, event.ts_ns)
            case seam.CancelRejected():
                self.generate_order_cancel_rejected(*known, event.reason, event.ts_ns)
            case seam.ModifyRejected():
                self.generate_order_modify_rejected(*known, event.reason, event.ts_ns)
            case seam.Modified():
                self._updated(order, event.units, event.price, event.ts_ns)
            case seam.Filled():
                self._filled(order, event)

    def _updated(self, order: Any, left: float, price: float | None, ts_ns: int) -> None:
        """Tell of another size or price; `left` is what is not filled."""
        pair = self._cache.instrument(order.instrument_id)
        quantity = Quantity(_units(order.filled_qty) + left, pair.size_precision)
        level = None if price is None else Price(price, pair.price_precision)
        is_stop = order.order_type == OrderType.STOP_MARKET
        if level is None and order.order_type != OrderType.MARKET:
            level = order.trigger_price if is_stop else order.price
        limit, trigger = (None, level) if is_stop else (level, None)
        identity = order.strategy_id, order.instrument_id, order.client_order_id
        known = venue_order_id(order.client_order_id.value)
        self.generate_order_updated(*identity, known, quantity, limit, trigger, ts_ns)

    def _filled(self, order: Any, event: seam.Filled) -> None:
        pair = self._cache.instrument(order.instrument_id)
        self.generate_order_filled(
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            venue_order_id(event.order_id),
            PositionId(event.position_id),
            TradeId(str(event.seq)),
            order.side,
            order.order_type,
            Quantity(event.units, pair.size_precision),
            Price(event.price, pair.price_precision),
            pair.quote_currency,
            Money(0, pair.quote_currency),
            LiquiditySide.TAKER,
            event.ts_ns,
        )
        if event.settled is not None:
            self.tell_account()
