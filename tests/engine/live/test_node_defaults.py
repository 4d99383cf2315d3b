"""Five defaults of NautilusTrader that cost money or state are set otherwise; each is proved on a session."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from nautilus_trader.model.enums import TradingState

from aiopt.backtest.strategy import SpecStrategy
from aiopt.live.feeds.warm_up import bars_of_store, rows_of
from aiopt.live.node.paper_node import PaperNode, node_config
from aiopt.live.session.run_folder import prove_session
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from tests.engine.live.live_sessions import UNEVENTFUL, config_of, kinds, run, traded


@pytest.fixture
def config(store: Path, tmp_path: Path) -> Any:
    return config_of(store, traded(tmp_path / "specs", {"R": FAMILIES["bollinger_breakout"].spec}))


def test_the_settings_say_so() -> None:
    made = node_config("AIOPT-1")
    for engine in (made.data_engine, made.risk_engine, made.exec_engine):
        assert engine.graceful_shutdown_on_exception
    assert made.risk_engine.bypass
    assert made.exec_engine.inflight_check_interval_ms == 0
    assert not made.exec_engine.reconciliation


def test_bars_follow_the_stamps_and_not_the_clock(
    config: Any, store: Path, tmp_path: Path, monkeypatch
) -> None:
    """A replayed day, over in a second of wall time, gives every bar, as it was built from the ticks."""
    seen = []
    deliver = SpecStrategy.on_bar

    def watched(self: Any, bar: Any) -> None:
        assert bar.bar_type.is_externally_aggregated()
        seen.append((bar.ts_event, self._rules.stream.last))
        deliver(self, bar)

    monkeypatch.setattr("aiopt.live.node.guarded.LiveSpecStrategy.on_bar", watched)
    run(config, tmp_path / "run")
    frame = config.strategies[0].frame
    built = list(rows_of(bars_of_store(store, frame)))[:-1]
    assert [row[:11] for _, row in seen] == [row[:11] for row in built]
    assert [ts_ns for ts_ns, _ in seen] == [row.ts_open_ns + frame.ns for row in built]


def test_stop_and_target_come_with_the_entry_and_go_with_the_position(config: Any, tmp_path: Path) -> None:
    _, _, events = run(config, tmp_path / "run")
    assert kinds(events).keys() <= UNEVENTFUL, "an exit was refused"
    held: dict[str, float] = {}
    exits: dict[str, set[str]] = defaultdict(set)
    checked = 0
    stamp = None
    for event in events:
        if stamp is not None and event.get("ts_ns") != stamp:
            for position in held:
                checked += 1
                assert exits[position], f"{position} has no exit behind its step"
        stamp = event.get("ts_ns")
        if event["type"] != "filled":
            continue
        held[event["position_id"]] = event["held"]
        if event["held"] == 0.0:
            del held[event["position_id"]]
        exits[event["position_id"]].add(event["order_id"])
    assert checked > 10
    with SessionFile(tmp_path / "run") as file:
        assert json.loads(file.state()["venue"])["orders"] == [], "an exit outlived its position"


def test_a_halted_risk_engine_lets_closes_pass(config: Any, store: Path, tmp_path: Path, monkeypatch) -> None:
    begin = PaperNode.start

    async def halted(self: PaperNode) -> None:
        await begin(self)
        self.kernel.risk_engine.set_trading_state(TradingState.HALTED)

    monkeypatch.setattr(PaperNode, "start", halted)
    end, trades, events = run(config, tmp_path / "run")
    assert kinds(events).keys() <= UNEVENTFUL
    with SessionFile(tmp_path / "run") as file:
        assert all(proof.holds for proof in prove_session(file, config))
    assert (end.account.margin, len(trades) > 3) == (0.0, True)


@pytest.mark.parametrize("handler", ["warm", "_opened", "_left"])
def test_an_exception_stops_one_strategy_and_no_process(
    store: Path, tmp_path: Path, monkeypatch, handler: str
) -> None:
    """The other strategy trades as ever; what the broken one holds is closed."""
    specs = {"A": FAMILIES["bollinger_breakout"].spec, "B": FAMILIES["bollinger_breakout"].spec}
    config = config_of(store, traded(tmp_path / "specs", specs))
    as_ever = getattr(SpecStrategy, handler)
    calls = 0

    def breaks(self: Any, *args: Any) -> Any:
        nonlocal calls
        if self.id.get_tag() == "A":
            calls += 1
            if calls >= (120 if handler == "warm" else 3):
                raise RuntimeError("made up for a test")
        return as_ever(self, *args)

    monkeypatch.setattr(SpecStrategy, handler, breaks)
    end, trades, events = run(config, tmp_path / "run")
    assert (end.ended, end.broken) == (True, {"A": "RuntimeError: made up for a test"})
    assert kinds(events)["strategy_broken"] == 1
    assert end.account.margin == 0.0, "what the broken strategy held is still open"
    monkeypatch.setattr(SpecStrategy, handler, as_ever)
    alone = run(config, tmp_path / "alone")[1]
    assert [t for t in trades if t.strategy == "B"] == [t for t in alone if t.strategy == "B"] != []
    at = next(number for number, event in enumerate(events) if event["type"] == "strategy_broken")
    later = [e for e in events[at:] if e["type"] == "accepted" and e["strategy"] == "A"]
    assert len(later) <= 1, "a broken strategy went on trading"
