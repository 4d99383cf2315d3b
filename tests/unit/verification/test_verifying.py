"""Which bars the Pine engine is known to read in the wrong order."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec_parts import FixedSize, RiskSize
from aiopt.testing.bars import random_walk_bars
from aiopt.trades import Trade
from aiopt.verification.verification_file import ViewTrade
from aiopt.verification.verifying import (
    ScriptTask,
    _Excuses,
    _left_by_a_leg,
    opens_past_one_leg_and_reaches_the_other,
)


def trade_of(bars: BarArrays, side: str, reason: str, exit_price: float, stop: float, target: float) -> Trade:
    return Trade(
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


def excused(
    side: str, reason: str, exit_price: float, stop: float, target: float, moved: float | None = None
) -> bool:
    """Ask of a trade that left in a bar of 1.1000, 1.1020, 1.0980, 1.1010."""
    prices = {"open": 1.1, "high": 1.102, "low": 1.098, "close": 1.101}
    bars = replace(random_walk_bars(2, seed=1), **{name: np.full(2, one) for name, one in prices.items()})
    trade = trade_of(bars, side, reason, exit_price, stop, target)
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


def test_an_exit_is_set_aside_only_at_the_price_of_the_other_leg() -> None:
    ours = trade_of(random_walk_bars(2, seed=1), "long", "stop_loss", 1.1, 1.1005, 1.1015)
    assert _left_by_a_leg(ours, view(1.0, 1.1015))
    assert not _left_by_a_leg(ours, view(1.0, 1.1014))
    stopped = msgspec.structs.replace(view(1.0, 1.1005), reason="stop_loss")
    assert _left_by_a_leg(ours, stopped)
    assert not _left_by_a_leg(ours, msgspec.structs.replace(stopped, exit_price=1.1015))
    assert _left_by_a_leg(ours, msgspec.structs.replace(stopped, exit_price=1.0, reason="trailing"))
    assert not _left_by_a_leg(msgspec.structs.replace(ours, target_price=None), view(1.0, 1.1015))


def view(size: float, exit_price: float = 1.101) -> ViewTrade:
    return ViewTrade(
        entry_bar=0,
        exit_bar=1,
        side="long",
        entry_price=1.1,
        exit_price=exit_price,
        size=size,
        reason="take_profit",
    )


def excuses(size: RiskSize | FixedSize) -> _Excuses:
    spec = msgspec.structs.replace(FAMILIES["rsi_reversion"].spec, size=size)
    bid = random_walk_bars(2, seed=1)
    bars = BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash)
    return _Excuses(ScriptTask("one", spec, "", bars, initial_balance=10_000.0))


def test_sizes_may_differ_by_what_an_exit_set_aside_did_to_the_account_and_no_more() -> None:
    found = excuses(RiskSize(risk_pct=1.0, step=1000))
    assert not found.size(0, view(300_000), view(299_000)), "nothing was set aside"
    found.exits.add(0)
    found.after(view(100_000), view(100_000, exit_price=1.0985))
    # The accounts are 250 apart of 9,850: 2.5 %, 7,614 units of 300,000, and two steps for the rounding.
    assert found.size(1, view(300_000), view(293_000))
    assert found.size(2, view(291_000), view(300_000))
    assert not found.size(3, view(300_000), view(290_000))
    assert found.sizes == {1, 2}


def test_a_fixed_size_never_differs() -> None:
    found = excuses(FixedSize(units=10_000))
    found.exits.add(0)
    found.after(view(100_000), view(100_000, exit_price=1.0985))
    assert found.size(1, view(10_000), view(10_000))
    assert not found.size(1, view(10_000), view(9_000))
