"""The node's data client: quotes, and bars cut elsewhere, delivered when the session says so.

Owns how a bar and a quote become NautilusTrader's.  Bars are EXTERNAL: those that NautilusTrader would cut by
itself follow the wall clock and not the quotes' stamps.  Knows no feed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.identifiers import ClientId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Price, Quantity

from aiopt.backtest.growing_bars import BarRow


class QuoteClient(LiveMarketDataClient):
    """Delivers what the session gives it.

    Parameters
    ----------
    loop, msgbus, cache, clock
        The node's.
    name : str
        Of client and venue.
    instruments : list of CurrencyPair
        Put into the cache at once: execution looks for them when it connects.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        instruments: list[CurrencyPair],
    ) -> None:
        super().__init__(
            loop=loop,
            client_id=ClientId(name),
            venue=Venue(name),
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=InstrumentProvider(),
        )
        self._known: dict[str, CurrencyPair] = {}
        for one in instruments:
            self._known[one.raw_symbol.value] = one
            cache.add_instrument(one)

    async def _connect(self) -> None:
        """Connect to nothing: the session drives this client."""

    async def _disconnect(self) -> None:
        """Leave nothing behind."""

    def subscribe_bars(self, command: Any) -> None:
        """Take note of a subscription."""
        self._add_subscription_bars(command.bar_type)

    def unsubscribe_bars(self, command: Any) -> None:
        """Take note of its end."""
        self._remove_subscription_bars(command.bar_type)

    def subscribe_quote_ticks(self, command: Any) -> None:
        """Take note of a subscription."""
        self._add_subscription_quote_ticks(command.instrument_id)

    def unsubscribe_quote_ticks(self, command: Any) -> None:
        """Take note of its end."""
        self._remove_subscription_quote_ticks(command.instrument_id)

    @property
    def wants_quotes(self) -> bool:
        """Whether anybody subscribed to quotes."""
        return bool(self.subscribed_quote_ticks())

    def bar(self, bar_type: BarType, row: BarRow, ts_ns: int) -> None:
        """Deliver a bar that has ended.

        Parameters
        ----------
        bar_type : BarType
            Whose.
        row : BarRow
            Its bid side goes into the message; who needs all of it reads it where it came from.
        ts_ns : int
            When it ended.
        """
        decimals = self._known[bar_type.instrument_id.symbol.value.replace("/", "")].price_precision
        prices = (Price(price, decimals) for price in row[1:5])
        self._handle_data(Bar(bar_type, *prices, Quantity(row.bid_volume, 0), ts_ns, ts_ns))

    def quote(self, symbol: str, ts_ns: int, bid: float, ask: float) -> None:
        """Deliver a quote to who subscribed."""
        pair = self._known[symbol]
        decimals, size = pair.price_precision, Quantity(1, 0)
        tick = QuoteTick(pair.id, Price(bid, decimals), Price(ask, decimals), size, size, ts_ns, ts_ns)
        self._handle_data(tick)
