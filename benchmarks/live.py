"""Sessions on paper: quotes per second unpaced, time per step, memory, beside a bare NautilusTrader node.

A generated tick store is replayed as fast as it goes, with 1 and with 20 strategies (the ready families on 5m
bars, each in a session file of its own, ``profile: dev``), and by a NautilusTrader node as it comes: its own
queues, one strategy that subscribes to quotes and does nothing, no bars, no venue, no file.  Times of a step
are wall time from the quote to the end of all that followed, the commit included, by what happened in it:
nothing, a bar that ended, events of the venue.  Each is measured in a process of its own.  Memory is what the
process grew by from a quarter of the quotes to their end.

`AIOPT_BENCH_LIVE_DAYS` and `AIOPT_BENCH_LIVE_TICKS` (per day) set the store.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from aiopt.ticks.sample import generate_ticks
from benchmarks._harness import CACHE, Figure

DAYS = int(os.environ.get("AIOPT_BENCH_LIVE_DAYS", "5"))
TICKS = int(os.environ.get("AIOPT_BENCH_LIVE_TICKS", "40000"))
STRATEGIES = (1, 20)
_QUARTER = 4


def run() -> list[Figure]:
    """Measure and return the figures."""
    store = CACHE / f"live-{DAYS}-{TICKS}"
    if not store.exists():
        generate_ticks(store, seed=4, start="2024-03-04", days=DAYS, ticks_per_day=TICKS)
    context = get_context("spawn")
    figures = []
    for count in STRATEGIES:
        with ProcessPoolExecutor(1, context) as process:
            figures += process.submit(_session, store, count).result()
    with ProcessPoolExecutor(1, context) as process:
        figures.append(process.submit(_bare, store).result())
    return figures


def _session(store: Path, count: int) -> list[Figure]:
    """Replay the store through a session of so many strategies."""
    from aiopt.live.paper.paper_config import PaperConfig
    from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec
    from aiopt.live.session.live_session import LiveSession
    from aiopt.live.session.stepping import Stepper
    from aiopt.live.state.session_file import SessionFile
    from aiopt.strategy.families import FAMILIES

    names = list(FAMILIES)
    strategies = tuple(
        TradedSpec(id=f"A{number}", spec=names[number % len(names)], balance=100_000.0)
        for number in range(count)
    )
    config = LiveConfig(
        account=PaperConfig(account_currency="USD", initial_balance=1e5 * count),
        strategies=strategies,
        feed=ReplayFeed(store=str(store)),
        profile="dev",
    )
    spent: dict[str, list[float]] = {"quiet": [], "bar": [], "order": []}
    memory: list[int] = []
    step = Stepper.step

    def timed(self: Any, position: int, *quote: Any) -> None:
        commits, seq = self.commits, self.venue.seq
        bars = sum(len(one.bars) for one in self.series.values())
        began = time.perf_counter()
        step(self, position, *quote)
        took = time.perf_counter() - began
        grew = sum(len(one.bars) for one in self.series.values()) > bars
        kind = "order" if self.venue.seq > seq else "bar" if grew else "quiet"
        spent[kind].append(took)
        if commits == 0 or position % 20_000 == 0:
            memory.append(_resident())

    Stepper.step = timed  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder, SessionFile(Path(folder)) as file:
        end = LiveSession(config, file).run()
    grown = (memory[-1] - memory[len(memory) // _QUARTER]) / 2**20
    name = f"{count}_strategies" if count > 1 else "1_strategy"
    figures = [
        Figure(name=f"{name}_quotes", value=end.quotes, unit="quotes"),
        Figure(name=f"{name}_trades", value=end.trades, unit="trades"),
        Figure(name=f"{name}_unpaced", value=round(end.quotes / end.seconds), unit="quotes/s"),
        Figure(name=f"{name}_memory_grown", value=round(grown, 1), unit="MiB"),
    ]
    for kind, values in spent.items():
        for share in (50, 99):
            micro = float(np.percentile(np.array(values), share)) * 1e6
            figures.append(Figure(name=f"{name}_{kind}_step_p{share}", value=round(micro, 1), unit="us"))
    return figures


def _bare(store: Path) -> Figure:
    """Send the quotes through a NautilusTrader node with its own queues and a strategy that does nothing."""
    from nautilus_trader.live.factories import LiveDataClientFactory
    from nautilus_trader.live.node import TradingNode
    from nautilus_trader.trading.strategy import Strategy

    from aiopt.live.feeds.store_feed import StoreFeed
    from aiopt.live.node.paper_node import NAME, node_config, node_instrument
    from aiopt.live.node.quote_client import QuoteClient

    feed = StoreFeed(store)
    pair = node_instrument(feed.instrument)
    made: list[QuoteClient] = []

    class Factory(LiveDataClientFactory):
        @staticmethod
        def create(loop: Any, name: str, config: Any, msgbus: Any, cache: Any, clock: Any) -> QuoteClient:
            made.append(QuoteClient(loop, name, msgbus, cache, clock, [pair]))
            return made[0]

    class Idle(Strategy):
        seen = 0

        def on_start(self) -> None:
            self.subscribe_quote_ticks(pair.id)

        def on_quote_tick(self, tick: Any) -> None:
            self.seen += 1

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    config = node_config("BARE-1")
    node = TradingNode(config=type(config)(**{**_fields(config), "exec_clients": {}}), loop=loop)
    node.add_data_client_factory(NAME, Factory)
    node.build()
    idle = Idle()
    node.trader.add_strategy(idle)

    async def drive() -> float:
        running = asyncio.ensure_future(node.run_async())
        while not made[0].wants_quotes:
            await asyncio.sleep(0.01)
        began, sent = time.perf_counter(), 0
        for chunk in feed.chunks():
            for ts_ns, bid, ask in zip(chunk.ts_ns, chunk.bid, chunk.ask, strict=True):
                made[0].quote(feed.instrument.symbol, ts_ns, bid, ask)
                sent += 1
                if sent % 256 == 0:
                    await asyncio.sleep(0)
        while idle.seen < sent:
            await asyncio.sleep(0)
        took = time.perf_counter() - began
        await node.stop_async()
        running.cancel()
        return sent / took

    rate = loop.run_until_complete(drive())
    node.dispose()
    return Figure(name="bare_node_empty_strategy_unpaced", value=round(rate), unit="quotes/s")


def _resident() -> int:
    """Return the bytes this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _fields(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}
