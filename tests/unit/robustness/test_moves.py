from __future__ import annotations

import numpy as np
import pytest

from aiopt.robustness.moves import Tried, moves_of
from aiopt.strategy.dimensions import Choice, IntRange
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import SearchSpace


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_moves_stay_near_on_the_grid_and_inside_what_was_tried() -> None:
    tried = Tried(5.0, 30.0, 1)
    found = {tried.moved(6, 0.1, rng(seed)) for seed in range(200)}
    assert found == {5.0, 6.0, 7.0, 8.0}
    coarse = Tried(0.0, 10.0, 5.0)
    assert {coarse.moved(5.0, 0.01, rng(seed)) for seed in range(50)} == {0.0, 5.0, 10.0}
    free = Tried(1.0, 2.0)
    drawn = [free.moved(1.5, 0.2, rng(seed)) for seed in range(200)]
    assert 1.3 <= min(drawn) < 1.35
    assert 1.65 < max(drawn) <= 1.7


def test_a_choice_moves_to_what_stands_beside_it() -> None:
    choice = Tried(1.0, 50.0, None, (1, 2, 5, 10, 50))
    assert {choice.moved(5, 0.1, rng(seed)) for seed in range(60)} == {2, 5, 10}
    assert choice.spread(3) == [1, 5, 50]


def test_values_spread_over_the_range_are_on_the_grid_with_both_ends() -> None:
    assert Tried(5.0, 30.0, 5).spread(4) == [5.0, 15.0, 20.0, 30.0]
    assert Tried(0.0, 1.0).spread(3) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("name", FAMILIES)
def test_neighbours_of_every_family_fulfil_its_constraints(name: str) -> None:
    space = FAMILIES[name]
    moves = moves_of(space, 0.3)
    assert moves is not None
    (params,) = space.sample(1, 4, "random")
    random, moved = rng(1), 0
    for _ in range(40):
        near = moves.neighbour(params, random)
        assert space.contains(near)
        space.spec.with_params(near)
        moved += near != params
    assert moved > 30


def test_without_a_space_nothing_moves() -> None:
    assert moves_of(None, 0.1) is None


def test_logarithmic_moves_are_factors_and_names_stay() -> None:
    tried = Tried(1.0, 100.0, log=True)
    drawn = [tried.moved(10.0, 0.25, rng(seed)) for seed in range(300)]
    assert 10 / 100**0.25 <= min(drawn) < 3.3
    assert 30 < max(drawn) <= 10 * 100**0.25
    assert tried.spread(3) == [1.0, 10.0, 100.0]
    space = FAMILIES["rsi_reversion"]
    spec = space.spec
    named = SearchSpace(
        spec,
        {"rsi_length": IntRange(5, 30), "rsi.source": Choice(("close", "hlc3"))},
    )
    moves = moves_of(named, 0.5)
    assert moves is not None
    assert set(moves.tried) == {"rsi_length"}
    near = [moves.neighbour({"rsi_length": 14, "rsi.source": "hlc3"}, rng(seed)) for seed in range(20)]
    assert {point["rsi.source"] for point in near} == {"hlc3"}
    assert len({point["rsi_length"] for point in near}) > 5
    assert moves_of(SearchSpace(spec, {"rsi.source": Choice(("close", "hlc3"))}), 0.5) is None
