"""How the simulated venue fills: at which price.  Knows no strategy; `aiopt.backtest.money` charges.

Prices follow the path the replay feeds (`aiopt.backtest.replay`).  NautilusTrader on its own fills a stop at
its trigger price and a resting limit at its limit price even when the bar opened beyond them, and slips an
order that is larger than a quarter of the bar's volume; `PathFillModel` replaces both rules:

======================  =============================================  ==============
order                   fills at                                        slippage
======================  =============================================  ==============
market                  the quote (the bar's open)                      yes
stop, bar opens beyond  the open, which is worse than the stop          yes
stop, reached inside    what `aiopt.backtest.stop_fills` says           yes
limit, bar opens beyond the open, which is better than the limit        no
limit, reached inside   the limit price                                 no
======================  =============================================  ==============
"""

from __future__ import annotations

from typing import Any

from nautilus_trader.backtest.models import FillModel
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder
from nautilus_trader.model.enums import BookType, LiquiditySide, OrderSide, OrderStatus, OrderType
from nautilus_trader.model.objects import Price, Quantity

from aiopt.backtest.stop_fills import StopFills, StopRule
from aiopt.errors import DataError

_UNLIMITED = 10_000_000_000
"""Units offered at the fill price: size never moves the price (EUR/USD is deep; slippage is a setting)."""


class PathFillModel(FillModel):
    """Fill at the price the bar's path implies; see the table in the module's docstring.

    Attributes
    ----------
    clock : nautilus Clock
        The engine's clock; set by the engine's owner.
    open_ts_ns : int
        Time stamp of the current bar's opening quote; set by the replay.
    bar : int
        The bar being replayed; set by the replay.
    slippage : float
        Quote currency by which market and stop fills are worse.
    stops : StopRule
        Where a stop that is reached inside a bar fills.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock: Any = None
        self.open_ts_ns = 0
        self.bar = 0
        self.slippage = 0.0
        self.stops = StopRule(StopFills())

    def get_orderbook_for_fill_simulation(
        self, instrument: Any, order: Any, best_bid: Any, best_ask: Any
    ) -> Any:
        """Return a book with the fill price on the side the order takes from."""
        buys = order.side == OrderSide.BUY
        price = best_ask if buys else best_bid
        kind = order.order_type
        if kind == OrderType.LIMIT:
            if not (self._at_open() or order.liquidity_side == LiquiditySide.TAKER):
                price = order.price
        elif kind == OrderType.STOP_MARKET and not (
            # A stop that is already beyond the market when it arrives is filled before it is accepted.
            self._at_open() or order.status == OrderStatus.SUBMITTED
        ):
            price = self._stop_price(order.trigger_price, buys, instrument.price_precision)
        if self.slippage and kind != OrderType.LIMIT:
            worse = self.slippage if buys else -self.slippage
            price = Price(price.as_double() + worse, instrument.price_precision)
        book = OrderBook(instrument_id=instrument.id, book_type=BookType.L2_MBP)
        book.add(
            BookOrder(
                side=OrderSide.SELL if buys else OrderSide.BUY,
                price=price,
                size=Quantity(_UNLIMITED, instrument.size_precision),
                order_id=1,
            ),
            0,
            0,
        )
        return book

    def _stop_price(self, trigger: Price, buys: bool, decimals: int) -> Price:
        """Return the price of a stop that is reached inside the bar."""
        rule = self.stops
        if rule.ladder is None:
            beyond = rule.slippage if buys else -rule.slippage
            return Price(trigger.as_double() + beyond, decimals) if beyond else trigger
        stop = round(trigger.as_double(), decimals)
        found = rule.ladder.fill_price(self.bar, stop, sells=not buys)
        if found is None:
            msg = f"A stop that a bar reaches must be reached by a quote of it, but {stop} is not in bar "
            raise DataError(f"{msg}{self.bar}: bars and stop ladder differ. Build the bars again.")
        return Price(found, decimals)

    def _at_open(self) -> bool:
        return bool(self.clock.timestamp_ns() == self.open_ts_ns)
