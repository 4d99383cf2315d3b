"""Generated strategies: whatever the condition language can say, the emitted Pine says the same."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.strategy.signals import compute_signals
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.broker import BrokerAccount, simulate
from aiopt.testing.random_specs import random_spec
from aiopt.verification.pine_runs import PineJob, PineRun

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
N_SPECS = 16
N_BARS = 2500


@pytest.fixture(scope="module")
def runs(pine) -> list[PineRun]:
    """All scripts in one process of the engine, which starts once."""
    jobs = []
    for seed in range(N_SPECS):
        spec = random_spec(seed, higher=seed % 4 == 1)
        outputs = [output for outputs in spec.output_names().values() for output in outputs]
        script = emit(spec, provenance=Provenance(), instrument=EURUSD)
        jobs.append(PineJob(script, random_walk_bars(N_BARS, seed=seed), plots=tuple(outputs)))
    return pine.run_many(jobs)


@pytest.mark.parametrize("seed", range(N_SPECS))
def test_generated_strategy_trades_the_same_in_pine(runs: list[PineRun], seed: int) -> None:
    spec = random_spec(seed, higher=seed % 4 == 1)
    bars = random_walk_bars(N_BARS, seed=seed)
    signals = compute_signals(
        spec,
        bars,
        tick_size=EURUSD.tick_size,
        pip_size=EURUSD.pip_size,
        initial_balance=100_000.0,
    )
    outputs = [output for outputs in spec.output_names().values() for output in outputs]
    run = runs[seed]
    for output in outputs:
        np.testing.assert_allclose(run.plots[output], signals.indicators[output], rtol=0, atol=2e-8)
    bar_set = BarSet(
        instrument=EURUSD,
        timeframe=bars.timeframe,
        bid=bars,
        ask=bars,
        single_price=True,
        data_hash=bars.data_hash,
    )
    # Sizes by risk are cut to what the margin allows, in the script too.
    account = BrokerAccount(100_000.0, BacktestConfig().leverage, margin=False)
    expected = [
        (t.entry_bar, t.exit_bar, t.side, round(t.entry_price, 5), round(t.exit_price, 5), round(t.size, 6))
        for t in simulate(signals, bar_set, pine_entry_bar=True, account=account)
        if t.exit_bar is not None
    ]
    found = [
        (t.entry_bar, t.exit_bar, t.side, round(t.entry_price, 5), round(t.exit_price, 5), round(t.size, 6))
        for t in run.closed
    ]
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        assert one == other, f"trade {index}: broker {one}, Pine {other}, {spec.to_json()}"
    assert len(expected) == len(found)


def test_the_generated_strategies_trade() -> None:
    counts = []
    for seed in range(N_SPECS):
        bars = random_walk_bars(N_BARS, seed=seed)
        signals = compute_signals(
            random_spec(seed, higher=seed % 4 == 1),
            bars,
            tick_size=EURUSD.tick_size,
            pip_size=EURUSD.pip_size,
            initial_balance=100_000.0,
        )
        counts.append(int(signals.entry_long.sum() + signals.entry_short.sum()))
    assert sum(count >= 10 for count in counts) >= N_SPECS // 2, counts
