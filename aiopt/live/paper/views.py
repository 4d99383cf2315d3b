"""Orders, positions and account of the paper venue as others see them.  Owns how they are told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from aiopt.backtest.money import to_float
from aiopt.live.paper.admission import margin
from aiopt.live.paper.holdings import Position, Working
from aiopt.live.paper.market import Market
from aiopt.live.paper.paper_books import PaperBooks
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import PaperAccount, PaperPosition, VenueOrder, WorkingOrder


class Exposure(NamedTuple):
    """What is held and worked for beside an order.

    Attributes
    ----------
    units : float
        Of its strategy, instrument and side: positions, and entries at work.
    notional : float
        Account currency; value of all positions and entries at work, of all strategies, at what their side
        pays.
    rate : float
        Account currency per quote currency of the order's instrument; 1.0 where no quote says it.
    """

    units: float
    notional: float
    rate: float


def order_view(one: Working, market: Market) -> WorkingOrder:
    """Return an order at work."""
    price = None if one.level is None else one.level / market.scale
    return WorkingOrder(order=one.order, price=price, left=float(one.left), triggered=one.triggered)


def position_view(position: Position, working: Collection[Working], books: PaperBooks) -> PaperPosition:
    """Return an open position."""
    units = position.units
    stops = sum(
        one.left
        for one in working
        if one.order.position_id == position.position_id and one.order.kind == "stop"
    )
    return PaperPosition(
        position_id=position.position_id,
        strategy=position.strategy,
        instrument=position.instrument,
        series=position.series,
        side=position.side,
        units=float(units),
        entry_ts_ns=position.lots[0].ts_ns,
        entry_price=position.entry_price,
        open_value=to_float(books.open_value(position)),
        stops=float(min(units, stops)),
    )


def account_view(
    ts_ns: int,
    config: PaperConfig,
    markets: Mapping[str, Market],
    books: PaperBooks,
    positions: Collection[Position],
) -> PaperAccount:
    """Return the account at the last quotes."""
    equity = books.balance + sum(books.open_value(position) for position in positions)
    bound = sum(margin(config, markets[one.instrument], books, one.side, one.units) for one in positions)
    return PaperAccount(
        currency=config.account_currency,
        ts_ns=ts_ns,
        balance=to_float(books.balance),
        equity=to_float(equity),
        margin=float(bound),
        exact_balance=str(books.balance),
        exact_equity=str(equity),
    )


def exposure_view(
    order: VenueOrder,
    markets: Mapping[str, Market],
    books: PaperBooks,
    positions: Mapping[str, Position],
    working: Mapping[str, Working],
) -> Exposure:
    """Return what is held and worked for beside an order."""
    held: list[tuple[str, str, int, int]] = [
        (one.strategy, one.instrument, one.side, one.units) for one in positions.values()
    ]
    held += [
        (one.order.strategy, one.order.instrument, one.order.side, one.left)
        for one in working.values()
        if one.is_entry and one.order.order_id != order.order_id
    ]
    notional = 0.0
    for _, symbol, side, units in held:
        market = markets[symbol]
        notional += units * books.per_unit(market.instrument.quote, market.price(side) / market.scale)
    own = (order.strategy, order.instrument, order.side)
    currency = markets[order.instrument].instrument.quote
    return Exposure(
        units=float(sum(row[3] for row in held if row[:3] == own)),
        notional=notional,
        rate=books.per_unit(currency, 1.0),
    )
