"""Quotes through NautilusTrader's client of TWS, against a server that speaks as TWS does."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from nautilus_trader.model.data import QuoteTick

from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds.feed_config import InteractiveBrokersFeed
from aiopt.live.feeds.seam import Batch
from aiopt.live.node import interactive_brokers
from aiopt.live.node.interactive_brokers import BrokerQuotes
from aiopt.timeframe import parse_timeframe
from tests.engine.live.tws_server import TwsServer

SECOND = 1_715_076_000
WAIT_S = 120.0
FIVE = parse_timeframe("5m")

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("ibapi") is None,
    reason='the broker\'s library is not installed (pip install "nautilus_trader[ib]")',
)


@pytest.fixture
def tws() -> Iterator[TwsServer]:
    with TwsServer() as found:
        yield found


async def until_quotes(batches: Any, count: int) -> list[Batch]:
    found: list[Batch] = []
    while sum(len(one.places) for one in found) < count:
        found.append(await anext(batches))
    return found


async def until_subscribed(batches: Any, tws: TwsServer) -> list[Batch]:
    found: list[Batch] = []
    while not tws.subscribed.is_set():
        found.append(await anext(batches))
    return found


@needs_library
def test_quotes_come_as_tws_tells_them(tws: TwsServer) -> None:
    async def body() -> None:
        feed = BrokerQuotes(InteractiveBrokersFeed(port=tws.port), clock=lambda: (SECOND + 1) * 10**9)
        batches = feed.batches(5)
        async with asyncio.timeout(WAIT_S):
            await until_subscribed(batches, tws)
            tws.quote(SECOND, 1.07001, 1.07003)
            tws.quote(SECOND, 1.07002, 1.07004)
            found = await until_quotes(batches, 2)
            assert [place for one in found for place in one.places] == [5, 6]
            assert [ts_ns for one in found for ts_ns in one.ts_ns] == [SECOND * 10**9] * 2
            assert [bid for one in found for bid in one.bid] == [1.07001, 1.07002]
            assert [ask for one in found for ask in one.ask] == [1.07003, 1.07004]
            assert found[-1].bid_size[0] == 1_000_000.0
            assert found[-1].arrived_ns == (SECOND + 1) * 10**9
            first = next(one for one in found if one.places)
            assert first.hole == "the session begins in the middle of what is quoted"
            await batches.aclose()
        asked = {request[0] for request in tws.requests}
        ticks = next(request for request in tws.requests if request[0] == "97")
        assert ticks[3:5] == ["EUR", "CASH"]
        assert {"IDEALPRO", "USD", "BidAsk"} <= set(ticks)
        assert "3" not in asked, "an order was sent"

    asyncio.run(body())


@needs_library
def test_a_lost_connection_is_a_hole(tws: TwsServer) -> None:
    async def body() -> None:
        batches = BrokerQuotes(InteractiveBrokersFeed(port=tws.port)).batches(0)
        async with asyncio.timeout(WAIT_S):
            await until_subscribed(batches, tws)
            tws.quote(SECOND, 1.07001, 1.07003)
            await until_quotes(batches, 1)
            tws.hang_up()
            found = await until_subscribed(batches, tws)
            tws.quote(SECOND + 9, 1.07005, 1.07007)
            found += await until_quotes(batches, 1)
            await batches.aclose()
        notes = [text for one in found for text in one.notes]
        assert notes == [
            "the connection to TWS or Gateway is lost; it is tried again",
            "over: the connection is back",
        ]
        first = next(one for one in found if one.places)
        assert (list(first.places), first.hole) == ([1], "the connection to TWS or Gateway was lost")

    asyncio.run(body())


@needs_library
def test_who_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def body() -> None:
        feed = BrokerQuotes(InteractiveBrokersFeed(port=port, connect_s=0.5))
        with pytest.raises(ConfigError, match=rf"must answer at 127.0.0.1:{port} within 0.5 s"):
            async with asyncio.timeout(WAIT_S):
                async for batch in feed.batches(0):
                    assert not batch.places

    asyncio.run(body())


@needs_library
def test_what_is_missed_is_missed() -> None:
    feed = BrokerQuotes(InteractiveBrokersFeed())
    assert (feed.lost_since(0), feed.lost_since(9), feed.is_live) == (False, True, True)
    assert feed.history(FIVE, 0, 10**18) == []
    with pytest.raises(DataError, match="EURXXX"):
        BrokerQuotes(InteractiveBrokersFeed(instrument="EURXXX"))


class MadeClient:
    """The adapter's client without a socket, for machines without the broker's library."""

    made: ClassVar[list[MadeClient]] = []

    def __init__(self, *, loop: Any, msgbus: Any, cache: Any, clock: Any, **place: Any) -> None:
        del loop, clock
        self.msgbus, self.pair, self.place = msgbus, cache.instruments()[0], place
        self._is_client_ready = asyncio.Event()
        self._eclient = self
        self.did: list[str] = []
        self.made.append(self)

    def start(self) -> None:
        self._is_client_ready.set()

    def stop(self) -> None:
        self.did.append("stop")

    def disconnect(self) -> None:
        self.did.append("disconnect")

    async def subscribe_ticks(
        self, name: Any, contract: dict[str, str], kind: str, *, ignore_size: bool
    ) -> None:
        assert (str(name), kind, ignore_size) == ("EUR/USD.IDEALPRO", "BidAsk", True)
        assert contract == {"secType": "CASH", "exchange": "IDEALPRO", "symbol": "EUR", "currency": "USD"}
        self.quote(SECOND, 1.07001)

    def quote(self, second: int, bid: float) -> None:
        prices = {"bid_price": self.pair.make_price(bid), "ask_price": self.pair.make_price(bid + 1e-5)}
        sizes = {"bid_size": self.pair.make_qty(1_000), "ask_size": self.pair.make_qty(2_000)}
        stamps = {"ts_event": second * 10**9, "ts_init": second * 10**9}
        tick = QuoteTick(instrument_id=self.pair.id, **prices, **sizes, **stamps)
        self.msgbus.send(endpoint="DataEngine.process", msg=tick)


def test_the_feed_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive_brokers, "SILENCE_S", 0.02)

    async def body() -> None:
        feed = BrokerQuotes(InteractiveBrokersFeed(port=7497), adapter=lambda: (MadeClient, dict))
        batches = feed.batches(0)
        async with asyncio.timeout(WAIT_S):
            (first,) = await until_quotes(batches, 1)
            assert (list(first.bid), list(first.ask_size)) == ([1.07001], [2_000.0])
            assert "in the middle" in first.hole
            client = MadeClient.made[-1]
            assert client.place == {"host": "127.0.0.1", "port": 7497, "client_id": 71}
            client._is_client_ready.clear()
            assert (await anext(batches)).notes == (
                "the connection to TWS or Gateway is lost; it is tried again",
            )
            client._is_client_ready.set()
            assert (await anext(batches)).notes == ("over: the connection is back",)
            client.quote(SECOND + 5, 1.07002)
            (*_, last) = await until_quotes(batches, 1)
            assert (list(last.places), "was lost" in last.hole) == ([1], True)
            await batches.aclose()
        assert client.did == ["stop", "disconnect"]

    asyncio.run(body())


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("ibapi", interactive_brokers._ADAPTER))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ibapi", None)
    with pytest.raises(ConfigError, match=r'pip install "nautilus_trader\[ib\]"'):
        BrokerQuotes(InteractiveBrokersFeed())
    with pytest.raises(ConfigError, match=r"`feed.port` is 1 to 65535"):
        InteractiveBrokersFeed(port=0)
