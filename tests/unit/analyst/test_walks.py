"""Walks: bars by the rules, nothing planted, and ranges that grow and shrink."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aiopt.analyst.generators import GENERATORS, UNPLANTED, generator_of
from aiopt.analyst.planted import N_BARS
from aiopt.analyst.shown import label_of
from aiopt.analyst.walks import walk_case
from aiopt.dataset.tasks.task_kinds import TASKS, Chart
from aiopt.errors import ConfigError


def test_equal_seeds_give_equal_bars_that_keep_the_rules_of_bars() -> None:
    hashes = set()
    for seed in range(20):
        case, again = walk_case("walk", seed=seed), walk_case("walk", seed=seed)
        bars = case.bars
        assert bars.data_hash == again.bars.data_hash
        assert len(bars) == N_BARS
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert (bars.open[1:] == bars.close[:-1]).all()
        hashes.add(bars.data_hash)
    assert len(hashes) == 20


def test_every_label_of_every_definition_comes_up_and_none_of_trend_leads() -> None:
    charts = [walk_case("walk", seed=seed, noise=0.3 + seed % 4 * 0.4).bars for seed in range(400)]
    for name, choices in (("volatility", 3), ("trend", 3), ("support", 3), ("engulfing", 3), ("highest", 4)):
        found = Counter(label_of(bars, name) for bars in charts)
        assert len(found) == choices, (name, found)
        assert min(found.values()) >= 20, (name, found)
    trends = Counter(label_of(bars, "trend") for bars in charts)
    assert abs(trends["up"] - trends["down"]) < 60


def test_a_walk_has_no_side_to_learn_and_judges_no_rules() -> None:
    chart = Chart(bars=walk_case("walk", seed=1).bars, case=walk_case("walk", seed=1))
    assert TASKS["bias"].answer(chart) is None
    assert TASKS["analysis"].answer(chart) is None
    assert TASKS["trend"].answer(chart) is not None
    assert "walks" in UNPLANTED
    assert "walks" not in GENERATORS
    assert generator_of("walks").kinds == ("walk",)


def test_other_kinds_and_noise_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be 'walk', but got 'drift_up'"):
        walk_case("drift_up", seed=1)
    with pytest.raises(ConfigError, match=r"but got noise=11"):
        walk_case("walk", seed=1, noise=11)
