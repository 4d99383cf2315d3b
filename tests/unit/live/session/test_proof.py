"""Which differences between a session and its backtest count as explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aiopt.live.session.live_trades import LiveTrade
from aiopt.live.session.proof import prove
from aiopt.live.session.run_folder import refusing_rule
from aiopt.testing.bars import random_walk_bar_set
from aiopt.trades import Trade

BARS = random_walk_bar_set(50, seed=1, timeframe="5m")
STARTS = [int(ns) for ns in np.asarray(BARS.bid.ts_open_ns)]


def both(entry: int, exit_: int, reason: str = "exit_signal", price: float = 1.1) -> tuple[LiveTrade, Trade]:
    """Return one trade as both sides tell it."""
    common: dict[str, Any] = {
        "side": "long",
        "entry_price": 1.1,
        "exit_price": price,
        "stop_price": None,
        "target_price": None,
        "size": 1_000.0,
        "exit_reason": reason,
        "pnl": 0.0,
        "commission": 0.0,
        "swap": 0.0,
        "nights": 0,
    }
    live = LiveTrade(
        strategy="A",
        entry_ts_ns=STARTS[entry],
        exit_ts_ns=STARTS[exit_],
        entry_bar_ns=STARTS[entry],
        exit_bar_ns=STARTS[exit_],
        **common,
    )
    bars = {"entry_bar": entry, "exit_bar": exit_}
    return live, Trade(entry_ts_ns=STARTS[entry], exit_ts_ns=STARTS[exit_], **bars, **common)


def test_a_refused_entry_explains_the_missing_trade_and_what_follows() -> None:
    first, second, third = both(3, 5), both(8, 9), both(12, 14)
    live = [first[0], both(9, 11)[0], third[0]]
    theirs = [first[1], second[1], third[1]]
    assert prove("A", live, theirs, BARS).why == {"unexplained": 2}
    proof = prove("A", live, theirs, BARS, {STARTS[8]: "max_daily_loss"})
    assert (proof.why, proof.same, proof.holds) == ({"refused": 1, "follows": 1}, 2, True)
    assert proof.differences[0].rule == "max_daily_loss"


def test_a_refusal_on_another_bar_explains_nothing() -> None:
    live, theirs = [both(3, 5)[0]], [both(3, 5)[1], both(8, 9)[1]]
    assert not prove("A", live, theirs, BARS, {STARTS[9]: "max_daily_loss"}).holds


@pytest.mark.parametrize(
    ("reason", "why"), [("flatten", "closed"), ("kill", "closed"), ("stop_loss", "unexplained")]
)
def test_a_position_that_the_session_closed(reason: str, why: str) -> None:
    live, theirs = both(3, 5, reason, 1.2)[0], both(3, 9)[1]
    assert prove("A", [live], [theirs], BARS).why == {why: 1}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("S1-A-1 was rejected: max_notional: `max_notional` is 5, but: it is 6.", "max_notional"),
        ("S1-A-1 was rejected: out of luck", "refused"),
        ("something else", "refused"),
    ],
)
def test_the_rule_of_a_refusal(text: str, rule: str) -> None:
    assert refusing_rule(text) == rule
