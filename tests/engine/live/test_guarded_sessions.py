"""Limits and the kill switch of a session, on ticks: what they refuse and close, what a restart keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from tests.engine.live.live_sessions import config_of, kinds, run, traded


def config(store: Path, tmp_path: Path, **limits: Any) -> Any:
    names = ("stochastic_sma", "bollinger_breakout")
    specs = {name[0].upper(): FAMILIES[name].spec for name in names}
    guard = GuardConfig(limits=LimitsConfig(**limits))
    return config_of(store, traded(tmp_path / "specs", specs, "1m"), guard=guard)


@pytest.mark.parametrize(
    ("limits", "rule"),
    [({"max_spread_pips": 0.05}, "max_spread_pips"), ({"max_position_units": 9_999.0}, "max_position_units")],
)
def test_a_limit_refuses_every_entry(store: Path, tmp_path: Path, limits: Any, rule: str) -> None:
    """The engine ignores its own for margin accounts; ours stand in front, and the strategies live on."""
    end, trades, events = run(config(store, tmp_path, **limits), tmp_path / "run")
    refused = [event for event in events if event["type"] == "refused"]
    assert (trades, end.broken) == ([], {})
    assert len(refused) > 5
    assert all(rule in event["text"] for event in refused)
    assert "accepted" not in kinds(events)


def test_some_entries_pass_and_exits_always_do(store: Path, tmp_path: Path) -> None:
    end, trades, events = run(config(store, tmp_path, max_orders_per_minute=2), tmp_path / "run")
    assert "max_orders_per_minute" in str([event for event in events if event["type"] == "refused"])
    assert len(trades) > 5
    assert end.account.margin == 0.0
    assert not [event for event in events if event["type"] in ("uncovered", "strategy_broken")]


def test_a_loss_pulls_the_kill_switch_for_good(store: Path, tmp_path: Path) -> None:
    made = config(store, tmp_path, max_daily_loss=2.0, on_loss="kill")
    end, trades, events = run(made, tmp_path / "run")
    steps = [event["step"] for event in events if event["type"] == "kill"]
    assert steps[-1] == "halted"
    assert "max_daily_loss reached" in str(events)
    pulled = next(n for n, event in enumerate(events) if event["type"] == "breach")
    halted = next(n for n, event in enumerate(events) if event.get("step") == "halted")
    assert end.account.margin == 0.0
    entries = [e for e in events[halted:] if e["type"] in ("accepted", "filled")]
    assert (entries, pulled < halted) == ([], True)
    assert trades[-1].exit_reason in ("kill", "stop_loss", "exit_signal", "take_profit", "reverse")
    whole = run(config(store, tmp_path), tmp_path / "free")[1]
    assert len(trades) < len(whole)


def test_a_pulled_switch_stays_pulled_over_a_restart(store: Path, tmp_path: Path) -> None:
    made = config(store, tmp_path, max_daily_loss=2.0, on_loss="kill")
    with SessionFile(tmp_path / "run") as file:
        session = LiveSession(made, file)

        def look(done: float) -> None:
            guard = json.loads(file.state().get("guard", "{}"))
            if guard and guard["kill"]["step"] != "armed":
                session.stop()

        assert not session.run(look).ended
    before = run_rest(made, tmp_path / "run")
    assert before["kill"]["step"] == "halted"


def run_rest(made: Any, out: Path) -> dict[str, Any]:
    end, _, events = run(made, out)
    began = max(number for number, event in enumerate(events) if event["type"] == "began")
    assert end.resumed
    assert "accepted" not in kinds([e for e in events[began:] if e.get("order_id", "").startswith("S")])
    with SessionFile(out) as file:
        return json.loads(file.state()["guard"])
