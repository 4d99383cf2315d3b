"""Sessions that are killed anywhere go on from their last step and end as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.run_folder import trades_of
from aiopt.live.session.status import status_of
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from aiopt.testing.random_specs import random_spec
from tests.engine.live.live_sessions import committed, config_of, run, stretch, traded

KILLS = 20
WAIT_S = 600.0


def process(config: LiveConfig, out: Path, killed_after_s: float | None) -> int | None:
    """Run a stretch in a process of its own and return how it ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.live.live_sessions"])
    child = context.Process(target=stretch, args=(config, out, killed_after_s))
    child.start()
    child.join(WAIT_S)
    assert child.exitcode is not None, "a stretch did not end"
    return child.exitcode


def specs() -> dict[str, Any]:
    return {
        "E": FAMILIES["ema_cross_atr"].spec,
        "B": FAMILIES["bollinger_breakout"].spec,
        "P": random_spec(4, adds=True),
        "T": random_spec(7, exits=True, targets=True),
    }


def assert_covered(state: dict[str, Any], stopless: set[str]) -> int:
    """Check that each position has its stop, or is being closed; return the number of positions."""
    stops: Counter[str] = Counter()
    closing: Counter[str] = Counter()
    for one in state["orders"]:
        order = one["order"]
        if order["position_id"] is not None:
            counted = {"stop": stops, "market": closing}.get(order["kind"])
            if counted is not None:
                counted[order["position_id"]] += one["left"]
    for position in state["positions"]:
        units = sum(lot["units"] for lot in position["lots"])
        name = position["position_id"]
        if position["strategy"] not in stopless:
            assert stops[name] == units or closing[name] == units, (position, state["orders"])
    return len(state["positions"])


@pytest.mark.slow
def test_twenty_kills_change_nothing(store: Path, tmp_path: Path) -> None:
    strategies = traded(tmp_path / "specs", specs(), "1m")
    stopless = {name for name, spec in specs().items() if spec.stop_loss is None}
    assert len(stopless) < 3
    config = config_of(store, strategies)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert process(config, whole, None) == 0
    seconds = float((whole / "seconds").read_text())
    draw = random.Random(5)
    deaths = positions = 0
    places = []
    for _ in range(10 * KILLS):
        code = process(config, killed, draw.uniform(0.0, seconds / 12))
        state = committed(killed)
        if state is not None:
            positions += assert_covered(state, stopless)
        if code == 0:
            break
        assert code == -9
        deaths += 1
        if state is not None:
            found = status_of(killed)
            places.append(found["position"])
            if found["state"] == "ended":
                break  # killed behind its last commit, before its process was gone
        if deaths == KILLS:
            assert process(config, killed, None) == 0
            break
    assert deaths >= 5
    assert positions > 0
    assert places == sorted(places)
    assert len(set(places)) > 3
    with SessionFile(whole) as left, SessionFile(killed) as right:
        assert trades_of(left) == trades_of(right) != []
        ends = [msgspec.json.decode(file.state()["venue"]) for file in (left, right)]
        assert ends[0]["balance"] == ends[1]["balance"]
        assert (ends[0]["positions"], ends[0]["seq"]) == (ends[1]["positions"], ends[1]["seq"])
        events = [json.loads(value) for _, _, value in right.events()]
        expected = [json.loads(value) for _, _, value in left.events()]
    accepted = [event["order_id"] for event in events if event["type"] == "accepted"]
    assert len(accepted) == len(set(accepted)), "an order was sent twice"
    numbers = [event["seq"] for event in events if "seq" in event]
    assert numbers == list(range(1, len(numbers) + 1)), "an event is lost or came twice"
    assert len(numbers) == sum("seq" in event for event in expected)


def half(config: LiveConfig, out: Path, quotes: int) -> None:
    """Run a session until so many quotes were taken and a position is open, then stop it in order."""
    with SessionFile(out) as file:
        session = LiveSession(config, file)

        def look(done: float) -> None:
            if done >= quotes and status_of(out)["positions"]:
                session.stop()

        end = session.run(look)
        assert not end.ended


def test_what_was_left_open_lives_on(store: Path, tmp_path: Path) -> None:
    config = config_of(store, traded(tmp_path / "specs", {"R": FAMILIES["stochastic_sma"].spec}, "1m"))
    slow = msgspec.structs.replace(config, feed=msgspec.structs.replace(config.feed, speed=20_000.0))
    whole = run(config, tmp_path / "whole")
    half(config, tmp_path / "left", 2_000)
    assert slow.config_hash == config.config_hash
    before = status_of(tmp_path / "left")
    assert (before["state"], len(before["positions"])) == ("left", 1)
    waiting = {one["order_id"] for one in before["orders"]}
    end, trades, events = run(config, tmp_path / "left")
    assert (end.resumed, end.ended, end.account) == (True, True, whole[0].account)
    assert trades == whole[1]
    done = {event["order_id"] for event in events if event["type"] in ("filled", "cancelled")}
    assert waiting <= done, "an order that was restored neither filled nor could be cancelled"
    assert status_of(tmp_path / "left")["state"] == "ended"


def test_a_session_may_begin_flat(store: Path, tmp_path: Path) -> None:
    config = config_of(store, traded(tmp_path / "specs", {"R": FAMILIES["stochastic_sma"].spec}, "1m"))
    half(config, tmp_path / "left", 2_000)
    (held,) = status_of(tmp_path / "left")["positions"]
    flat = msgspec.structs.replace(config, on_start="flat")
    _, trades, events = run(flat, tmp_path / "left")
    closed = next(trade for trade in trades if trade.entry_ts_ns == held["entry_ts_ns"])
    assert closed.exit_reason == "flatten"
    assert any(event["type"] == "flat_on_start" for event in events)


def test_one_process_at_a_time(store: Path, tmp_path: Path) -> None:
    config = config_of(store, traded(tmp_path / "specs", {"R": FAMILIES["stochastic_sma"].spec}))
    with SessionFile(tmp_path / "run"):
        assert process(config, tmp_path / "run", None) == 1
        with pytest.raises(ConfigError, match="One process runs a session at a time"):
            SessionFile(tmp_path / "run")
    assert process(config, tmp_path / "run", None) == 0


def test_a_session_goes_on_with_what_it_began_with(store: Path, tmp_path: Path) -> None:
    strategies = traded(tmp_path / "specs", {"R": FAMILIES["stochastic_sma"].spec}, "1m")
    config = config_of(store, strategies)
    half(config, tmp_path / "left", 2_000)
    for changed, what in (
        (config_of(store, strategies, account={"leverage": 10.0}), "configuration"),
        (config_of(store, strategies, feed={"stop": "2024-03-06"}), "configuration"),
    ):
        with SessionFile(tmp_path / "left") as file, pytest.raises(ConfigError, match=what):
            LiveSession(changed, file)
    Path(strategies[0].spec).write_text(FAMILIES["rsi_reversion"].spec.to_json())
    with SessionFile(tmp_path / "left") as file, pytest.raises(ConfigError, match="strategies' specs"):
        LiveSession(config, file)
    Path(strategies[0].spec).write_text(FAMILIES["stochastic_sma"].spec.to_json())
    run(config, tmp_path / "left")
    with SessionFile(tmp_path / "left") as file, pytest.raises(ConfigError, match="at the end of its feed"):
        LiveSession(config, file)
