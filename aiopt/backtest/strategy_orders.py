"""How the engine's strategy orders: what is sent, under which id, and what is kept of it until it is done.

Owns the orders of one strategy and what became of them.  Knows neither signals nor when anything is decided
(`aiopt.backtest.strategy`).

On bars that grow (`TradingRules.stream`) orders bear ids of the strategy's own, ``PREFIX-NUMBER``: the number
is part of the strategy's state, so an id never comes twice, and a run that is repeated from a saved state
sends the same ids again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import ClientOrderId, PositionId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from aiopt.backtest.parts import Part
from aiopt.backtest.positions import HeldPosition
from aiopt.backtest.trading_rules import TradingRules
from aiopt.errors import BacktestError

LONG, FLAT, SHORT = 1, 0, -1

CLOSING_REASONS = (
    "exit_signal",
    "reverse",
    "segment_end",
    "end_of_data",
    "ruin",
    "time",
    "flatten",
    "refused",
)
"""Exits by a market order of everything that is held."""


_LEVELS = ("held_stop", "held_target", "stop_price", "target_price")


class EntryPlan(NamedTuple):
    """What an entry order wants.

    `distances` are those of a moving stop, see `MovingExits.open`; `laid` those of stop and target that are
    laid from the fill, see `LaidLevels.distances`; `units` is what has not been filled yet.
    """

    side: int
    stop: float
    target: float
    bar: int
    distances: dict[str, float]
    laid: tuple[float, float] | None = None
    units: float = 0.0


class OrderingStrategy(Strategy):
    """Sends orders and keeps them until they are done."""

    def __init__(self, name: str) -> None:
        family, _, tag = name.rpartition("-")
        super().__init__(StrategyConfig(strategy_id=family, order_id_tag=tag))

    def _prepare_orders(self, instrument: Any, rules: TradingRules) -> None:
        self._instrument = instrument
        self._rules = rules
        self._plans: dict[Any, EntryPlan] = {}
        self._exits: dict[Any, tuple[str, Part]] = {}
        self._parts: list[Part] = []
        self._sent = 0
        self.held_stop: float = math.nan
        self.held_target: float = math.nan
        self.stop_price: float = math.nan
        self.target_price: float = math.nan
        self.position: HeldPosition | None = None
        self.failure: str | None = None
        self.refusals: list[str] = []

    @property
    def side(self) -> int:
        """`LONG`, `SHORT` or `FLAT`."""
        return FLAT if self.position is None else self.position.side

    @property
    def order_ids(self) -> list[str]:
        """Ids of the entries that wait and of the exits of what is held."""
        exits = [key for key, (_, part) in self._exits.items() if part.is_open]
        return [key.value for key in (*self._plans, *exits)]

    def _open_parts(self) -> list[Part]:
        return [part for part in self._parts if part.is_open]

    @property
    def uncovered(self) -> list[str]:
        """Positions that want a stop in the market now and have none, by the venue's ids."""
        wants = self.position is not None and not math.isnan(self.position.stop)
        if not wants or not math.isnan(self.held_stop) or self._is_leaving:
            return []
        return [part.position_id.value for part in self._open_parts() if part.stop_order is None]

    # --- sending ----------------------------------------------------------------------------------------

    def _next_id(self) -> ClientOrderId | None:
        """Return the id of the next order; None leaves it to NautilusTrader."""
        if not self._rules.order_prefix:
            return None
        self._sent += 1
        return ClientOrderId(f"{self._rules.order_prefix}-{self._sent}")

    def _send_entry(self, plan: EntryPlan) -> None:
        order = self.order_factory.market(
            self._instrument.id,
            OrderSide.BUY if plan.side == LONG else OrderSide.SELL,
            self._quantity(plan.units),
            client_order_id=self._next_id(),
        )
        self._plans[order.client_order_id] = plan
        self.submit_order(order)

    def _send_stop(self, part: Part, price: float, reason: str = "stop_loss") -> None:
        self.held_stop = math.nan
        self.stop_price = price
        order = self.order_factory.stop_market(
            self._instrument.id,
            self._exit_side(),
            self._quantity(part.units),
            Price(price, self._rules.price_decimals),
            reduce_only=True,
            client_order_id=self._next_id(),
        )
        part.resting.append(order)
        part.stop_order = order
        self._submit_exit(order, reason, part)

    def _send_target(self, part: Part) -> None:
        order = self.order_factory.limit(
            self._instrument.id,
            self._exit_side(),
            self._quantity(part.units),
            Price(part.target, self._rules.price_decimals),
            reduce_only=True,
            client_order_id=self._next_id(),
        )
        part.resting.append(order)
        self._submit_exit(order, "take_profit", part)

    def _send_close(self, part: Part, reason: str) -> None:
        order = self.order_factory.market(
            self._instrument.id,
            self._exit_side(),
            self._quantity(part.units),
            reduce_only=True,
            client_order_id=self._next_id(),
        )
        self._submit_exit(order, reason, part)

    def _submit_exit(self, order: Any, reason: str, part: Part) -> None:
        self._exits[order.client_order_id] = reason, part
        self.submit_order(order, position_id=part.position_id)

    def _close(self, reason: str) -> None:
        parts = self._open_parts()
        for part in parts:
            for order in part.resting:
                self.cancel_order(order)
            part.resting, part.stop_order = [], None
        self._forget_exits()
        for part in parts:
            self._send_close(part, reason)

    @property
    def _is_leaving(self) -> bool:
        """Whether an order that closes the position is on its way."""
        return any(reason in CLOSING_REASONS and part.is_open for reason, part in self._exits.values())

    def _forget_exits(self) -> None:
        self.held_stop = self.held_target = self.stop_price = self.target_price = math.nan

    def _exit_side(self) -> OrderSide:
        return OrderSide.SELL if self.side == LONG else OrderSide.BUY

    def _quantity(self, units: float) -> Quantity:
        return Quantity(units, self._rules.size_decimals)

    # --- what does not fill -----------------------------------------------------------------------------

    def on_order_rejected(self, event: Any) -> None:
        """Record why, unless the order's position was closed while it travelled."""
        reason, part = self._exits.pop(event.client_order_id, ("", None))
        if part is None or reason in CLOSING_REASONS or part.is_open:
            self._refused("rejected", event, reason, part)

    def on_order_denied(self, event: Any) -> None:
        """Record why the risk engine denied an order."""
        reason, part = self._exits.pop(event.client_order_id, ("", None))
        self._refused("denied", event, reason, part)

    def on_order_canceled(self, event: Any) -> None:
        """Let a cancelled order go: what it did not fill will not be filled."""
        self._plans.pop(event.client_order_id, None)
        self._exits.pop(event.client_order_id, None)

    def on_order_cancel_rejected(self, event: Any) -> None:
        """Record why an order could not be cancelled.

        On bars that grow one that has just ended cannot, which is no fault: its end is told by itself.
        """
        if self._rules.stream is not None:
            return
        self._refused("kept although it was cancelled", event, "", None)

    def _refused(self, what: str, event: Any, reason: str, part: Part | None) -> None:
        """Note a refusal; on bars that grow a position whose stop or target is refused is closed."""
        text = f"{event.client_order_id} was {what}: {event.reason}"
        if self._rules.stream is None:
            if self.failure is None:
                self.failure = f"Every order must be accepted, but {text}"
            return
        self.refusals.append(text)
        if self._plans.pop(event.client_order_id, None) is None and part is not None and part.is_open:
            self.failure = f"Every exit must be accepted, but {text}"
            if reason not in CLOSING_REASONS and not self._is_leaving:
                self._close("refused")

    # --- orders as plain data ---------------------------------------------------------------------------

    def _saved_part(self, part: Part) -> dict[str, Any]:
        stop = part.stop_order
        return {
            "units": part.units,
            "target": part.target,
            "position": part.position_id.value,
            "stop": None if stop is None else stop.client_order_id.value,
            "resting": [order.client_order_id.value for order in part.resting],
            "entry": [part.entry_ts_ns, part.entry_price],
        }

    def _restored_part(self, saved: Mapping[str, Any]) -> Part:
        stop, (entry_ts_ns, entry_price) = saved["stop"], saved["entry"]
        return Part(
            units=saved["units"],
            target=saved["target"],
            position_id=PositionId(saved["position"]),
            stop_order=None if stop is None else self._known_order(stop),
            resting=[self._known_order(one) for one in saved["resting"]],
            entry_ts_ns=entry_ts_ns,
            entry_price=entry_price,
        )

    def _saved_orders(self) -> dict[str, Any]:
        """Return orders and position as plain data."""
        parts = self._open_parts()
        places = {id(part): number for number, part in enumerate(parts)}
        exits = {
            name.value: [reason, places[id(part)]]
            for name, (reason, part) in self._exits.items()
            if id(part) in places
        }
        return {
            "sent": self._sent,
            "plans": {name.value: list(plan) for name, plan in self._plans.items()},
            "parts": [self._saved_part(part) for part in parts],
            "exits": exits,
            "levels": [getattr(self, name) for name in _LEVELS],
            "position": None if self.position is None else list(self.position),
            "failure": self.failure,
        }

    def _restored_parts(self, state: Mapping[str, Any]) -> list[Part]:
        """Return the open parts of a state, in its order."""
        self._parts = [self._restored_part(part) for part in state["parts"]]
        return self._parts

    def _restore_orders(self, state: Mapping[str, Any]) -> None:
        """Take up what `_saved_orders` returned."""
        self._sent, self.failure = state["sent"], state["failure"]
        parts = self._restored_parts(state)
        self._plans = {}
        for name, (side, stop, target, bar, distances, laid, units) in state["plans"].items():
            known = None if laid is None else (laid[0], laid[1])
            self._plans[ClientOrderId(name)] = EntryPlan(side, stop, target, bar, distances, known, units)
        self._exits = {
            ClientOrderId(name): (reason, parts[place]) for name, (reason, place) in state["exits"].items()
        }
        for name, value in zip(_LEVELS, state["levels"], strict=True):
            setattr(self, name, value)
        held = state["position"]
        self.position = None if held is None else HeldPosition(*held)

    def _known_order(self, name: str) -> Any:
        order = self.cache.order(ClientOrderId(name))
        if order is None:
            msg = f"The strategy's state speaks of order {name}, but the node knows no such order."
            raise BacktestError(
                f"{msg} State and venue are of different moments: use the session's own file."
            )
        return order
