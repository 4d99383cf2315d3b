"""Moving stops and time stops: screen, engine and Pine Script trade alike, and none looks ahead."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.results import TrialResult
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.exits import STOP_NAMES
from aiopt.pine.provenance import Provenance
from aiopt.screen.session import ScreenSession
from aiopt.strategy.spec import FixedSize, StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from aiopt.testing.random_specs import random_spec
from tests.engine.later_prices import trades_that_stay
from tests.engine.test_screen import N_BARS, both, events_of, random_case

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
MOVED = {"trailing", "break_even", "time"}
CHUNKS, SPECS = 3, 8
PINE_SEEDS, PINE_BARS = range(1, 7), 1200


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_screen_and_engine_agree_under_random_assumptions(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        made = random_walk_bar_set(N_BARS, seed=seed, timeframe=("1m", "5m", "15m", "1h")[seed % 4])
        bars, config, drawn, segments = random_case(seed, made)
        spec = random_spec(seed, exits=True)
        if drawn.stop_loss is not None:
            spec = msgspec.structs.replace(spec, size=drawn.size)
        seen += events_of(both(bars, config, spec, segments))
    assert all(seen[name] > 0 for name in (*MOVED, "stop_loss", "reverse")), seen


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_bar_by_bar_it_is_the_same(mode: str) -> None:
    bars = random_walk_bar_set(600, seed=4, timeframe="5m")
    seen: Counter[str] = Counter()
    for seed in range(1, 7):
        spec = msgspec.structs.replace(random_spec(seed, exits=True), size=FixedSize())
        found = []
        for signals in ("arrays", "streaming"):
            with BacktestSession(bars, BacktestConfig(mode=mode, signals=signals)) as session:
                found.append(session.run(spec))
        assert found[0].trades == found[1].trades
        np.testing.assert_array_equal(found[0].equity, found[1].equity)
        seen += events_of(found[0])
    assert sum(seen[name] for name in MOVED) > 10, seen


def test_prices_to_come_change_no_earlier_trade() -> None:
    bars = random_walk_bar_set(N_BARS, seed=5)
    specs = (msgspec.structs.replace(random_spec(seed, exits=True), size=FixedSize()) for seed in range(20))
    reasons = {trade.exit_reason for kept in trades_that_stay(bars, specs) for trade in kept}
    assert reasons >= MOVED


def pine_rows(trades) -> list[tuple]:
    names = {comment: reason for reason, comment in STOP_NAMES.items()}
    names |= {"Target": "take_profit", "Exit signal": "exit_signal", "Time": "time"}
    return [(*_row(trade), names.get(trade.exit_comment, "reverse")) for trade in trades]


def _row(trade) -> tuple:
    prices = (round(trade.entry_price, 5), round(trade.exit_price, 5))
    return trade.entry_bar, trade.exit_bar, trade.side, *prices, round(float(trade.size), 6)


def parity_result(spec: StrategySpec, bars) -> TrialResult:
    one_price = BarSet(EURUSD, bars.timeframe, bars, bars, True, bars.data_hash)
    return ScreenSession(one_price, BacktestConfig(mode="parity")).run(spec)


@pytest.mark.parametrize("seed", PINE_SEEDS)
def test_pine_trades_the_same(pine, seed: int) -> None:
    spec, bars = random_spec(seed, exits=True), random_walk_bars(PINE_BARS, seed=seed)
    script = emit(spec, provenance=Provenance(), instrument=EURUSD, version=6 if seed % 2 else 5)
    expected = [(*_row(trade), trade.exit_reason) for trade in parity_result(spec, bars).trades]
    found = pine_rows(pine.run(script, bars).closed)
    for index, (one, other) in enumerate(zip(expected, found, strict=False)):
        assert one == other, f"trade {index}: aiopt {one}, Pine {other}, {spec.to_json()}"
    assert len(expected) == len(found)


@pytest.mark.parametrize("version", [5, 6])
def test_the_alert_of_a_stop_names_the_reason_of_the_trade_list(pine, version: int) -> None:
    """The message is put where the engine keeps it: into the comment of the exit."""
    spec, bars = random_spec(5, exits=True), random_walk_bars(PINE_BARS, seed=5)
    text = emit(spec, provenance=Provenance(), instrument=EURUSD, version=version)
    script, changed = re.subn(r"comment_loss=\w+,(\s+)alert_loss=", r"\1comment_loss=", text)
    assert changed == text.count("strategy.exit(")
    names = {"stop_loss": "stop"}
    expected = [
        (trade.exit_bar, trade.side, names.get(trade.exit_reason, trade.exit_reason))
        for trade in parity_result(spec, bars).trades
        if trade.exit_reason in STOP_NAMES
    ]
    found = []
    for trade in pine.run(script, bars).closed:
        if trade.exit_comment is not None and trade.exit_comment.startswith("{"):
            said = json.loads(trade.exit_comment)
            assert said["action"] == "exit"
            found.append((trade.exit_bar, said["side"], said["reason"]))
    assert found == expected
    assert {reason for _, _, reason in found} == {"stop", "trailing", "break_even"}


def test_the_checker_accepts_a_script_with_every_exit() -> None:
    pips = {"unit": "pips", "value": 20}
    spec = spec_from_mapping(
        {
            "name": "every_exit",
            "entry_long": "close > open",
            "stop_loss": pips,
            "trailing_stop": {"distance": pips, "after": pips},
            "break_even": {"after": pips, "plus_pips": 1},
            "time_stop": {"bars": 3, "at": "16:00"},
        },
        where="test",
    )
    script = emit(spec, provenance=Provenance(), instrument=EURUSD)
    assert "stop=longLevel, comment_loss=longReason" in script
    assert 'comment="Time"' in script


def test_the_specs_given_to_pine_leave_in_every_way() -> None:
    seen: Counter[str] = Counter()
    for seed in PINE_SEEDS:
        bars = random_walk_bars(PINE_BARS, seed=seed)
        seen += events_of(parity_result(random_spec(seed, exits=True), bars))
    assert all(seen[name] >= 10 for name in MOVED), seen


def test_a_stop_walks_up_a_rise_and_is_hit_by_the_fall() -> None:
    """By hand: highs of 10 pips a bar, a trailing stop of 15 pips, hit on the bar that falls 30."""
    bars = random_walk_bars(8, seed=1)
    close = 1.1 + np.array([0, 0, 10, 20, 30, 0, 0, 0]) / 10_000
    opened = np.concatenate([[1.1], close[:-1]])
    made = replace(
        bars,
        open=np.round(opened, 5),
        close=np.round(close, 5),
        high=np.round(np.maximum(opened, close), 5),
        low=np.round(np.minimum(opened, close), 5),
    )
    spec = spec_from_mapping(
        {
            "name": "walk",
            "entry_long": "close == open",
            "trailing_stop": {"distance": {"unit": "pips", "value": 15}},
        },
        where="test",
    )
    first = parity_result(spec, made).trades[0]
    assert (first.entry_bar, first.exit_bar, first.exit_reason) == (1, 5, "trailing")
    assert first.exit_price == 1.1015  # the high of bar 4, 1.1030, less 15 pips
    assert first.stop_price is None
