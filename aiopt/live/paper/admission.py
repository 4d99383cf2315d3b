"""Which orders the paper venue takes: each rule by name, with value and remedy.

Owns the rules.  A well-formed exit of an open position breaks none of them, whatever the account holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from aiopt.backtest.money import to_float
from aiopt.live.paper.holdings import Position, Working
from aiopt.live.paper.market import Market
from aiopt.live.paper.paper_books import PaperBooks
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import VenueOrder

_MARGIN_TOLERANCE = 1e-9
"""Share of the equity: float noise refuses nothing."""


class Refusal(NamedTuple):
    """Which rule an order breaks, and rule, value and remedy in a sentence."""

    rule: str
    reason: str


def form_refusal(order: VenueOrder, market: Market) -> Refusal | None:
    """Return why an order is not well-formed, None if it is."""
    step, units = market.instrument.size_increment, order.units
    kind, price = order.kind, order.price
    if kind not in ("market", "stop", "limit"):
        return Refusal("kind", f"`kind` must be market, stop or limit, but got kind={kind!r}. Choose one.")
    if order.side not in (1, -1):
        return Refusal("side", f"`side` must be 1 or -1, but got side={order.side}. Send one of them.")
    if not (0 < units < float("inf") and units % step == 0 and units == int(units)):
        reason = f"`units` must be a positive multiple of {step}, but got units={units}. Round them down."
        return Refusal("units", reason)
    if kind == "market":
        if price is not None:
            reason = f"A market order has no price, but got price={price}. Leave it out."
            return Refusal("price", reason)
        return None
    if price is None or market.level(price) is None:
        reason = (
            f"A {kind} needs a positive price of at most {market.decimals} decimals, but got price={price}. "
            "Round it."
        )
        return Refusal("price", reason)
    return None


def modify_refusal(one: Working, market: Market, price: float | None, units: float) -> Refusal | None:
    """Return why an order at work cannot have another price or size, None if it can."""
    order = one.order
    if one.triggered and price is not None:
        reason = f"The stop {order.order_id} was reached and is being filled, so its price is past, but got "
        return Refusal("price", f"{reason}price={price}. Change its units, or cancel it.")
    changed = {"units": units} if price is None else {"units": units, "price": price}
    return form_refusal(msgspec.structs.replace(order, **changed), market)


def exit_refusal(order: VenueOrder, position: Position | None) -> Refusal | None:
    """Return why an order is no exit of a position, None if it is."""
    if position is None or position.instrument != order.instrument or position.strategy != order.strategy:
        reason = (
            f"{order.strategy} has no open position {order.position_id!r} in {order.instrument}, so "
            f"{order.order_id} cannot reduce it. It was closed, or is another's; drop the order."
        )
        return Refusal("position", reason)
    if order.side != -position.side:
        reason = (
            f"An exit of {order.position_id!r} has side {-position.side}, but got side={order.side}. "
            "Turn it; a new position is opened without a position_id."
        )
        return Refusal("side", reason)
    return None


def margin_refusal(
    order: VenueOrder,
    config: PaperConfig,
    markets: Mapping[str, Market],
    books: PaperBooks,
    positions: Mapping[str, Position],
    working: Iterable[Working],
    *,
    units: float,
) -> Refusal | None:
    """Return why the whole account does not carry an entry, None if it does.

    All that stays open needs margin at what its side pays now: positions that no market order is closing,
    entries on their way, and `units` of the order itself.
    """
    bound: dict[tuple[str, int], float] = {(order.instrument, order.side): units}
    leaving: dict[str, int] = {}
    for one in working:
        sent = one.order
        if sent.order_id == order.order_id:
            continue
        if one.is_urgent and sent.position_id is not None:
            leaving[sent.position_id] = leaving.get(sent.position_id, 0) + one.left
        elif one.is_urgent:
            key = (sent.instrument, sent.side)
            bound[key] = bound.get(key, 0.0) + one.left
    for position in positions.values():
        key = (position.instrument, position.side)
        stays = position.units - leaving.get(position.position_id, 0)
        bound[key] = bound.get(key, 0.0) + max(0, stays)
    needed = sum(margin(config, markets[symbol], books, side, size) for (symbol, side), size in bound.items())
    equity = to_float(books.balance + sum(books.open_value(position) for position in positions.values()))
    if needed <= equity + _MARGIN_TOLERANCE * abs(equity):
        return None
    reason = (
        f"The equity must carry the margin of all positions, but with {units:,.0f} units of "
        f"{order.instrument} they bind {needed:,.2f} {config.account_currency} and the equity is "
        f"{equity:,.2f}. Order less, or close something first."
    )
    return Refusal("margin", reason)


def margin(config: PaperConfig, market: Market, books: PaperBooks, side: int, units: float) -> float:
    """Return what units of a side bind now, account currency."""
    price = books.per_unit(market.instrument.quote, market.price(side) / market.scale)
    return units * price / config.leverage
