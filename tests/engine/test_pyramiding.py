"""Entries added to a position: screen, engine and Pine Script trade alike, and none looks ahead."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.backtest.session import BacktestSession
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.spec import FixedSize, StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.verification.pine_runs import PineJob
from tests.engine.later_prices import trades_that_stay
from tests.engine.test_entry_limits import bars_of, one_price
from tests.engine.test_exits import EURUSD, parity_result, pine_rows
from tests.engine.test_screen import N_BARS, both, events_of, random_case

pytestmark = pytest.mark.slow

CHUNKS, SPECS = 2, 8
PINE_SEEDS, PINE_BARS = range(10), 700


def drawn_spec(seed: int) -> StrategySpec:
    return random_spec(seed, adds=True)


def most_open(trades) -> int:
    """Return how many entries were open at once."""
    changes = Counter()
    for trade in trades:
        changes[trade.entry_bar] += 1
        changes[trade.exit_bar] -= 1
    return max(np.cumsum([changes[bar] for bar in sorted(changes)]), default=0)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_screen_and_engine_agree_under_random_assumptions(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        made = random_walk_bar_set(N_BARS, seed=seed, timeframe=("1m", "5m", "15m", "1h")[seed % 4])
        bars, config, drawn, segments = random_case(seed, made)
        spec = drawn_spec(seed)
        if drawn.stop_loss is not None:
            spec = msgspec.structs.replace(spec, size=drawn.size)
        found = both(bars, config, spec, segments)
        seen += events_of(found)
        seen["together"] += most_open(found.trades) > 1
    assert seen["together"] > 3, seen
    assert all(seen[name] > 0 for name in ("stop_loss", "take_profit", "reverse")), seen


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_bar_by_bar_it_is_the_same(mode: str) -> None:
    bars = random_walk_bar_set(500, seed=4, timeframe="5m")
    together = 0
    for seed in range(4):
        spec = msgspec.structs.replace(drawn_spec(seed), size=FixedSize())
        found = []
        for signals in ("arrays", "streaming"):
            with BacktestSession(bars, BacktestConfig(mode=mode, signals=signals)) as session:
                found.append(session.run(spec))
        assert found[0].trades == found[1].trades
        assert found[0].open_trades == found[1].open_trades
        np.testing.assert_array_equal(found[0].equity, found[1].equity)
        together += most_open(found[0].trades) > 1
    assert together >= 2


def test_prices_to_come_change_no_earlier_trade() -> None:
    bars = random_walk_bar_set(N_BARS, seed=5)
    specs = (msgspec.structs.replace(drawn_spec(seed), size=FixedSize()) for seed in range(20))
    assert sum(most_open(kept) > 1 for kept in trades_that_stay(bars, specs)) > 5


# --- Pine -------------------------------------------------------------------------------------------------


def by_exit(trades):
    """Return trades by exit and entry bar: within a bar every engine has an order of its own."""
    return sorted(trades, key=lambda trade: (trade.exit_bar, trade.entry_bar))


def test_pine_trades_the_same(pine) -> None:
    cases = [(drawn_spec(seed), random_walk_bars(PINE_BARS, seed=seed)) for seed in PINE_SEEDS]
    scripts = [
        emit(spec, provenance=Provenance(), instrument=EURUSD, version=version)
        for spec, _ in cases
        for version in (5, 6)
    ]
    bars = [bars for _, bars in cases for _ in (5, 6)]
    runs = pine.run_many([PineJob(script, one) for script, one in zip(scripts, bars, strict=True)])
    together = 0
    for number, run in enumerate(runs):
        spec, bars = cases[number // 2]
        ours = parity_result(spec, bars)
        expected = [(*_row(trade), trade.exit_reason) for trade in by_exit(ours.trades)]
        found = pine_rows(by_exit(run.closed))
        for index, (one, other) in enumerate(zip(expected, found, strict=False)):
            assert one == other, f"trade {index}: aiopt {one}, Pine {other}, {spec.to_json()}"
        assert len(expected) == len(found)
        assert [trade.entry_bar for trade in run.open] == [trade.entry_bar for trade in ours.open_trades]
        together += most_open(ours.trades) > 1
    assert together > 8


def _row(trade) -> tuple:
    prices = (round(trade.entry_price, 5), round(trade.exit_price, 5))
    return trade.entry_bar, trade.exit_bar, trade.side, *prices, round(float(trade.size), 6)


# --- cases that go wrong easily ---------------------------------------------------------------------------

FLAT, UP = (0, 0, 0, 0), (0, 1, 0, 1)
PIPS = {"unit": "pips"}


def adding(**fields: object) -> StrategySpec:
    """Return a strategy that wants to be long after every bar that closes above its open."""
    base = {"name": "adding", "entry_long": "close > open", "pyramiding": 2}
    return spec_from_mapping(base | fields, where="test")


CASES: dict[str, tuple[dict, list[tuple[int, int, int, int]], list[tuple[int, int | None, str]]]] = {
    "no more than the most are open": (
        {"exit_long": "close < open"},
        [UP, UP, UP, UP, (1, 1, 0, 0), FLAT, FLAT],
        [(1, 5, "exit_signal"), (2, 5, "exit_signal")],
    ),
    "one that left inside the bar has made room": (
        {"stop_loss": {**PIPS, "value": 4}},
        # Entries at bars 1 and 2, stops at -3 and 2; bar 3 takes the second; its close adds at bar 4.
        [UP, (1, 6, 1, 6), (6, 6, 3, 5), (5, 6, 0, 6), (0, 0, -1, -1), FLAT],
        [(2, 3, "stop_loss"), (1, None, ""), (4, 4, "stop_loss")],
    ),
    "a target closes its own entry": (
        {"take_profit": {**PIPS, "value": 5}},
        # Targets at 6 and 3; the second is met on its entry bar, the first two bars later.
        [UP, (1, 1, -3, -2), (-2, 0, -2, 0), (0, 0, -2, -1), (-1, 0, -1, -1), (-1, 6, -1, -1), FLAT],
        [(3, 5, "take_profit"), (1, 5, "take_profit")],
    ),
    "what closes the position comes before an entry that would be added": (
        {"exit_long": "high > close"},
        [UP, (1, 3, 1, 2), FLAT, FLAT, FLAT],
        [(1, 2, "exit_signal")],
    ),
    "a reversal closes all and enters once": (
        {"entry_short": "close < open"},
        [UP, UP, (1, 1, 0, 0), (0, 0, -1, -1), FLAT, FLAT],
        [(1, 3, "reverse"), (2, 3, "reverse"), (3, None, ""), (4, None, "")],
    ),
    "the open that stops the older entry fills the newer one": (
        {"stop_loss": {**PIPS, "value": 10}},
        # Stops at -9 and at -7, seen from bar 1's close of 3; bar 2 opens at -8, beyond the newer stop only.
        [UP, (1, 3, 1, 3), (-8, -7, -8, -8), (-9, -9, -12, -12), FLAT, FLAT],
        [(2, 2, "stop_loss"), (1, 3, "stop_loss")],
    ),
    "a bar that opens beyond all stops takes all at its open": (
        {"stop_loss": {**PIPS, "value": 5}},
        [UP, UP, FLAT, (-9, -9, -9, -9), FLAT, FLAT],
        [(1, 3, "stop_loss"), (2, 3, "stop_loss")],
    ),
    "target and stop of two entries in one bar": (
        {"stop_loss": {**PIPS, "value": 3}, "take_profit": {**PIPS, "value": 6}},
        # Long at -3 to 7 (stop -2, target 7) and 5 (stop 2, target 11): the low comes first.
        [UP, (1, 5, 1, 5), (5, 5, 5, 5), (5, 9, 2, 4), FLAT, FLAT],
        [(1, 3, "take_profit"), (2, 3, "stop_loss")],
    ),
    "short stops that sleep on their entry bars": (
        {
            "entry_long": None,
            "entry_short": "close < open",
            "stop_loss": {**PIPS, "value": 2},
        },
        # Ordered at closes of -1 and 3, stops at 1 and 5; bars 1 and 2 open beyond them.
        [(0, 0, -1, -1), (4, 4, 3, 3), (6, 6, 6, 6), (5, 5, 5, 5), FLAT, FLAT],
        [(1, 2, "stop_loss"), (2, 3, "stop_loss")],
    ),
}


def case_bars(name: str):
    return bars_of(CASES[name][1], "2024-05-06T09:00")


@pytest.fixture(scope="module")
def case_runs(pine) -> dict:
    keys = [(name, version) for name in CASES for version in (5, 6)]
    jobs = [
        PineJob(
            emit(adding(**CASES[name][0]), provenance=Provenance(), instrument=EURUSD, version=version),
            case_bars(name),
        )
        for name, version in keys
    ]
    return dict(zip(keys, pine.run_many(jobs), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_by_hand(case_runs, name: str) -> None:
    fields, _, expected = CASES[name]
    result = both(one_price(case_bars(name)), BacktestConfig(mode="parity"), adding(**fields))
    told = [(trade.entry_bar, trade.exit_bar, trade.exit_reason) for trade in result.trades]
    told += [(trade.entry_bar, None, "") for trade in result.open_trades]
    assert sorted(told, key=str) == sorted(expected, key=str)
    for version in (5, 6):
        run = case_runs[name, version]
        rows = [(*_row(trade), trade.exit_reason) for trade in by_exit(result.trades)]
        assert pine_rows(by_exit(run.closed)) == rows
        assert [trade.entry_bar for trade in run.open] == [trade.entry_bar for trade in result.open_trades]


def test_margin_is_that_of_all_that_would_be_open() -> None:
    """600 at a leverage of 30 carry 16,000 units at 1.1, one entry of 10,000 and none beside it."""
    bars = one_price(bars_of([UP, UP, UP, FLAT, FLAT], "2024-05-06T09:00"))
    config = BacktestConfig(initial_balance=600.0, leverage=30.0, commission_per_million=0.0)
    result = both(add_spread(bars, 0.2), config, adding(pyramiding=3))
    assert [trade.entry_bar for trade in result.trades] == [1]
    assert result.refused_bars == (1, 2)


def test_a_size_by_risk_is_cut_to_what_is_left() -> None:
    bars = one_price(bars_of([UP, UP, UP, FLAT, FLAT], "2024-05-06T09:00"))
    config = BacktestConfig(initial_balance=600.0, leverage=30.0, commission_per_million=0.0)
    sized = {"stop_loss": {**PIPS, "value": 30}, "size": {"kind": "risk", "risk_pct": 5.0, "step": 1000}}
    result = both(add_spread(bars, 0.2), config, adding(pyramiding=3, **sized))
    assert [(trade.entry_bar, trade.size) for trade in result.trades] == [(1, 10_000.0), (2, 6_000.0)]
    assert (result.capped_bars, result.refused_bars) == ((1,), (2,))
