"""Commands to a session that runs: what each changes, what it refuses, and that it acts once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.bus.audit import AuditJournal
from aiopt.bus.codec import decode_event
from aiopt.bus.commanding import send_command
from aiopt.bus.commands import PauseEntries
from aiopt.bus.connecting import transport_of
from aiopt.bus.events import CommandOutcome, Fill, Order, Position, WouldTrade
from aiopt.errors import StorageError
from aiopt.live.control.control_socket import DOOR, ask
from aiopt.live.control.controls import ControlState, changed_by
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.run_folder import prove_session, trades_of
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from aiopt.testing.random_specs import random_spec
from tests.engine.live.bus_reading import events_told
from tests.engine.live.live_sessions import config_of, run, traded
from tests.engine.live.steered import Hand, holds, steered

PACE = {"start": "2024-03-05T06:00", "speed": 1_800.0}
"""Half an hour a second."""


def families(store: Path, tmp_path: Path, *names: str, **changes: Any) -> Any:
    specs = traded(tmp_path / "specs", {name[0].upper(): FAMILIES[name].spec for name in names}, "1m")
    named = tuple(
        msgspec.structs.replace(one, spec=name) for one, name in zip(specs, names, strict=True)
    )  # a ready family brings the ranges of its search
    return config_of(store, named, feed=PACE, **changes)


def open_position(status: dict[str, Any], strategy: str) -> dict[str, Any] | None:
    return next((one for one in status["positions"] if one["strategy"] == strategy), None)


def exits(status: dict[str, Any], position: str) -> dict[str, tuple[str, float]]:
    return {
        one["kind"]: (one["order_id"], one["price"])
        for one in status["orders"]
        if one["position_id"] == position
    }


def test_levels_move_at_the_venue_and_not_to_the_wrong_side(store: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def script(hand: Hand) -> None:
        hand.hold(holds("B"))
        held = open_position(hand.status(), "B")
        assert held is not None
        seen["before"] = exits(hand.status(), held["position_id"])
        quote, side = hand.status()["last_quote"], held["side"]
        near = quote["bid"] if side > 0 else quote["ask"]
        which = {"strategy": "B", "position_id": held["position_id"]}
        far = round(near - side * 0.01, 5)
        seen["wrong"] = hand.send("set_levels", **which, stop=round(near + side * 0.01, 5))
        seen["wrong target"] = hand.send("set_levels", **which, target=far)
        seen["fine"] = hand.send("set_levels", **which, stop=far + 0.0000001)
        seen["gone"] = hand.send("set_levels", strategy="B", position_id="P-1", stop=far)
        seen["moved"] = hand.send("set_levels", **which, stop=far, target=round(near + side * 0.02, 5))
        seen["after"] = exits(hand.status(), held["position_id"])
        seen["far"], seen["position"] = far, held["position_id"]
        hand.go()
        hand.bars(3)

    steered(families(store, tmp_path, "bollinger_breakout"), tmp_path / "run", script)
    assert [seen[name].rule for name in ("wrong", "wrong target", "fine", "gone")] == [
        *("out_of_range",) * 3,
        "unknown_position",
    ]
    assert "would be reached at once" in seen["wrong"].reason
    assert seen["moved"].status == "applied", seen["moved"]
    assert seen["after"]["stop"] == (seen["before"]["stop"][0], seen["far"])
    assert seen["moved"].after["stop"] == seen["far"]
    told = events_told(tmp_path / "run")[1]
    moved = [one for one in told if isinstance(one, Order) and one.state == "modified"]
    assert (moved[0].role, moved[0].price, moved[0].position_id) == ("stop", seen["far"], seen["position"])
    assert [one.status for one in told if isinstance(one, CommandOutcome)] == ["refused"] * 4 + ["applied"]


def test_entries_are_paused_sized_and_only_observed(store: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def script(hand: Hand) -> None:
        hand.hold(holds("S"))
        seen["unknown"] = hand.send("pause_entries", strategy="s")
        seen["pause"] = hand.send("pause_entries")
        hand.go()
        hand.bars(40)
        seen["resume"] = hand.send("resume_entries", strategy="S")
        seen["size"] = hand.send("set_size_factor", factor=0.25)
        seen["entries"] = len(entries(hand.folder))
        hand.wait(lambda status: len(entries(hand.folder)) > seen["entries"] + 1)
        seen["observe"] = hand.send("set_mode", mode="observe")
        hand.bars(40)
        seen["model"] = hand.send("switch_model", model="other")

    end = steered(families(store, tmp_path, "stochastic_sma"), tmp_path / "run", script)
    assert not end.ended
    assert seen["unknown"].rule == "unknown_strategy"
    assert "no strategy 's'" in seen["unknown"].reason
    assert (seen["pause"].before, seen["pause"].after) == ({"S": "running"}, {"S": "paused"})
    assert seen["resume"].after == {"S": "running"}
    assert (seen["size"].before, seen["size"].after) == ({"S": 1.0}, {"S": 0.25})
    assert seen["model"].rule == "not_supported"
    told = events_told(tmp_path / "run")[1]
    place = {one.command_id: number for number, one in enumerate(told) if isinstance(one, CommandOutcome)}
    at = {name: place[seen[name].command_id] for name in ("pause", "resume", "size", "observe")}
    units = {name: [one.units for one in told[start:stop] if is_entry(one)] for name, start, stop in (
        ("running", 0, at["pause"]),
        ("paused", at["pause"], at["resume"]),
        ("quarter", at["size"], at["observe"]),
        ("observed", at["observe"], None),
    )}  # fmt: skip
    assert units["running"]
    assert not units["paused"] + units["observed"]
    assert {one * 4 for one in units["quarter"]} == {units["running"][0]}
    would = {
        name: [one for one in told[start:stop] if isinstance(one, WouldTrade)]
        for name, start, stop in (("paused", at["pause"], at["resume"]), ("observe", at["observe"], None))
    }
    for name, found in would.items():
        assert found, name
        assert all(one.why.startswith(f"{name}: ") for one in found)
        assert all(one.stop is None or (one.stop < one.price) == (one.side == "long") for one in found)
    with SessionFile(tmp_path / "run") as file:
        assert set(changed_by(file.state())["S"]) == {
            "pause_entries",
            "resume_entries",
            "set_size_factor",
            "set_mode",
        }


def is_entry(one: Any) -> bool:
    return isinstance(one, Order) and one.role == "entry" and one.state == "accepted"


def told_by(folder: Path) -> list[Any]:
    """Return the events of a session that runs, as documents."""
    connection = sqlite3.connect(f"file:{folder / 'session.sqlite'}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT value FROM outbox").fetchall()
    finally:
        connection.close()
    return [json.loads(value) for (value,) in rows]


def entries(folder: Path) -> list[Any]:
    return [
        one
        for one in told_by(folder)
        if one["kind"] == "order" and one["role"] == "entry" and one["state"] == "accepted"
    ]


def test_parameters_and_specs_change_whole_or_not_at_all(store: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    space = FAMILIES["stochastic_sma"]
    name, span = next((name, one) for name, one in space.dimensions.items() if hasattr(one, "low"))
    other = FAMILIES["rsi_reversion"].spec

    def script(hand: Hand) -> None:
        def given(**values: Any) -> Any:
            return hand.send("set_parameters", strategy="S", values=values)

        hand.hold(holds("S"))
        seen["far"] = given(**{name: span.high + 1})
        seen["text"] = given(**{name: "long"})
        seen["none"] = given(speed=3)
        seen["set"] = given(**{name: span.high})
        seen["again"] = given(**{name: span.low})
        swap = {"strategy": "S", "spec": json.loads(other.to_json())}
        seen["busy"] = hand.send("swap_spec", **swap)
        seen["flat"] = hand.send("flatten", strategy="S")
        hand.send("pause_entries", strategy="S")
        hand.go()
        hand.wait(lambda status: not status["positions"])
        seen["bad"] = hand.send("swap_spec", strategy="S", spec={"name": "x"})
        seen["adds"] = hand.send(
            "swap_spec", strategy="S", spec=json.loads(random_spec(4, adds=True).to_json())
        )
        seen["swap"] = hand.send("swap_spec", **swap)
        hand.send("resume_entries")
        seen["lost"] = given(**{name: span.high})
        hand.bars(30)

    config = families(store, tmp_path, "stochastic_sma")
    steered(config, tmp_path / "run", script)
    rules = {one: seen[one].rule for one in ("far", "text", "none", "busy", "bad", "adds", "lost")}
    assert rules == {
        "far": "out_of_range",
        "text": "wrong_type",
        "none": "unknown_parameter",
        "busy": "state",
        "bad": "bad_spec",
        "adds": "bad_spec",
        "lost": "out_of_range",
    }
    assert seen["set"].after == {name: span.high}
    assert (seen["again"].before, seen["again"].after) == ({name: span.high}, {name: span.low})
    assert seen["flat"].after["closing"]
    assert seen["swap"].after["spec_hash"] == other.spec_hash
    with SessionFile(tmp_path / "run") as file:
        session = LiveSession(config, file)  # goes on by the other spec
        session.stop()
        assert session.run().resumed
        kept = json.loads(file.state()["controls"])
        assert kept["specs"]["S"]["name"] == other.name


def test_another_spec_that_is_the_same_changes_no_trade(store: Path, tmp_path: Path) -> None:
    """A change takes over what is held, ordered and counted, and indicators are warmed up to the bit."""
    specs = {
        "S": FAMILIES["stochastic_sma"].spec,
        "P": random_spec(4, adds=True),
        "T": random_spec(7, exits=True, targets=True),
    }
    specs["B"] = FAMILIES["bollinger_breakout"].spec
    half = {"start": "2024-03-05T12:00", "stop": "2024-03-06T06:00"}
    config = config_of(store, traded(tmp_path / "specs", specs, "1m"), feed=half)
    whole = run(config, tmp_path / "whole")[1]
    with SessionFile(tmp_path / "run") as file:
        session = LiveSession(config, file)
        exchanged, due = [0, 0], [0.0]

        def look(done: float) -> None:
            if done < due[0]:
                return
            due[0] = done + session.total / 6
            parts = session.parts
            assert parts is not None
            parts.stepper.commit()
            for name, strategy in parts.node.strategies.items():
                decider = parts.decider_of(name, parts.specs.spec_of(name))
                exchanged[strategy.is_at_rest] += 1
                strategy.exchange(decider.source, decider.rules)

        assert session.run(look).ended
        assert trades_of(file) == [msgspec.structs.replace(one) for one in whole]
        assert min(exchanged) > 0, exchanged


def test_a_kill_closes_everything_and_a_stop_leaves_it(store: Path, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def stop(hand: Hand) -> None:
        hand.send("pause_entries", strategy="S")
        hand.send("set_mode", strategy="S", mode="observe")
        hand.send("set_size_factor", strategy="S", factor=0.5)
        hand.hold(holds("B"))
        seen["stop"] = hand.send("stop_session", flatten=False)

    def kill(hand: Hand) -> None:
        hand.hold(lambda stepper: stepper.venue.positions())
        status = hand.status()
        seen["kept"] = status["states"]["S"], status["modes"]["S"], hand.factor("S")
        seen["held"] = len(hand.status()["positions"])
        seen["kill"] = hand.send("kill", reason="enough")
        hand.go()
        hand.wait(lambda status: not status["positions"] and not status["orders"])
        seen["resume"] = hand.send("resume_entries")
        hand.bars(20)
        seen["end"] = hand.send("stop_session", flatten=True)

    config = families(store, tmp_path, "bollinger_breakout", "stochastic_sma")
    first = steered(config, tmp_path / "run", stop)
    assert (first.ended, seen["stop"].status) == (False, "applied")
    assert not (tmp_path / "run" / DOOR).exists()
    steered(config, tmp_path / "run", kill)
    assert seen["held"]
    assert seen["kept"] == ("paused", "observe", 0.5)
    assert seen["kill"].before == {"step": "armed"}
    told = events_told(tmp_path / "run")[1]
    killed = next(
        number
        for number, one in enumerate(told)
        if isinstance(one, CommandOutcome) and one.command_id == seen["kill"].command_id
    )
    assert not [one for one in told[killed:] if is_entry(one)]
    assert [one for one in told[killed:] if isinstance(one, Position) and one.state == "closed"]


def test_a_stop_that_closes_first_ends_flat(store: Path, tmp_path: Path) -> None:
    def script(hand: Hand) -> None:
        hand.hold(holds("B"))
        assert hand.send("stop_session", flatten=True).status == "applied"
        hand.go()
        hand.wait(lambda status: status["state"] != "runs" or not status["positions"])

    end = steered(families(store, tmp_path, "bollinger_breakout"), tmp_path / "run", script)
    assert (end.ended, end.account.margin) == (False, 0.0)


def test_a_strategy_that_is_configured_to_observe_sends_no_entry(store: Path, tmp_path: Path) -> None:
    config = families(store, tmp_path, "bollinger_breakout", "stochastic_sma")
    watched, trades = config.strategies
    feed = msgspec.structs.replace(config.feed, speed=0.0, stop="2024-03-05T12:00")
    config = msgspec.structs.replace(
        config, feed=feed, strategies=(msgspec.structs.replace(watched, mode="observe"), trades)
    )
    with SessionFile(tmp_path / "run") as file:
        assert LiveSession(config, file).run().ended
        told = events_of(file)
        first, second = prove_session(file, config)
    assert {one.strategy for one in told if is_entry(one)} == {"S"}
    would = [one for one in told if isinstance(one, WouldTrade)]
    assert {one.strategy for one in would} == {"B"}
    assert all(one.stop is not None and one.why.startswith("observe: ") for one in would)
    assert (first.changed, first.holds) == (("observe",), True)
    assert (second.changed, second.same, set(second.why) <= {"both_legs", "follows"}) == (
        (),
        second.backtest,
        True,
    )


def test_a_command_acts_once_over_a_crash(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its effect is committed, its outcome was not noted: the next start answers from the commit."""
    config = families(store, tmp_path, "stochastic_sma")
    out, sent = tmp_path / "run", []
    append = AuditJournal.append

    def full(self: AuditJournal, payload: bytes) -> None:
        if b'"settled"' in payload and b"set_size_factor" in payload:
            raise StorageError("No space left.")
        append(self, payload)

    def script(hand: Hand) -> None:
        sent.append(hand.command("set_size_factor", factor=0.5))
        hand.send("pause_entries", id="p1")
        assert hand.send("pause_entries", id="p1").again
        hand.bars(2)
        with pytest.raises(Exception, match=r"ended before it answered|did not answer|does not answer"):
            ask(hand.folder, sent[0], 2.0)

    monkeypatch.setattr(AuditJournal, "append", full)
    with pytest.raises(StorageError, match="No space left"):
        steered(config, out, script)
    monkeypatch.undo()
    with SessionFile(out) as file:
        effect = ControlState(file.state(), {}).applied(sent[0].id)
        assert effect is not None
        assert effect.after == {"S": 0.5}
        before = [one for one in events_of(file) if isinstance(one, CommandOutcome)]
        session = LiveSession(config, file)
        session.stop()
        session.run()
        after = [one for one in events_of(file) if isinstance(one, CommandOutcome)][len(before) :]
    assert [(one.command_id, one.status, one.after) for one in after] == [(sent[0].id, "applied", {"S": 0.5})]
    assert [one.command_id for one in before] == ["p1"]


def events_of(file: SessionFile) -> list[Any]:
    return [decode_event(document.encode()) for _, document in file.outbox()]


def test_what_was_asked_on_the_bus_before_the_start_is_done(store: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(families(store, tmp_path, "stochastic_sma"), bus="memory:early")
    config = msgspec.structs.replace(config, feed=msgspec.structs.replace(config.feed, speed=0.0))
    with SessionFile(tmp_path / "run") as file:
        session = LiveSession(config, file)
        asked = {"session": session.session_id, "by": "me", "made_ns": 1}

        async def before() -> Any:
            bus = transport_of("memory:early")
            await bus.open()
            for number in ("b1", "b1", "b2"):
                await send_command(bus, PauseEntries(id=number, **asked), wait_s=None)
            return bus

        bus = asyncio.run(before())
        assert session.run().ended
        told = [one for one in events_of(file) if isinstance(one, CommandOutcome)]
        assert not [one for one in events_of(file) if isinstance(one, Fill)]
        assert [one.changed for one in prove_session(file, config)] == [("pause_entries",)]
        del bus
    assert sorted(one.command_id for one in told) == ["b1", "b1", "b2"]
    assert all(one.status == "applied" for one in told)
