"""A session that trades on what another published makes the same trades: over the bus, and from a journal."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from aiopt.bus.events import Event, Health, Quote
from aiopt.bus.journal import JournalWriter
from aiopt.bus.memory import MemoryTransport
from aiopt.errors import ConfigError
from aiopt.live.feeds.feed_config import BusFeed, JournalReplay
from aiopt.live.feeds.store_feed import StoreFeed
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.live_trades import LiveTrade
from aiopt.live.session.proof_ticks import is_provable, ticks_of
from aiopt.live.session.run_folder import prove_session
from aiopt.live.session.status import status_of
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from tests.engine.live.live_sessions import config_of, run, traded


def events_of(store: Path) -> list[Event]:
    """Return all quotes of a store as a session publishes them, none merged, and that its feed is over."""
    found: list[Event] = []
    for chunk in StoreFeed(store).chunks():
        for seq, (ts_ns, bid, ask, *sizes) in enumerate(
            zip(*chunk[1:], strict=True), start=chunk.position + 1
        ):
            head = {"id": f"A:{seq}", "session": "A", "seq": seq, "ts_ns": ts_ns, "wall_ns": 0}
            amounts = {"bid_size": sizes[0], "ask_size": sizes[1]}
            found.append(Quote(**head, instrument="EURUSD", bid=bid, ask=ask, **amounts))
    seq = len(found) + 1
    head = {"id": f"A:{seq}", "session": "A", "seq": seq, "ts_ns": found[-1].ts_ns, "wall_ns": 0}
    return [*found, Health(**head, part="feed", state="down", text="the end of its feed")]


@pytest.fixture(scope="module")
def events(store: Path) -> list[Event]:
    return events_of(store)


@pytest.fixture(scope="module")
def config(store: Path, tmp_path_factory: pytest.TempPathFactory) -> LiveConfig:
    specs = {name: FAMILIES[name].spec for name in ("stochastic_sma", "bollinger_breakout")}
    return config_of(store, traded(tmp_path_factory.mktemp("specs"), specs, "1m"))


@pytest.fixture(scope="module")
def expected(config: LiveConfig, tmp_path_factory: pytest.TempPathFactory) -> list[LiveTrade]:
    trades = run(config, tmp_path_factory.mktemp("whole") / "run")[1]
    assert len(trades) > 20
    return trades


@pytest.fixture
def bus(config: LiveConfig, expected: list[LiveTrade], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A bus in this process on which a session has published all of its quotes; and the session's id."""
    server = MemoryTransport("published")
    asyncio.run(_open(server))
    telling = msgspec.structs.replace(config, bus="memory:published", quotes_every_s=0.0)
    end, trades, _ = run(telling, tmp_path / "telling")
    assert trades == expected
    yield "memory:published", end.session
    asyncio.run(server.close())


async def _open(server: MemoryTransport) -> None:
    await server.open()


def killed(config: LiveConfig, out: Path) -> Path:
    """Run a session until a position is open in the middle; return its folder as a kill would leave it."""
    left = out.with_name("killed")
    with SessionFile(out) as file:
        session = LiveSession(config, file)

        def look(place: float) -> None:
            if place > 3_000 and not left.exists() and status_of(out)["positions"]:
                shutil.copytree(out, left, ignore=shutil.ignore_patterns("*.sock"))
                session.stop()

        assert not session.run(look).ended
    return left


def test_quotes_of_a_bus_give_the_same_trades(
    config: LiveConfig,
    bus: tuple[str, str],
    events: list[Event],
    expected: list[LiveTrade],
    tmp_path: Path,
) -> None:
    feed = BusFeed(url=bus[0], session=bus[1], start="oldest", is_replayed=True)
    there = msgspec.structs.replace(config, feed=feed)
    with pytest.raises(ConfigError, match="a feed of kind bus"), ticks_of(there):
        pass
    left = killed(there, tmp_path / "run")
    end, trades, told = run(there, left)
    assert (end.ended, end.resumed, end.dropped) == (True, True, 0)
    assert trades == expected
    assert not [one for one in told if one["type"] == "hole"]
    status = status_of(left)
    assert (status["feed"]["kind"], status["taken"]) == ("bus", len(events) - 1)


def test_a_journal_gives_the_same_trades_and_the_backtest(
    config: LiveConfig, events: list[Event], expected: list[LiveTrade], tmp_path: Path
) -> None:
    with JournalWriter(tmp_path / "journal") as writer:
        for first in range(0, len(events), 2_000):
            writer.append(events[first : first + 2_000])
    there = msgspec.structs.replace(config, feed=JournalReplay(journal=str(tmp_path / "journal")))
    left = killed(there, tmp_path / "run")
    end, trades, _ = run(there, left)
    assert (end.ended, end.resumed) == (True, True)
    assert trades == expected
    assert is_provable(there)
    with SessionFile(left) as file:
        proofs = prove_session(file, there)
    assert [proof.holds for proof in proofs] == [True, True]
    assert sum(proof.same for proof in proofs) > len(trades) // 2
