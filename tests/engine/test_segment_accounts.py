"""Margin and ruin: per segment, the same in both replays and as the oracle says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.backtest.backtest_config import BacktestConfig, Segments
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.signals import StreamedSignals
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import SignalArrays, compute_signals
from aiopt.strategy.spec import FixedSize, IndicatorSpec, RiskSize, StrategySpec
from aiopt.testing.broker import BrokerAccount, simulate
from tests.engine.test_backtest import (
    FREE,
    MINUTE,
    TICK,
    ScriptedSignals,
    engine_trades,
    key,
    make_bars,
    markets,
    scripts,
    spec_with_size,
    walk,
)

STEP_TICKS = 120

EXACT = {**FREE, "stop_slippage_ticks": 0.0}
"""The oracle fills stops at their price."""


@st.composite
def poor_accounts(draw):
    """Scripts traded with so little money that margin refuses and cuts, and losses ruin."""
    bars = draw(markets(scale=STEP_TICKS))
    step = draw(st.sampled_from([None, None, 1000, 3000]))
    script = replace(draw(scripts(bars, scale=STEP_TICKS)), size_step=step)
    # 1000 units are worth 1120 dollars and move 1.20 dollars a step.
    balance = draw(st.sampled_from([1.3, 2.5, 9.0, 12.0, 40.0]))
    leverage = draw(st.sampled_from([500.0, 1000.0]))
    cuts = sorted(draw(st.sets(st.integers(0, len(bars)), min_size=2, max_size=5)))
    ends = [*bars.bid.ts_open_ns.tolist(), int(bars.bid.ts_open_ns[-1]) + MINUTE.ns]
    segments = Segments(tuple(ends[cut] for cut in cuts)) if draw(st.booleans()) else None
    return (
        bars,
        script,
        segments,
        BacktestConfig(
            mode="parity" if bars.single_price else "research",
            initial_balance=balance,
            leverage=leverage,
            **EXACT,
        ),
    )


def expected_trades(bars, script, segments, config):
    limits = {} if config.is_parity else {"flatten_bars": {len(bars) - 1}, "flatten_reason": "end_of_data"}
    if segments is not None:
        ranges = segments.bar_ranges(bars.bid.ts_open_ns)
        limits = {
            "may_enter": {bar for start, stop in ranges for bar in range(start, stop - 1)},
            "flatten_bars": {stop - 1 for start, stop in ranges if stop > start},
        }
    account = BrokerAccount(config.initial_balance, config.leverage, margin=not config.is_parity)
    trades = simulate(script, bars, pine_entry_bar=config.is_parity, account=account, **limits)
    return [key(trade) for trade in trades]


def check_world(bars, script, segments, config):
    """Both replays agree with each other and with the oracle; return the sparse one's result."""
    with BacktestSession(bars, config) as session:
        sparse = session.run_signals("script", script, segments=segments)
        streamed = session._run("script", StreamedSignals(ScriptedSignals(script)), None, segments)
    assert engine_trades(sparse) == expected_trades(bars, script, segments, config)
    assert streamed.trades == sparse.trades
    for events in ("refused_bars", "capped_bars", "ruined_bars"):
        assert getattr(streamed, events) == getattr(sparse, events), events
    return sparse


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(poor_accounts())
def test_both_replays_refuse_cut_and_end_as_the_oracle_says(scenario):
    result = check_world(*scenario)
    if scenario[-1].is_parity:
        assert not result.ruined_bars


def test_longer_worlds_have_refusals_cuts_and_ruins_and_the_oracle_agrees():
    seen = dict.fromkeys(("refused", "capped", "ruined", "ruin exits", "ruined at an exit"), 0)
    for seed in range(24):
        rng = np.random.default_rng(seed)
        n_bars = 250
        opens = np.cumsum(rng.integers(-3, 4, n_bars)) * STEP_TICKS
        points = opens[:, None] + rng.integers(-3, 4, (n_bars, 3)) * STEP_TICKS
        rows = np.column_stack(
            [opens, np.maximum(points.max(1), opens), np.minimum(points.min(1), opens), points[:, 2]]
        )
        bars = make_bars(rows, [1] * n_bars, spread=8)
        close, distance = bars.bid.close, rng.integers(1, 9, n_bars) * STEP_TICKS * TICK
        distance[rng.random(n_bars) < 0.5] = np.nan
        kind = rng.choice(["", "long", "short"], n_bars, p=[0.8, 0.1, 0.1])
        script = SignalArrays(
            entry_long=kind == "long",
            entry_short=kind == "short",
            exit_long=rng.random(n_bars) < 0.03,
            exit_short=rng.random(n_bars) < 0.03,
            stop_long=np.round(close - distance, 5),
            target_long=np.round(close + 2 * distance, 5),
            stop_short=np.round(close + distance, 5),
            target_short=np.round(close - 2 * distance, 5),
            units=rng.choice([1000.0, 4000.0], n_bars),
            ready=np.ones(n_bars, dtype=bool),
            indicators={},
            size_step=[None, 1000][seed % 2],
        )
        edges = [int(bars.bid.ts_open_ns[bar]) for bar in (10, 80, 130, 240)]
        config = BacktestConfig(initial_balance=[2.0, 5.0, 9.0][seed % 3], leverage=1000.0, **EXACT)
        result = check_world(bars, script, Segments(tuple(edges)), config)
        reasons = [trade.exit_reason for trade in result.trades]
        seen["refused"] += len(result.refused_bars)
        seen["capped"] += len(result.capped_bars)
        seen["ruined"] += len(result.ruined_bars)
        seen["ruin exits"] += reasons.count("ruin")
        seen["ruined at an exit"] += len(result.ruined_bars) - reasons.count("ruin")
    assert min(seen.values()) >= 5, seen


def run_segments(spec, bars, edges, **config):
    with BacktestSession(bars, BacktestConfig(**config)) as session:
        return session.run(spec, segments=Segments(tuple(edges)))


HOLD = StrategySpec(
    name="hold",
    indicators={"dip": IndicatorSpec(kind="rsi", args={"length": 14})},
    entry_long="dip < 45",
    exit_long="dip > 68",
    size=FixedSize(units=400_000),
)
"""Without a stop."""


def test_a_ruin_ends_its_own_segment_and_no_other():
    bars = walk(6_000, seed=6)
    ts = bars.bid.ts_open_ns
    edges = [int(ts[index]) for index in (500, 2_000, 3_500, 5_000)]
    poor = {"initial_balance": 900.0, "leverage": 1000.0}
    together = run_segments(HOLD, bars, edges, **poor)
    assert len(together.ruined_bars) == 3
    alone = [run_segments(HOLD, bars, pair, **poor) for pair in itertools.pairwise(edges)]
    assert together.trades == [trade for result in alone for trade in result.trades]
    assert together.refused_bars == sum((result.refused_bars for result in alone), ())
    assert together.ruined_bars == sum((result.ruined_bars for result in alone), ())
    for bar, result in zip(together.ruined_bars, alone, strict=True):
        *earlier, last = result.trades
        assert (last.exit_reason, last.exit_bar) == ("ruin", bar + 1)
        assert last.exit_price == bars.bid.open[bar + 1]
        before = 900.0 + sum(trade.pnl for trade in earlier)
        assert before > 0
        assert result.equity[bar + 1] <= 0, "the close that ruined it"
        assert (result.equity[: bar + 1] > 0).all(), "and none before"
        assert result.equity[-1] == pytest.approx(before + last.pnl, abs=1e-6), "the loss stands"


def test_an_entry_beyond_the_margin_is_refused_and_the_trial_goes_on():
    spec = FAMILIES["rsi_reversion"].spec
    large = spec_with_size(spec, FixedSize(units=10_000_000))
    bars = walk(3_000, seed=4)
    with BacktestSession(bars, BacktestConfig()) as session:
        refused, small = session.run(large), session.run(spec)
    assert not refused.trades
    assert np.all(refused.equity == 100_000.0)
    assert set(refused.refused_bars) >= {trade.entry_bar - 1 for trade in small.trades}
    assert small.trades
    assert not small.refused_bars
    parity = BacktestSession(bars, BacktestConfig(mode="parity")).run(large)
    assert parity.trades
    assert not parity.refused_bars


def test_a_size_by_risk_is_cut_to_what_the_equity_at_the_signal_carries():
    spec = spec_with_size(FAMILIES["rsi_reversion"].spec, RiskSize(risk_pct=10.0))
    bars = walk(3_000, seed=4)
    config = BacktestConfig()
    with BacktestSession(bars, config) as session:
        result = session.run(spec)
    arrays = compute_signals(spec, bars.bid, tick_size=TICK, pip_size=1e-4, initial_balance=100_000.0)
    assert result.capped_bars
    assert not result.refused_bars
    cut = set(result.capped_bars)
    for trade in result.trades:
        bar = trade.entry_bar - 1
        price = (bars.ask if trade.side == "long" else bars.bid).close[bar]
        assert trade.size * price <= result.equity[trade.entry_bar] * 30 * (1 + 1e-9)
        if bar in cut:
            assert (trade.size + 1000) * price > result.equity[trade.entry_bar] * 30
            assert trade.size < arrays.units[bar]
        else:
            assert trade.size == arrays.units[bar]


def test_a_gap_through_the_account_is_booked_in_full_and_once():
    rows = [(0, 0, 0, 0)] * 3 + [(0, 0, -9_000, -9_000)] + [(-9_000, -9_000, -9_000, -9_000)] * 3
    bars = make_bars(rows, [1] * len(rows), spread=1)
    script_of = np.zeros(len(rows), dtype=bool)
    long = script_of.copy()
    long[[0, 5]] = True
    nan = np.full(len(rows), np.nan)
    script = SignalArrays(
        entry_long=long,
        entry_short=script_of,
        exit_long=script_of,
        exit_short=script_of,
        stop_long=nan,
        target_long=nan,
        stop_short=nan,
        target_short=nan,
        units=np.full(len(rows), 1000.0),
        ready=~script_of,
        indicators={},
    )
    config = BacktestConfig(initial_balance=50.0, leverage=1000.0, **EXACT)
    with BacktestSession(bars, config) as session:
        result = session.run_signals("gap", script)
    (trade,) = result.trades
    assert (trade.exit_reason, trade.exit_bar, result.ruined_bars) == ("ruin", 4, (3,))
    assert trade.pnl == pytest.approx(-90.01, abs=1e-6)
    assert result.equity[-1] == pytest.approx(50.0 - 90.01, abs=1e-6)
