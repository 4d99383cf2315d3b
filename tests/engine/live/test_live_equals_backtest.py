"""What a session trades on ticks is what the backtest trades on bars of the same ticks, to the last digit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.backtest.swap import SwapConfig, SwapPoints
from aiopt.live.session.proof import prove
from aiopt.live.session.run_folder import prove_session
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.random_specs import random_spec
from aiopt.testing.tick_stores import write_tick_store
from tests.engine.live.live_sessions import UNEVENTFUL, config_of, kinds, run, traded

RANDOM = 50


def drawn(seed: int) -> StrategySpec:
    adds = seed % 4 == 0
    return random_spec(
        seed,
        exits=seed % 2 == 1,
        limits=seed % 3 == 1 and not adds,
        targets=seed % 5 == 2 and not adds,
        levels=seed % 7 == 3,
        adds=adds,
    )


@pytest.mark.parametrize("timeframe", ["1m", "15m"])
def test_all_families(store: Path, tmp_path: Path, timeframe: str) -> None:
    specs = {name: space.spec for name, space in FAMILIES.items()}
    config = config_of(store, traded(tmp_path / "specs", specs, timeframe))
    end, trades, events = run(config, tmp_path / "run")
    assert (end.ended, end.dropped, end.broken, end.warnings) == (True, 0, {}, [])
    assert kinds(events).keys() <= UNEVENTFUL
    with SessionFile(tmp_path / "run") as file:
        proofs = prove_session(file, config)
    assert all(one.holds for one in proofs), [one.differences for one in proofs]
    assert sum(one.same for one in proofs) > len(trades) * 0.95
    assert len(trades) > 10


@pytest.mark.slow
@pytest.mark.parametrize("half", range(2))
def test_random_specs(store: Path, tmp_path: Path, half: int) -> None:
    """With moving stops, parts, laid levels, limits, added entries; every difference is explained."""
    specs = {f"R{seed}": drawn(seed) for seed in range(half, RANDOM, 2)}
    costs = {"slippage_ticks": half, "extra_spread_pips": 0.2 * half}
    swap = SwapConfig(points={"EURUSD": SwapPoints(long=-0.7, short=0.1)})
    strategies = traded(tmp_path / "specs", specs)
    account = costs | {"swap": swap, "initial_balance": 1e9}
    config = config_of(store, strategies, account=account)
    end, trades, events = run(config, tmp_path / "run")
    # The target of an entry that gapped beyond its own stop comes too late: the position is gone.
    assert kinds(events).keys() <= UNEVENTFUL | {"rejected"}
    late = [event["rule"] for event in events if event["type"] == "rejected"]
    assert set(late) <= {"position"}
    assert len(late) < 10
    with SessionFile(tmp_path / "run") as file:
        proofs = prove_session(file, config)
    why = sum((Counter(one.why) for one in proofs), Counter())
    assert "unexplained" not in why, [one.differences for one in proofs if not one.holds][:3]
    assert sum(one.same for one in proofs) > 500
    assert why["both_legs"] < 0.02 * len(trades)
    assert why["follows"] < 0.2 * len(trades)  # where an account's equity cuts sizes, all behind it follow
    # The venue's account is what all trades brought together.
    brought = sum(trade.pnl for trade in trades)
    assert end.account.balance == pytest.approx(1e9 + brought, abs=1e-4)


def test_a_warm_start_decides_as_the_backtest_does(store: Path, tmp_path: Path) -> None:
    strategies = traded(tmp_path / "specs", {"E": FAMILIES["ema_cross_atr"].spec})
    config = config_of(store, strategies, feed={"start": "2024-03-06"}, warm_up_days=1.0)
    end, trades, _ = run(config, tmp_path / "run")
    with SessionFile(tmp_path / "run") as file:
        (proof,) = prove_session(file, config)
    assert (proof.holds, end.warnings) == (True, [])
    assert proof.same == len(trades) > 3
    cold = config_of(store, strategies, feed={"start": "2024-03-06"})
    assert run(cold, tmp_path / "cold")[1] != trades


def test_the_pace_changes_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    stamps = np.sort(random.integers(0, 5_000, 400)) * 1_000_000 + 1_709_600_000_000_000_000
    bid = np.round(1.1 + random.integers(-3, 4, 400).cumsum() / 1e5, 5)
    sizes = {name: np.full(400, 1e6) for name in ("bid_size", "ask_size")}
    ticks = pl.DataFrame({"ts_event_ns": stamps, "bid": bid, "ask": np.round(bid + 1e-5, 5), **sizes})
    write_tick_store(tmp_path / "EURUSD", ticks)
    spec = StrategySpec.from_json(
        msgspec.json.encode(
            {
                "name": "each_bar",
                "indicators": {"s": {"kind": "sma", "args": {"length": 2}}},
                "entry_long": "close > s",
                "entry_short": "close < s",
                "stop_loss": {"unit": "pips", "value": 0.5},
                "take_profit": {"unit": "pips", "value": 0.5},
                "size": {"kind": "fixed", "units": 1000},
            }
        )
    )
    strategies = traded(tmp_path / "specs", {"S": spec}, "1s")
    fast = run(config_of(tmp_path / "EURUSD", strategies), tmp_path / "fast")
    real = run(config_of(tmp_path / "EURUSD", strategies, feed={"speed": 1.0}), tmp_path / "real")
    times = run(config_of(tmp_path / "EURUSD", strategies, feed={"speed": 7.0}), tmp_path / "times")
    assert fast[1] == real[1] == times[1] != []
    assert real[0].account == fast[0].account == times[0].account


def test_fills_in_pieces_add_up(store: Path, tmp_path: Path) -> None:
    """Quotes offer less than is ordered: positions are entered and left in pieces, and nothing is lost."""
    specs = {f"R{seed}": drawn(seed) for seed in (1, 2, 3, 8, 17)} | {"F": FAMILIES["rsi_reversion"].spec}
    account = {"units_per_quote": 400_000, "initial_balance": 1e9}
    config = config_of(store, traded(tmp_path / "specs", specs, "15m"), account=account)
    end, trades, events = run(config, tmp_path / "run")
    fills = [event for event in events if event["type"] == "filled"]
    assert sum(event["left"] > 0 for event in fills) > 20
    # An exit that a fill before it has ended can no longer be cancelled.
    allowed = UNEVENTFUL | {"modified", "cancel_rejected", "rejected"}
    assert kinds(events).keys() <= allowed
    assert end.account.margin == 0.0
    assert end.account.balance == pytest.approx(1e9 + sum(trade.pnl for trade in trades), abs=1e-4)


def test_a_trade_that_was_not_made_is_no_proof(store: Path, tmp_path: Path) -> None:
    config = config_of(store, traded(tmp_path / "specs", {"E": FAMILIES["ema_cross_atr"].spec}))
    _, trades, _ = run(config, tmp_path / "run")
    from aiopt.backtest.session import BacktestSession
    from aiopt.live.feeds.warm_up import bars_of_store
    from aiopt.live.session.run_folder import backtest_like

    bars = bars_of_store(store, config.strategies[0].frame)
    with BacktestSession(bars, backtest_like(config, 100_000.0)) as session:
        theirs = session.run(FAMILIES["ema_cross_atr"].spec).trades
    assert prove("E", trades, theirs, bars).holds
    assert prove("E", trades[1:], theirs, bars).why == {"unexplained": 1}
    wrong = msgspec.structs.replace(trades[0], pnl=trades[0].pnl + 0.01)
    assert prove("E", [wrong, *trades[1:]], theirs, bars).why == {"unexplained": 1}
