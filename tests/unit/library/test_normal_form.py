"""Two specs are one strategy if and only if they differ in what changes no signal."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.library.normal_form import strategy_id, structure_id
from aiopt.strategy.conditions import (
    And,
    Call,
    Compare,
    Condition,
    Name,
    Not,
    Number,
    Or,
    Series,
    format_condition,
)
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars

PLAIN: dict[str, Any] = {
    "name": "one",
    "params": {"level": 30, "length": 14, "far": 2.0},
    "indicators": {
        "rsi": {"kind": "rsi", "args": {"length": "length"}},
        "atr": {"kind": "atr", "args": {"length": 14}},
    },
    "entry_long": "rsi < level and close > open",
    "exit_long": "crossover(rsi, 50)",
    "stop_loss": {"unit": "atr", "value": "far", "indicator": "atr"},
}


def made(**changes: Any) -> StrategySpec:
    return msgspec.convert({**PLAIN, **changes}, StrategySpec)


RENAMED = {
    "name": "another",
    "family": "other",
    "description": "the same",
    "params": {"oversold": 30, "n": 14, "width": 2.0},
    "indicators": {
        "average_true_range": {"kind": "atr", "args": {"length": 14}},
        "strength": {"kind": "rsi", "args": {"length": "n"}},
    },
    "entry_long": "open < close and oversold > strength",
    "exit_long": "crossunder(50, strength)",
    "stop_loss": {"unit": "atr", "value": "width", "indicator": "average_true_range"},
}
SAME = {
    "renamed": RENAMED,
    "a number for a parameter": {
        "params": {"length": 14, "far": 2.0},
        "entry_long": "rsi < 30.0 and close > open",
    },
    "two conditions turned": {"entry_long": "close > open and rsi < level"},
    "nested and repeated": {
        "entry_long": "(close > open and (rsi < level and rsi < level)) and open < close"
    },
    "De Morgan": {"entry_long": "not (not rsi < level or not open < close)"},
    "a default named": {
        "indicators": {
            "rsi": {"kind": "rsi", "source": "close", "args": {"length": "length"}},
            "atr": {"kind": "atr", "args": {"length": 14}},
        }
    },
}
OTHER = {
    "another value": {"params": {"level": 31, "length": 14, "far": 2.0}},
    "another length": {"params": {"level": 30, "length": 15, "far": 2.0}},
    "another side": {"entry_long": "rsi < level and close < open"},
    "not of a comparison: NaN differs": {"entry_long": "rsi < level and not close <= open"},
    "or for and": {"entry_long": "rsi < level or close > open"},
    "another stop": {
        "stop_loss": {"unit": "pips", "value": "far"},
        "indicators": {"rsi": {"kind": "rsi", "args": {"length": "length"}}},
    },
    "no session": {"session": {"start": "08:00", "end": "17:00"}},
    "another size": {"size": {"kind": "fixed", "units": 20_000}},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_what_differs_in_names_and_writing_is_the_same(changes: dict[str, Any]) -> None:
    assert strategy_id(made(**changes)) == strategy_id(made())
    assert made(**changes).spec_hash != made().spec_hash or changes == SAME["a default named"]


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_what_trades_otherwise_is_another(changes: dict[str, Any]) -> None:
    assert strategy_id(made(**changes)) != strategy_id(made())


def test_the_structure_is_that_of_every_setting() -> None:
    assert structure_id(made(**OTHER["another value"])) == structure_id(made())
    assert structure_id(made(**OTHER["or for and"])) != structure_id(made())


def test_a_word_that_is_also_a_parameter_stays_a_word() -> None:
    named = made(
        params={"level": 30, "length": 14, "atr2": 2.0},
        stop_loss={"unit": "atr", "value": "atr2", "indicator": "atr"},
    )
    assert strategy_id(named) == strategy_id(made())
    # `pips` is a unit and, here, a parameter too.
    both = made(
        params={"level": 30, "length": 14, "pips": 9.0},
        stop_loss={"unit": "pips", "value": "pips"},
        indicators={"rsi": {"kind": "rsi", "args": {"length": "length"}}},
    )
    plain = made(
        params={"level": 30, "length": 14},
        stop_loss={"unit": "pips", "value": 9},
        indicators={"rsi": {"kind": "rsi", "args": {"length": "length"}}},
    )
    assert strategy_id(both) == strategy_id(plain)


def test_every_ready_family_has_a_form_of_its_own() -> None:
    found = {strategy_id(space.spec) for space in FAMILIES.values()}
    assert len(found) == len(FAMILIES)


BARS = random_walk_bars(400, seed=3, timeframe="5m")
_values = st.sampled_from([Series("close"), Series("open"), Name("rsi"), Name("level"), Number(50)])
_leaves = st.one_of(
    st.builds(Compare, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _values, _values),
    st.builds(
        lambda f, a, b: Call(f, (a, b)), st.sampled_from(["crossover", "crossunder"]), _values, _values
    ),
)
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda a, b: And((a, b)), inner, inner),
        st.builds(lambda a, b: Or((a, b)), inner, inner),
    ),
    max_leaves=6,
)


def rewritten(tree: Condition, turns: list[bool]) -> Condition:
    """Return a tree of the same meaning: operands turned, comparisons mirrored, negations pushed about."""
    turn = turns.pop() if turns else False
    match tree:
        case And((left, right)):
            a, b = rewritten(left, turns), rewritten(right, turns)
            return And((b, a)) if turn else Not(Or((Not(a), Not(b))))
        case Or((left, right)):
            a, b = rewritten(left, turns), rewritten(right, turns)
            return Or((b, a)) if turn else Not(And((Not(a), Not(b))))
        case Not(operand):
            inner = rewritten(operand, turns)
            return Not(inner) if turn else Not(Not(Not(inner)))
        case Compare(operator, left, right):
            mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}[operator]
            return Compare(mirrored, right, left) if turn else tree
        case Call(function, (left, right)):
            other = "crossunder" if function == "crossover" else "crossover"
            return Call(other, (right, left)) if turn else tree
    raise AssertionError(tree)


def with_entry(tree: Condition) -> StrategySpec:
    used = format_condition(And((tree, Compare("<", Name("rsi"), Name("level")))))
    return made(
        params={"level": 30, "length": 14},
        indicators={"rsi": {"kind": "rsi", "args": {"length": "length"}}},
        entry_long=used,
        exit_long=None,
        stop_loss=None,
    )


@settings(max_examples=40)
@given(_trees, st.lists(st.booleans(), max_size=20))
def test_equal_forms_give_equal_signals(tree: Condition, turns: list[bool]) -> None:
    one, other = with_entry(tree), with_entry(rewritten(tree, list(turns)))
    assert strategy_id(one) == strategy_id(other)
    first, second = (
        compute_signals(spec, BARS, tick_size=1e-5, pip_size=1e-4, initial_balance=100_000.0)
        for spec in (one, other)
    )
    assert np.array_equal(first.entry_long, second.entry_long)
