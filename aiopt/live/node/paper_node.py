"""A NautilusTrader `TradingNode` whose data come from the session and whose orders go to the paper venue.

Owns the node's settings and its life.  Defaults of NautilusTrader 1.221 that cost money or state, and what is
set instead:

=============================================  ==========================================================
default                                        here
=============================================  ==========================================================
bars are cut by the wall clock                 EXTERNAL bars, cut by the quotes' stamps
the sandbox leaves positions without a stop    a venue of ours; exits are bound to their position
the sandbox's orders die at a restart          the venue's state is kept and put back into the cache
a halted risk engine denies closes too         it is bypassed; the limits are ours and let exits pass
an exception in a handler ends the process     strategies are guarded; `graceful_shutdown_on_exception`
=============================================  ==========================================================

In-flight checks are off: an order that waits for the next quote over a week-end is no lost message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common import Environment
from nautilus_trader.config import (
    LiveDataClientConfig,
    LiveDataEngineConfig,
    LiveExecClientConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.factories import LiveDataClientFactory, LiveExecClientFactory
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import BarType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Price, Quantity

from aiopt.backtest.growing_bars import BarRow
from aiopt.backtest.process_engine import SIZE_DECIMALS, external_bars
from aiopt.errors import BacktestError
from aiopt.live.node.guarded import LiveStrategy
from aiopt.live.node.paper_client import Gate, NodeParts, PaperClient
from aiopt.live.node.pump import Pump
from aiopt.live.node.quote_client import QuoteClient
from aiopt.live.node.restoring import Restorer
from aiopt.live.paper.market import DECIMALS_BEYOND_TICK
from aiopt.live.paper.seam import VenueEvent
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.paper.venue_state import VenueState
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe

NAME = "PAPER"
_START_S = 60.0


def node_config(trader: str) -> TradingNodeConfig:
    """Return the settings of a node.

    Parameters
    ----------
    trader : str
        Names it, e.g. ``"AIOPT-1"``.
    """
    return TradingNodeConfig(
        environment=Environment.SANDBOX,
        trader_id=TraderId(trader),
        logging=LoggingConfig(bypass_logging=True),
        cache=CacheConfig(drop_instruments_on_reset=False),
        data_engine=LiveDataEngineConfig(graceful_shutdown_on_exception=True),
        risk_engine=LiveRiskEngineConfig(bypass=True, graceful_shutdown_on_exception=True),
        exec_engine=LiveExecEngineConfig(
            reconciliation=False,
            inflight_check_interval_ms=0,
            graceful_shutdown_on_exception=True,
        ),
        data_clients={NAME: LiveDataClientConfig()},
        exec_clients={NAME: LiveExecClientConfig()},
        timeout_post_stop=0.001,
    )


def node_instrument(market: Instrument) -> CurrencyPair:
    """Return NautilusTrader's instrument for one of ours, with one decimal beyond the tick."""
    decimals = market.price_precision + DECIMALS_BEYOND_TICK
    return CurrencyPair(
        instrument_id=InstrumentId(Symbol(f"{market.base}/{market.quote}"), Venue(NAME)),
        raw_symbol=Symbol(market.symbol),
        base_currency=Currency.from_str(market.base),
        quote_currency=Currency.from_str(market.quote),
        price_precision=decimals,
        size_precision=SIZE_DECIMALS,
        price_increment=Price(10.0**-decimals, decimals),
        size_increment=Quantity(1, SIZE_DECIMALS),
        ts_event=0,
        ts_init=0,
    )


class PaperNode:
    """A node that moves only when it is told to.

    Parameters
    ----------
    trader : str
        See `node_config`.
    markets : iterable of Instrument
        What is quoted.
    venue : PaperVenue
        Where orders go.
    gate : callable
        See `aiopt.live.node.paper_client.Gate`.
    on_event : callable
        Told of each event of the venue.
    on_error : callable
        Told of exceptions inside the node that are no strategy's.
    loop : asyncio.AbstractEventLoop
        Of this process's main thread, not running yet.
    """

    def __init__(
        self,
        trader: str,
        markets: Iterable[Instrument],
        venue: PaperVenue,
        *,
        gate: Gate,
        on_event: Callable[[VenueEvent], None],
        on_error: Callable[[Exception], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._node = TradingNode(config=node_config(trader), loop=loop)
        self.pump = Pump(on_error)
        self.pump.install(self._node.kernel)
        self._venue = venue
        pairs = {market.symbol: node_instrument(market) for market in markets}
        made: dict[str, Any] = {}

        class QuoteFactory(LiveDataClientFactory):
            @staticmethod
            def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> QuoteClient:
                made["data"] = QuoteClient(loop, name, msgbus, cache, clock, list(pairs.values()))
                return made["data"]

        class PaperFactory(LiveExecClientFactory):
            @staticmethod
            def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> PaperClient:
                made["exec"] = PaperClient(NodeParts(loop, msgbus, cache, clock), name, venue, gate, on_event)
                return made["exec"]

        self._node.add_data_client_factory(NAME, QuoteFactory)
        self._node.add_exec_client_factory(NAME, PaperFactory)
        self._node.build()
        self.data: QuoteClient = made["data"]
        self.orders: PaperClient = made["exec"]
        self.instruments: dict[str, CurrencyPair] = pairs
        self.strategies: dict[str, LiveStrategy] = {}
        self._running: asyncio.Task[None] | None = None

    @property
    def kernel(self) -> Any:
        """NautilusTrader's."""
        return self._node.kernel

    def bar_type(self, symbol: str, timeframe: Timeframe) -> BarType:
        """Return the node's name of a series of bars."""
        return external_bars(self.instruments[symbol].id, timeframe.seconds)

    def add(self, tag: str, strategy: LiveStrategy, series: str) -> None:
        """Add a strategy that is prepared; before the node starts."""
        self._node.trader.add_strategy(strategy)
        self.strategies[tag] = strategy
        self.orders.series[tag] = series

    async def start(self) -> None:
        """Start the node; returns when its strategies run.

        Raises
        ------
        BacktestError
            If it does not start in a minute.
        """
        self._running = asyncio.ensure_future(self._node.run_async())
        deadline = asyncio.get_running_loop().time() + _START_S
        while not self._node.trader.is_running:
            if self._running.done() or asyncio.get_running_loop().time() > deadline:
                raise BacktestError(
                    "NautilusTrader's node must start, but did not. Run it again; report this."
                )
            await asyncio.sleep(0.001)

    def restore(self, state: VenueState) -> None:
        """Put the orders and positions of the venue into the node's cache; after the start."""
        Restorer(self.kernel, self.orders, self.strategies).restore(state)

    async def stop(self) -> None:
        """Stop the node; orders and positions stay as they are."""
        if self._running is None:
            return
        await self._node.stop_async()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    def dispose(self) -> None:
        """Let everything go, the event loop too; after the loop has ended."""
        self._node.dispose()

    # --- one step -------------------------------------------------------------------------------------

    def bar(self, bar_type: BarType, row: BarRow, ended_ns: int, now_ns: int) -> None:
        """Deliver a bar and let everything that follows happen."""
        self.orders.now_ns = now_ns
        self.data.bar(bar_type, row, ended_ns)

    def quote(self, symbol: str, ts_ns: int, bid: float, ask: float, opened: frozenset[str]) -> None:
        """Deliver a quote to the venue and let everything that follows happen.

        Raises
        ------
        DataError
            If the venue refuses the quote.
        """
        self.orders.now_ns = ts_ns
        events = self._venue.quote(symbol, ts_ns, bid, ask, opened)
        if events:
            with self.pump.held():  # all that the quote did is told before anybody answers to it
                self.orders.tell(events)
        if self.data.wants_quotes:
            self.data.quote(symbol, ts_ns, bid, ask)

    def purge(self, now_ns: int) -> None:
        """Forget orders and positions that are closed, and old states of the account."""
        cache = self.kernel.cache
        cache.purge_closed_orders(now_ns)
        cache.purge_closed_positions(now_ns)
        cache.purge_account_events(now_ns)
