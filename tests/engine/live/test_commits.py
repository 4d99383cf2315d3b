"""A commit writes the strategies that were touched, and no other can have changed."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.session.stepping import Stepper
from aiopt.strategy.families import FAMILIES
from tests.engine.live.live_sessions import config_of, run, traded


def test_what_a_commit_leaves_out_has_not_changed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = traded(tmp_path / "fast", {"F": FAMILIES["stochastic_sma"].spec}, "1m")
    slow = traded(
        tmp_path / "slow", {name: FAMILIES[name].spec for name in ("rsi_reversion", "ema_cross_atr")}
    )
    guard = GuardConfig(limits=LimitsConfig(max_notional=25_000.0))
    config = config_of(store, (*fast, *slow), guard=guard, profile="paper", feed={"stop": "2024-03-05T20:00"})
    left_out: list[str] = []
    commit = Stepper.commit

    def checked(self: Stepper, touched: Collection[str] | None = None) -> None:
        told = None if touched is None else set(touched)
        commit(self, told)
        for name, strategy in self.node.strategies.items():
            assert self._written[f"strategy:{name}"] == json.dumps(strategy.save_state()), (name, told)
        if told is not None:
            left_out.extend(self.node.strategies.keys() - told)

    monkeypatch.setattr(Stepper, "commit", checked)
    end, trades, events = run(config, tmp_path / "out")
    assert end.commits > 100
    assert len({trade.strategy for trade in trades}) == 3
    assert len(left_out) > 500
    # What was refused is written at once, with the time of the quote it was refused at.
    refused = [event for event in events if event["type"] == "refused"]
    assert refused
