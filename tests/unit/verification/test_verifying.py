"""Which bars the Pine engine is known to read in the wrong order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.testing.bars import random_walk_bars
from aiopt.trades import Trade
from aiopt.verification.verifying import opens_past_one_leg_and_reaches_the_other


def excused(
    side: str, reason: str, exit_price: float, stop: float, target: float, moved: float | None = None
) -> bool:
    """Ask of a trade that left in a bar of 1.1000, 1.1020, 1.0980, 1.1010."""
    prices = {"open": 1.1, "high": 1.102, "low": 1.098, "close": 1.101}
    bars = replace(random_walk_bars(2, seed=1), **{name: np.full(2, one) for name, one in prices.items()})
    trade = Trade(
        entry_ts_ns=int(bars.ts_open_ns[0]),
        exit_ts_ns=int(bars.ts_open_ns[1]),
        side=side,
        entry_price=1.1,
        exit_price=exit_price,
        stop_price=stop,
        target_price=target,
        entry_bar=0,
        exit_bar=1,
        size=1.0,
        exit_reason=reason,
        pnl=0.0,
    )
    return opens_past_one_leg_and_reaches_the_other(trade, bars, moved)


@pytest.mark.parametrize(
    ("side", "reason", "exit_price", "stop", "target", "expected"),
    [
        ("long", "stop_loss", 1.1, 1.1005, 1.1015, True),
        ("long", "stop_loss", 1.099, 1.099, 1.1015, False),
        ("short", "take_profit", 1.1, 1.1015, 1.1005, True),
        # The stop that moved was passed by the open, or lies exactly there; the first one is far away.
        ("long", "trailing", 1.1, 1.05, 1.1015, True),
        ("short", "trailing", 1.1, 1.15, 1.0985, True),
        ("long", "break_even", 1.1, 1.05, 1.1015, True),
        # It was met inside the bar, or the bar never reaches the target.
        ("long", "trailing", 1.099, 1.05, 1.1015, False),
        ("short", "trailing", 1.1015, 1.15, 1.0985, False),
        ("long", "trailing", 1.1, 1.05, 1.1025, False),
    ],
)
def test_a_bar_that_opens_past_one_leg_and_reaches_the_other(
    side: str, reason: str, exit_price: float, stop: float, target: float, expected: bool
) -> None:
    assert excused(side, reason, exit_price, stop, target) is expected


@pytest.mark.parametrize(
    ("side", "target", "moved", "expected"),
    [
        ("long", 1.0995, 1.099, True),
        ("long", 1.0995, 1.097, False),
        ("long", 1.1005, 1.099, False),
        ("short", 1.1005, 1.1015, True),
        ("short", 1.1005, 1.1025, False),
    ],
)
def test_a_target_passed_at_the_open_and_a_moved_stop_that_is_reached(
    side: str, target: float, moved: float, expected: bool
) -> None:
    stop = 1.05 if side == "long" else 1.15
    assert excused(side, "take_profit", 1.1, stop, target, moved) is expected
