"""Several targets with partial exits: screen, engine and Pine Script trade alike, and none looks ahead."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.spec import FixedSize, StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.verification.pine_runs import PineJob
from tests.engine.later_prices import trades_that_stay
from tests.engine.test_exits import EURUSD, parity_result, pine_rows
from tests.engine.test_screen import N_BARS, both, random_case

pytestmark = pytest.mark.slow

CHUNKS, SPECS = 3, 8
PINE_SEEDS, PINE_BARS = range(12), 1000


def drawn_spec(seed: int) -> StrategySpec:
    return random_spec(seed, exits=seed % 2 == 0, targets=True)


def cut_entries(trades) -> int:
    """Count the entries that left in more than one trade."""
    return sum(count > 1 for count in Counter((trade.entry_bar, trade.side) for trade in trades).values())


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_screen_and_engine_agree_under_random_assumptions(chunk: int) -> None:
    reasons: Counter[str] = Counter()
    cut = 0
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        made = random_walk_bar_set(N_BARS, seed=seed, timeframe=("1m", "5m", "15m", "1h")[seed % 4])
        bars, config, drawn, segments = random_case(seed, made)
        spec = drawn_spec(seed)
        if drawn.stop_loss is not None:
            spec = msgspec.structs.replace(spec, size=drawn.size)
        found = both(bars, config, spec, segments)
        cut += cut_entries(found.trades)
        reasons += Counter(trade.exit_reason for trade in found.trades)
    assert cut > 50
    assert all(reasons[name] > 0 for name in ("stop_loss", "take_profit", "reverse", "trailing")), reasons


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_bar_by_bar_it_is_the_same(mode: str) -> None:
    bars = random_walk_bar_set(500, seed=4, timeframe="5m")
    cut = 0
    for seed in range(4):
        spec = msgspec.structs.replace(drawn_spec(seed), size=FixedSize())
        found = []
        for signals in ("arrays", "streaming"):
            with BacktestSession(bars, BacktestConfig(mode=mode, signals=signals)) as session:
                found.append(session.run(spec))
        assert found[0].trades == found[1].trades
        np.testing.assert_array_equal(found[0].equity, found[1].equity)
        cut += cut_entries(found[0].trades)
    assert cut > 5


def test_prices_to_come_change_no_earlier_trade() -> None:
    bars = random_walk_bar_set(N_BARS, seed=5)
    specs = (msgspec.structs.replace(drawn_spec(seed), size=FixedSize()) for seed in range(20))
    assert sum(map(cut_entries, trades_that_stay(bars, specs))) > 100


def test_pine_trades_the_same(pine) -> None:
    cases = [(drawn_spec(seed), random_walk_bars(PINE_BARS, seed=seed)) for seed in PINE_SEEDS]
    scripts = [
        emit(spec, provenance=Provenance(), instrument=EURUSD, version=5 + number % 2)
        for number, (spec, _) in enumerate(cases)
    ]
    runs = pine.run_many([PineJob(script, bars) for script, (_, bars) in zip(scripts, cases, strict=True)])
    cut = 0
    for (spec, bars), run in zip(cases, runs, strict=True):
        ours = parity_result(spec, bars)
        expected = [(*_row(trade), trade.exit_reason) for trade in ours.trades]
        found = pine_rows(run.closed)
        for index, (one, other) in enumerate(zip(expected, found, strict=False)):
            assert one == other, f"trade {index}: aiopt {one}, Pine {other}, {spec.to_json()}"
        assert len(expected) == len(found)
        assert len(run.open) == int(ours.open_trade is not None)
        cut += cut_entries(ours.trades)
    assert cut > 100


def _row(trade) -> tuple:
    prices = (round(trade.entry_price, 5), round(trade.exit_price, 5))
    return trade.entry_bar, trade.exit_bar, trade.side, *prices, round(float(trade.size), 6)


def walk_spec(units: int, **further) -> StrategySpec:
    pips = {"unit": "pips"}
    return spec_from_mapping(
        {
            "name": "walk",
            "entry_long": "close == open",
            "stop_loss": {**pips, "value": 20},
            "take_profit": {**pips, "value": 25},
            "targets": [{"share": 50, **pips, "value": 5}, {"share": 33.3, **pips, "value": 15}],
            "size": {"kind": "fixed", "units": units},
            **further,
        },
        where="test",
    )


def walk_bars():
    """Bars that rise by ten pips each from 1.1 on, behind one that stands still."""
    bars = random_walk_bars(8, seed=1)
    close = 1.1 + np.array([0, 0, 10, 20, 30, 30.5, 31, 31.5]) / 10_000
    opened = np.concatenate([[1.1], close[:-1]])
    prices = {
        "open": opened,
        "close": close,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
    }
    return replace(bars, **{name: np.round(value, 5) for name, value in prices.items()})


@pytest.mark.parametrize(
    ("units", "parts"),
    [
        (1000, [(500.0, 2, 1.1005), (333.0, 3, 1.1015), (167.0, 4, 1.1025)]),
        (3, [(1.0, 2, 1.1005), (2.0, 4, 1.1025)]),
        (1, [(1.0, 4, 1.1025)]),
    ],
)
def test_parts_by_hand(units: int, parts: list[tuple[float, int, float]]) -> None:
    """A third of 1,000 is 333 units, the rest takes what rounding leaves; three units have two parts."""
    found = parity_result(walk_spec(units), walk_bars()).trades
    first = [trade for trade in found if trade.entry_bar == found[0].entry_bar]
    assert [(trade.size, trade.exit_bar, trade.exit_price) for trade in first] == parts
    assert {trade.exit_reason for trade in first} == {"take_profit"}


def test_the_last_target_takes_all_where_shares_sum_up_to_100() -> None:
    pips = {"unit": "pips"}
    spec = walk_spec(
        10,
        take_profit=None,
        targets=[{"share": 33.3, **pips, "value": 5}, {"share": 66.7, **pips, "value": 15}],
    )
    sizes = [trade.size for trade in parity_result(spec, walk_bars()).trades][:2]
    assert sizes == [3.0, 7.0]
