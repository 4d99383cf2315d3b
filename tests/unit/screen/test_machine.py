"""A program says on every bar what the conditions of its spec say over arrays."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.screen.machine import ENTRY_LONG, ENTRY_SHORT, EXIT_LONG, EXIT_SHORT
from aiopt.screen.program import SIGNALS, program_of, scalar_value
from aiopt.screen.session import ScreenSession
from aiopt.strategy.conditions import parse_value
from aiopt.strategy.evaluation import evaluate_value
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import FixedSize, StrategySpec
from aiopt.testing.bars import random_walk_bar_set
from aiopt.testing.random_specs import random_spec

N_BARS = 2500  # more than a block, and no multiple of it


def flags_of(session: ScreenSession, spec: StrategySpec) -> np.ndarray:
    session.screen(spec)
    return session.flags


def expected(session: ScreenSession, spec: StrategySpec) -> np.ndarray:
    bars = session.bars
    arrays = compute_signals(
        spec,
        bars.bid,
        tick_size=bars.price_step,
        pip_size=bars.instrument.pip_size,
        initial_balance=100_000.0,
    )
    bits = zip(SIGNALS, (ENTRY_LONG, ENTRY_SHORT, EXIT_LONG, EXIT_SHORT), strict=True)
    flags = sum((getattr(arrays, name) * bit for name, bit in bits), np.zeros(N_BARS, dtype=int))
    flags[-1] &= EXIT_LONG | EXIT_SHORT  # nothing is entered at the close of the last bar
    return flags


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_random_conditions_hold_where_they_hold_over_arrays(first: int) -> None:
    session = ScreenSession(random_walk_bar_set(N_BARS, seed=first), BacktestConfig())
    fired = 0
    for seed in range(first, first + 30):
        spec = msgspec.structs.replace(random_spec(seed), size=FixedSize())
        found = flags_of(session, spec)
        np.testing.assert_array_equal(found, expected(session, spec), err_msg=f"seed {seed}")
        fired += int((found > 0).sum())
    assert fired > 10_000


@pytest.mark.parametrize("name", FAMILIES)
def test_families_with_many_parameters(name: str) -> None:
    session = ScreenSession(random_walk_bar_set(N_BARS, seed=1), BacktestConfig())
    space = FAMILIES[name]
    for params in space.sample(20, 3, "random"):
        spec = space.spec.with_params(params)
        np.testing.assert_array_equal(flags_of(session, spec), expected(session, spec))


def test_a_gap_in_an_indicator_silences_its_bars() -> None:
    # A bar without a range gives the stochastic no value; the bars behind it do again.
    spec = StrategySpec.from_json(
        msgspec.json.encode(
            {
                "name": "gaps",
                "indicators": {
                    "k": {"kind": "stochastic", "args": {"k_length": 1, "k_smooth": 1, "d_smooth": 1}}
                },
                "entry_long": "k.k > 50 or close > 0",
                "exit_long": "k.k < 50 or close > 0",
            }
        )
    )
    session = ScreenSession(random_walk_bar_set(N_BARS, seed=4), BacktestConfig())
    found = flags_of(session, spec)
    assert 0 < (found[10:] == 0).sum() < N_BARS // 10
    np.testing.assert_array_equal(found, expected(session, spec))


def test_equal_parts_are_computed_once() -> None:
    texts = dict.fromkeys(SIGNALS)
    texts["entry_long"] = "crossover(rsi - 1, level) and rsi - 1 > level"
    texts["exit_long"] = "rsi - 1 > level"
    program = program_of(texts, frozenset({"level"}))
    # The difference, the crossing, the comparison, both, and no entry or exit of a short.
    assert len(program.steps) == 6
    assert len(program.columns) == 1


def test_specs_of_one_shape_share_a_program() -> None:
    space = FAMILIES["rsi_reversion"]
    texts = [
        {name: getattr(space.spec.with_params(params), name) for name in SIGNALS}
        for params in space.sample(2, 1, "sobol")
    ]
    params = frozenset(space.spec.params)
    assert program_of(texts[0], params) is program_of(texts[1], params)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "-n",
        "n + 2 * g",
        "n / (g - g)",
        "g / 3",
        "abs(1 - n)",
        "min(n, g)",
        "max(n / 0, g)",
        "min(g, 1) - n",
    ],
)
def test_values_without_bars_are_those_over_arrays(text: str) -> None:
    node, params = parse_value(text), {"n": 3.0, "g": 1.7}
    np.testing.assert_equal(scalar_value(node, params), evaluate_value(node, params, 1)[0])
