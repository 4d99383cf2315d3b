"""Orders and positions of a venue's state in the node's cache, so that they can be cancelled and fill.

Owns that translation.  A position is restored as what is left of it: one fill per lot that remains.
"""

from __future__ import annotations

from typing import Any

from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import LiquiditySide, OmsType, OrderSide, OrderType, TimeInForce
from nautilus_trader.model.events import OrderAccepted, OrderFilled, OrderSubmitted
from nautilus_trader.model.identifiers import ClientOrderId, PositionId, TradeId
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.model.orders import Order
from nautilus_trader.model.position import Position

from aiopt.live.node.paper_client import PaperClient, venue_order_id
from aiopt.live.paper.venue_state import LotState, OrderState, PositionState, VenueState


class Restorer:
    """Puts a venue's state into a node's cache.

    Parameters
    ----------
    kernel
        The node's.
    client : PaperClient
        Whose account the orders are of.
    strategies : dict of str to Strategy
        By tag; registered with the node.
    """

    def __init__(self, kernel: Any, client: PaperClient, strategies: dict[str, Any]) -> None:
        self._kernel, self._client, self._strategies = kernel, client, strategies
        self._pairs = {pair.raw_symbol.value: pair for pair in kernel.cache.instruments()}

    def restore(self, state: VenueState) -> None:
        """Restore every position, then every order at work."""
        working = {one.order.order_id: one for one in state.orders}
        for position in state.positions:
            if position.strategy in self._strategies:
                self._position(position, working.get(position.entry_order_id))
        held = {position.entry_order_id for position in state.positions}
        for one in state.orders:
            if one.order.strategy in self._strategies and one.order.order_id not in held:
                self._working(one)
        self._kernel.portfolio.initialize_positions()

    def _position(self, held: PositionState, entry: OrderState | None) -> None:
        """Restore a position and the entry that opened it, with what of the entry still waits."""
        units = sum(lot.units for lot in held.lots) + (0 if entry is None else entry.left)
        factory, pair = self._strategies[held.strategy].order_factory, self._pairs[held.instrument]
        order = factory.market(
            pair.id,
            OrderSide.BUY if held.side > 0 else OrderSide.SELL,
            Quantity(units, pair.size_precision),
            client_order_id=ClientOrderId(held.entry_order_id),
        )
        self._accept(order, held.lots[0].ts_ns)
        place = PositionId(held.position_id)
        cache = self._kernel.cache
        cache.add_order(order, place)
        position: Position | None = None
        for number, lot in enumerate(held.lots):
            fill = self._fill(order, place, lot, f"R-{held.entry_order_id}-{number}")
            order.apply(fill)
            if position is None:
                position = Position(pair, fill)
                cache.add_position(position, OmsType.HEDGING)
            else:
                position.apply(fill)
                cache.update_position(position)
        cache.update_order(order)

    def _working(self, one: OrderState) -> None:
        sent = one.order
        factory, pair = self._strategies[sent.strategy].order_factory, self._pairs[sent.instrument]
        common = {
            "instrument_id": pair.id,
            "order_side": OrderSide.BUY if sent.side > 0 else OrderSide.SELL,
            "quantity": Quantity(one.left, pair.size_precision),
            "reduce_only": sent.position_id is not None,
            "client_order_id": ClientOrderId(sent.order_id),
        }
        scale = 10**pair.price_precision
        level = None if one.level is None else Price(one.level / scale, pair.price_precision)
        if sent.kind == "market":
            order = factory.market(time_in_force=TimeInForce.GTC, **common)
        elif sent.kind == "stop":
            order = factory.stop_market(trigger_price=level, **common)
        else:
            order = factory.limit(price=level, **common)
        self._accept(order, sent.ts_ns)
        place = None if sent.position_id is None else PositionId(sent.position_id)
        self._kernel.cache.add_order(order, place)
        self._kernel.cache.update_order(order)

    def _accept(self, order: Order, ts_ns: int) -> None:
        common = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
        account = self._client.account_id
        order.apply(OrderSubmitted(*common, account, UUID4(), ts_ns, ts_ns))
        place = venue_order_id(order.client_order_id.value)
        order.apply(OrderAccepted(*common, place, account, UUID4(), ts_ns, ts_ns))

    def _fill(self, order: Order, place: PositionId, lot: LotState, name: str) -> OrderFilled:
        pair = self._kernel.cache.instrument(order.instrument_id)
        return OrderFilled(
            order.trader_id,
            order.strategy_id,
            order.instrument_id,
            order.client_order_id,
            venue_order_id(order.client_order_id.value),
            self._client.account_id,
            TradeId(name[-36:]),
            place,
            order.side,
            OrderType.MARKET,
            Quantity(lot.units, pair.size_precision),
            Price(lot.price, pair.price_precision),
            pair.quote_currency,
            Money(0, pair.quote_currency),
            LiquiditySide.TAKER,
            UUID4(),
            lot.ts_ns,
            lot.ts_ns,
        )
