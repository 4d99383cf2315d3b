"""What holds entries back: state by state, and the compiled twin."""

from __future__ import annotations

import datetime as dt
import random
from zoneinfo import ZoneInfo

import numpy as np

from aiopt.backtest.entry_limits import LimitedEntries
from aiopt.backtest.money import to_amount
from aiopt.screen.amounts import PART
from aiopt.screen.entry_limits import holds_back
from aiopt.strategy.entry_limits import LimitPlan

HOUR_NS = 3_600_000_000_000
START = to_amount(10_000.0)


def hours(first: str, count: int) -> np.ndarray:
    """Return opening times of hourly bars from a time in New York."""
    start = dt.datetime.fromisoformat(first).replace(tzinfo=ZoneInfo("America/New_York"))
    return int(start.timestamp()) * 1_000_000_000 + np.arange(count, dtype=np.int64) * HOUR_NS


def test_a_pause_ends_at_its_bar() -> None:
    times = hours("2024-05-06T18:00", 10)
    entries = LimitedEntries(LimitPlan(pause_bars=3), times)
    assert not entries.holds_back(0, START)  # nothing has been left yet
    entries.entered(int(times[1]) + 2, START)
    entries.left(int(times[4]) + HOUR_NS - 3, to_amount(5.0), START)
    assert [entries.holds_back(bar, START) for bar in range(4, 9)] == [True, True, True, False, False]


def test_a_day_ends_at_five_in_new_york_whatever_the_clocks_do() -> None:
    # Clocks go forward in the night to Sunday, 10 March 2024, and back in that to 3 November.
    for first in ("2024-03-08T15:00", "2024-11-01T15:00"):
        times = hours(first, 96)
        entries = LimitedEntries(LimitPlan(trades_per_day=1), times)
        for time in times.tolist():
            bar = int(np.searchsorted(times, time))
            if not entries.holds_back(bar, START):
                entries.entered(time + 2, START)
                local = dt.datetime.fromtimestamp(time // 10**9, tz=ZoneInfo("America/New_York"))
                assert bar == 0 or local.hour == 17, local
        assert entries.holds_back(95, START)


def test_losses_of_a_day_add_up_and_are_forgotten_on_the_next() -> None:
    times = hours("2024-05-06T12:00", 12)  # bar 5 opens at 17:00
    entries = LimitedEntries(LimitPlan(loss_percent=1.0), times)
    entries.left(int(times[1]), to_amount(-60.0), START)
    balance = START - to_amount(60.0)
    assert not entries.holds_back(1, balance)
    entries.left(int(times[2]), to_amount(-39.99), balance)
    balance -= to_amount(39.99)
    assert not entries.holds_back(2, balance)
    entries.left(int(times[2]) + 5, to_amount(-0.01), balance)
    balance -= to_amount(0.01)
    assert [entries.holds_back(bar, balance) for bar in range(2, 7)] == [True, True, True, False, False]
    # 1 % of the 9,900 with which this day began.
    entries.left(int(times[7]), to_amount(-99.0), balance)
    assert entries.holds_back(7, balance - to_amount(99.0))


def test_a_part_that_leaves_counts_for_the_day_and_begins_no_pause() -> None:
    times = hours("2024-05-06T18:00", 10)
    entries = LimitedEntries(LimitPlan(pause_bars=2, loss_money=50.0), times)
    entries.entered(int(times[1]) + 2, START)
    entries.left(int(times[2]), to_amount(-30.0), START, ends=False)
    assert not entries.holds_back(2, START)
    entries.left(int(times[4]), to_amount(-10.0), START)
    assert [entries.holds_back(bar, START) for bar in (4, 5, 6)] == [True, True, False]
    entries.left(int(times[6]), to_amount(-10.0), START, ends=False)
    assert entries.holds_back(6, START)


def test_gains_make_room() -> None:
    times = hours("2024-05-06T18:00", 6)
    entries = LimitedEntries(LimitPlan(loss_money=50.0), times)
    entries.left(int(times[0]), to_amount(30.0), START)
    entries.left(int(times[1]), to_amount(-60.0), START)
    assert not entries.holds_back(1, START)
    entries.left(int(times[2]), to_amount(-20.0), START)
    assert entries.holds_back(2, START)


def test_a_segment_begins_with_nothing_held_back() -> None:
    times = hours("2024-05-06T18:00", 6)
    entries = LimitedEntries(LimitPlan(pause_bars=9, trades_per_day=1, loss_money=1.0), times)
    entries.enter_segment(0)
    entries.entered(int(times[0]) + 2, START)
    entries.left(int(times[1]) + 2, to_amount(-5.0), START)
    entries.enter_segment(0)
    assert entries.holds_back(1, START)
    entries.enter_segment(1)
    assert not entries.holds_back(2, START)


def test_the_compiled_rule_is_the_same() -> None:
    draw = random.Random(3)
    seen = {True: 0, False: 0}
    times = hours("2024-05-06T18:00", 20)
    for _ in range(400):
        plan = LimitPlan(
            pause_bars=draw.choice([0, 0, 1, 5]),
            trades_per_day=draw.choice([0, 0, 1, 2]),
            loss_percent=draw.choice([0.0, 1.0, 0.37]),
            loss_money=0.0,
        )
        if plan.loss_percent == 0.0:
            plan = plan._replace(loss_money=draw.choice([0.0, 37.0, 12.34]))
        balance = to_amount(round(draw.uniform(-100, 5_000), 2))
        entries = LimitedEntries(plan, times)
        counted = draw.randint(0, 3)
        for bar in range(counted):
            entries.entered(int(times[bar]), balance)
        gained = to_amount(draw.choice([0.0, -37.0, 50.0, -12.34, round(draw.uniform(-60, 5), 2)]))
        left = draw.randint(3, 8)
        entries.left(int(times[left]), gained, balance)
        bar = left + draw.randint(0, 6)
        expected = entries.holds_back(bar, balance + gained)
        pairs = divmod(gained, PART), divmod(balance, PART)
        assert holds_back(bar - left, counted, *pairs, *plan) is expected, (plan, gained, balance)
        assert holds_back.py_func(bar - left, counted, *pairs, *plan) is expected
        seen[expected] += 1
    assert min(seen.values()) > 50
