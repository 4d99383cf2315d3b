"""Quotes of Interactive Brokers through NautilusTrader's own client of TWS and Gateway, as a feed.

Owns the subscription to bids and asks tick by tick, and what is said of the connection.  It asks for no
account, sends no order and cannot: orders go to the paper venue.  The client has a message bus and a cache of
its own, so that what it does reaches the node's in no way.

A quote is stamped in whole seconds, as TWS does.  What was missed while nobody was connected cannot be had
again: it is a hole.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from importlib import import_module
from typing import Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Price, Quantity

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError
from aiopt.live.feeds.feed_config import InteractiveBrokersFeed
from aiopt.live.feeds.past import PastOfStore
from aiopt.live.feeds.seam import SILENCE_S, Batch
from aiopt.market.instrument import Instrument, instrument
from aiopt.timeframe import Timeframe

_ADAPTER = "nautilus_trader.adapters.interactive_brokers"
_PROCESS = "DataEngine.process"
_STOP_S = 5.0
_AT_MOST = 10_000
"""Quotes that may wait; a session that is slower by so many has other troubles."""


class BrokerQuotes:
    """The quotes of a currency pair at Interactive Brokers.

    Parameters
    ----------
    config : InteractiveBrokersFeed
        Which, and where TWS or Gateway is.
    clock : callable
        This machine's time, UTC nanoseconds.
    adapter : callable, optional
        Returns the types of client and contract; default: the adapter's own.

    Raises
    ------
    ConfigError
        If the broker's library is not installed, saying what to install.
    DataError
        If there is no such instrument.
    """

    is_live = True
    total: int | None = None
    complete_from_ns: int | None = None

    def __init__(
        self,
        config: InteractiveBrokersFeed,
        *,
        clock: Callable[[], int] = time.time_ns,
        adapter: Callable[[], tuple[Any, Any]] | None = None,
    ) -> None:
        self._config, self._clock = config, clock
        self.instrument: Instrument = instrument(config.instrument)
        self._client_type, self._contract_type = (adapter or _adapter)()
        self.history_until_ns = self.first_ns = clock()
        self._past = PastOfStore(config.history, self.instrument)
        self._came: deque[QuoteTick] = deque(maxlen=_AT_MOST)
        self._something = asyncio.Event()
        pair = self.instrument
        self._id = InstrumentId(Symbol(f"{pair.base}/{pair.quote}"), Venue("IDEALPRO"))

    def __repr__(self) -> str:
        return f"BrokerQuotes({self.instrument.symbol} at {self._config.host}:{self._config.port})"

    @property
    def identity(self) -> dict[str, object]:
        """What must be the same for a place to mean the same."""
        return {"kind": "interactive_brokers", "instrument": self.instrument.symbol}

    def lost_since(self, place: int) -> bool:
        """Return True: what was quoted meanwhile is not given again."""
        return place > 0

    def history(self, timeframe: Timeframe, start_ns: int, stop_ns: int) -> list[BarRow]:
        """Return bars of the tick store beside it, see `aiopt.live.feeds.seam.Feed`."""
        return self._past.history(timeframe, start_ns, stop_ns)

    async def batches(self, place: int) -> AsyncGenerator[Batch]:
        """Yield what TWS tells, see `aiopt.live.feeds.seam.Feed`.

        Raises
        ------
        ConfigError
            If TWS or Gateway does not answer at the beginning; later it is waited for.
        """
        before = asyncio.all_tasks()
        client = self._client()
        client.start()
        try:
            async for batch in self._connecting(client):
                yield batch
            pair = self.instrument
            contract = self._contract_type(
                secType="CASH", exchange="IDEALPRO", symbol=pair.base, currency=pair.quote
            )
            await client.subscribe_ticks(self._id, contract, "BidAsk", ignore_size=True)
            hole, is_ready = "the session begins in the middle of what is quoted", True
            while True:
                came = await self._next()
                notes: tuple[str, ...] = ()
                if is_ready != client._is_client_ready.is_set():
                    is_ready = not is_ready
                    lost = "the connection to TWS or Gateway is lost; it is tried again"
                    notes = ("over: the connection is back",) if is_ready else (lost,)
                    hole = "the connection to TWS or Gateway was lost"
                yield self._batch(came, place)._replace(hole=hole, notes=notes)
                hole = "" if came else hole
                place += len(came)
        finally:
            await _ended(client, before)

    def _client(self) -> Any:
        """Return the adapter's client, whose quotes come here."""
        clock, trader = LiveClock(), TraderId("AIOPT-IB")
        bus, cache = MessageBus(trader_id=trader, clock=clock), Cache()
        bus.register(endpoint=_PROCESS, handler=self._take)
        cache.add_instrument(_pair(self._id, self.instrument))
        config = self._config
        return self._client_type(
            loop=asyncio.get_running_loop(),
            msgbus=bus,
            cache=cache,
            clock=clock,
            host=config.host,
            port=config.port,
            client_id=config.client_id,
        )

    async def _connecting(self, client: Any) -> AsyncGenerator[Batch]:
        due = time.monotonic() + self._config.connect_s
        while not client._is_client_ready.is_set():
            if time.monotonic() >= due:
                config = self._config
                msg = f"TWS or Gateway must answer at {config.host}:{config.port} within "
                msg += f"{config.connect_s:g} s, but does not. Start it, log in, and allow API clients."
                raise ConfigError(msg)
            await asyncio.sleep(min(SILENCE_S, 0.1))
            yield Batch(arrived_ns=self._clock())

    def _take(self, data: Any) -> None:
        if isinstance(data, QuoteTick):
            self._came.append(data)
            self._something.set()

    async def _next(self) -> list[QuoteTick]:
        """Return what has come, as soon as something has; nothing after a while."""
        if not self._came:
            self._something.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._something.wait()
            except TimeoutError:
                return []
        came = list(self._came)
        self._came.clear()
        return came

    def _batch(self, came: list[QuoteTick], place: int) -> Batch:
        return Batch(
            range(place, place + len(came)),
            [one.ts_event for one in came],
            [one.bid_price.as_double() for one in came],
            [one.ask_price.as_double() for one in came],
            [one.bid_size.as_double() for one in came],
            [one.ask_size.as_double() for one in came],
            arrived_ns=self._clock(),
        )


async def _ended(client: Any, before: set[asyncio.Task[Any]]) -> None:
    """Stop a client with all its tasks: it keeps no hold of the one that tries to connect."""
    known = asyncio.all_tasks()
    client.stop()
    stopping = asyncio.all_tasks() - known
    if stopping:
        await asyncio.wait(stopping, timeout=_STOP_S)
    for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
        task.cancel()
    client._eclient.disconnect()


def _adapter() -> tuple[Any, Any]:
    """Return the adapter's client and its contract."""
    try:
        client = import_module(f"{_ADAPTER}.client").InteractiveBrokersClient
        contract = import_module(f"{_ADAPTER}.common").IBContract
    except ImportError as error:
        msg = "The broker's library must be installed for a feed of kind interactive_brokers, but is not "
        msg += f'({error}). Run: pip install "nautilus_trader[ib]"'
        raise ConfigError(msg) from error
    return client, contract


def _pair(name: InstrumentId, market: Instrument) -> CurrencyPair:
    decimals = market.price_precision
    return CurrencyPair(
        instrument_id=name,
        raw_symbol=Symbol(market.symbol),
        base_currency=Currency.from_str(market.base),
        quote_currency=Currency.from_str(market.quote),
        price_precision=decimals,
        size_precision=0,
        price_increment=Price(10.0**-decimals, decimals),
        size_increment=Quantity(1, 0),
        ts_event=0,
        ts_init=0,
    )
