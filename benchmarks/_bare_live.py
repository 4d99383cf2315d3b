"""A NautilusTrader node as it comes: its own queues, a strategy that takes quotes and does nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any


def bare_times(store: Path, rate: float, most: int) -> list[float]:
    """Send quotes evenly; return the seconds from each call to the strategy's handler."""
    from nautilus_trader.live.factories import LiveDataClientFactory
    from nautilus_trader.live.node import TradingNode
    from nautilus_trader.trading.strategy import Strategy

    from aiopt.live.feeds.store_feed import StoreFeed
    from aiopt.live.node.paper_node import NAME, node_config, node_instrument
    from aiopt.live.node.quote_client import QuoteClient

    feed = StoreFeed(store)
    pair = node_instrument(feed.instrument)
    made: list[QuoteClient] = []
    sent: list[float] = []
    times: list[float] = []

    class Factory(LiveDataClientFactory):
        @staticmethod
        def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> QuoteClient:
            made.append(QuoteClient(loop, name, msgbus, cache, clock, [pair]))
            return made[0]

    class Idle(Strategy):
        def on_start(self) -> None:
            self.subscribe_quote_ticks(pair.id)

        def on_quote_tick(self, tick: Any) -> None:
            times.append(time.perf_counter() - sent[len(times)])

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    config = node_config("BARE-1")
    fields = {name: getattr(config, name) for name in config.__struct_fields__}
    node = TradingNode(config=type(config)(**fields | {"exec_clients": {}}), loop=loop)
    node.add_data_client_factory(NAME, Factory)
    node.build()
    node.trader.add_strategy(Idle())

    async def drive() -> None:
        running = asyncio.ensure_future(node.run_async())
        while not made or not made[0].wants_quotes:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        for chunk in feed.chunks():
            for ts_ns, bid, ask in zip(chunk.ts_ns, chunk.bid, chunk.ask, strict=True):
                if len(sent) >= most:
                    break
                wait = began + len(sent) / rate - time.monotonic()
                await asyncio.sleep(max(wait, 0.0))
                sent.append(time.perf_counter())
                made[0].quote(feed.instrument.symbol, ts_ns, bid, ask)
        while len(times) < len(sent):
            await asyncio.sleep(0.001)
        await node.stop_async()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    loop.run_until_complete(drive())
    node.dispose()
    assert len(times) == len(sent) > 0
    return times
