"""What a session tells is what its commits hold, also when the bus is cut or the process killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from aiopt.bus.connecting import start_local, transport_of
from aiopt.bus.events import Account, Bar, Fill, Health, Order, Position, Quote, Signal
from aiopt.bus.failures import BusDownError
from aiopt.bus.local_server import read_record
from aiopt.errors import AioptError
from aiopt.live.control.telling_rest import tell_rest
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.run_folder import trades_of
from aiopt.live.session.status import status_of
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from tests.engine.live.bus_reading import events_on, events_told
from tests.engine.live.live_sessions import config_of, run, traded
from tests.engine.live.test_restarts import process

WAIT_S = 240.0
HOURS = {"start": "2024-03-05T06:00", "stop": "2024-03-05T12:00"}


def strategies(tmp_path: Path, *names: str) -> tuple:
    return traded(tmp_path / "specs", {name[0].upper(): FAMILIES[name].spec for name in names}, "1m")


def test_everything_that_happens_is_told_in_its_order(store: Path, tmp_path: Path) -> None:
    made = config_of(store, strategies(tmp_path, "stochastic_sma", "bollinger_breakout"), feed=HOURS)
    made = msgspec.structs.replace(made, bus="memory:telling", quotes_every_s=0.0)
    kept = transport_of("memory:telling")  # a bus in memory ends with its last user
    asyncio.run(kept.open())
    end, trades, rows = run(made, tmp_path / "run")
    session, told = events_told(tmp_path / "run")
    assert events_on("memory:telling", session, 0.05) == told
    assert len({one.id for one in told}) == len(told)
    found = {kind: [one for one in told if type(one) is kind] for kind in {type(one) for one in told}}
    assert len(found[Quote]) == end.quotes - end.dropped
    assert len(found[Fill]) == sum(row["type"] == "filled" for row in rows) > 10
    closed = [one for one in found[Position] if one.state == "closed"]
    assert [(one.strategy, one.reason, one.profit) for one in closed] == [
        (one.strategy, one.exit_reason, one.pnl) for one in trades
    ]
    opened = [one for one in found[Position] if one.state == "opened"]
    assert len(opened) == len(closed)
    assert all(one.stop is not None for one in opened if one.strategy == "B")
    assert found[Account][-1].balance == end.account.balance
    assert {one.state for one in found[Order]} >= {"accepted", "filled", "cancelled"}
    entries = {one.order_id for one in found[Order] if one.role == "entry" and one.state == "accepted"}
    assert len(entries) <= len([one for one in found[Signal] if one.action.startswith("enter")])
    bars = [one for one in found[Bar] if one.series == "EURUSD-1m"]
    assert bars == sorted(bars, key=lambda one: one.open_ns)
    assert [one.text for one in found[Health] if one.part == "node"] == ["began", "at the end of its feed"]
    at = {one.id: place for place, one in enumerate(told)}
    first = next(one for one in found[Order] if one.role == "entry")
    signal_before = [
        one for one in found[Signal] if one.strategy == first.strategy and at[one.id] < at[first.id]
    ]
    assert signal_before[-1].ts_ns == first.ts_ns


def test_without_a_bus_orders_are_told_and_quotes_are_not(store: Path, tmp_path: Path) -> None:
    run(config_of(store, strategies(tmp_path, "stochastic_sma"), feed=HOURS), tmp_path / "run")
    counts = Counter(type(one).__name__ for one in events_told(tmp_path / "run")[1])
    assert counts["Fill"] > 5
    assert not counts["Quote"] + counts["Bar"]


def test_a_bus_that_is_cut_holds_nothing_up_and_loses_nothing(store: Path, tmp_path: Path) -> None:
    out, bus = tmp_path / "run", tmp_path / "bus"
    server = start_local(bus)
    made = config_of(store, strategies(tmp_path, "stochastic_sma"), feed=HOURS | {"speed": 4_000.0})
    made = msgspec.structs.replace(made, bus=f"local:{bus}", quotes_every_s=0.05)
    places: list[int] = []
    try:
        with SessionFile(tmp_path / "run") as file:
            session = LiveSession(made, file)

            def cut() -> None:
                wait_for(lambda: position_of(out) > 0)
                os.kill(server.pid, signal.SIGSTOP)
                places.append(position_of(out))
                time.sleep(2.5)
                wait_for(lambda: position_of(out) > places[0])
                places.append(position_of(out))
                os.kill(server.pid, signal.SIGCONT)

            thread = threading.Thread(target=cut)
            thread.start()
            assert session.run().ended
            assert trades_of(file)
        thread.join(WAIT_S)
        name, told = events_told(tmp_path / "run")
        there = events_on(f"local:{bus}", name)
    finally:
        os.kill(server.pid, signal.SIGCONT)
        server.stop()
    assert places[1] > places[0], "the session stood still while the bus was cut"
    assert there == told
    assert any(isinstance(one, Quote) and one.merged > 1 for one in told)


def position_of(out: Path) -> int:
    try:
        return int(status_of(out)["position"])
    except AioptError:
        return 0  # not begun yet


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


def test_kills_lose_no_event_and_tell_none_twice(store: Path, tmp_path: Path) -> None:
    out, bus = tmp_path / "run", tmp_path / "bus"
    made = config_of(store, strategies(tmp_path, "stochastic_sma"))
    told_on = msgspec.structs.replace(made, bus=f"local:{bus}", quotes_every_s=0.05)
    paced = msgspec.structs.replace(told_on.feed, speed=150_000.0)  # no kill comes behind its end
    killed = msgspec.structs.replace(told_on, feed=paced)
    try:
        codes = [process(killed, out, 0.3), process(killed, out, 0.3)]
        if codes[-1]:
            codes.append(process(told_on, out, None))
        name, told = events_told(out)
        start_local(bus)  # whoever ended last may have stopped the one it found
        there = events_on(f"local:{bus}", name)
    finally:
        record = read_record(bus)
        if record is not None:
            os.kill(record.pid, signal.SIGTERM)
    assert (codes[0], codes[-1]) == (-9, 0)
    assert list({one.id: one for one in there}.values()) == told
    began = [one.text for one in told if isinstance(one, Health) and one.part == "node"]
    assert began[:2] == ["began", "goes on"]
    whole = run(made, tmp_path / "whole")[2]
    expected = [(row["order_id"][7:], row["price"]) for row in whole if row["type"] == "filled"]
    assert [(one.order_id[7:], one.price) for one in told if isinstance(one, Fill)] == expected != []


def test_a_bus_that_is_down_is_told_of_at_the_start_and_told_to_later(store: Path, tmp_path: Path) -> None:
    """Nothing begins without the bus that was asked for; what has begun goes on, and is told afterwards."""
    out, bus = tmp_path / "run", tmp_path / "bus"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        down = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        made = config_of(store, strategies(tmp_path, "stochastic_sma"), feed=HOURS)
        lost = msgspec.structs.replace(made, bus=down)
        for _ in range(2):  # again: it has not begun
            with SessionFile(out) as file, pytest.raises(BusDownError):
                LiveSession(lost, file).run()
        with SessionFile(out) as file:
            session = LiveSession(made, file)
            session.stop()  # behind the first quote
            session.run()
        assert not events_told(out)[1][-1].ts_ns
        with SessionFile(out) as file:
            session = LiveSession(made, file)
            assert not session.run(lambda done: session.stop() if done > 500 else None).ended
        end = run(lost, out)[0]
    assert end.ended
    assert "were not published on the bus" in end.warnings[-1]
    with start_local(bus):
        told = tell_rest(out, f"local:{bus}", 60.0)
        name, kept = events_told(out)
        assert (told.left, told.published) == (0, len(kept))
        assert events_on(f"local:{bus}", name) == kept
        assert tell_rest(out, f"local:{bus}", 60.0) == told
        assert len(events_on(f"local:{bus}", name)) == len(kept)
    assert any(isinstance(one, Health) and (one.part, one.state) == ("bus", "down") for one in kept)
