"""Maps of all trials: a front that nothing beats, bounded dots and lines, entries always there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from aiopt.report import sweep, sweep_maps
from aiopt.report.path_charts import parameters_chart, trade_off_chart
from aiopt.report.sweep import sweep_overview, trial_arrays
from aiopt.testing.sweeps import PLAN, noise_sweep, trial


def test_nothing_beats_the_front_and_something_beats_the_rest() -> None:
    rng = np.random.default_rng(2)
    net, drawdown, units = rng.normal(size=80), rng.random(80).round(1), rng.random(80).round(1)
    front = sweep_maps.pareto_front(net, drawdown, units)
    for i in range(80):
        no_worse = (net >= net[i]) & (drawdown <= drawdown[i]) & (units <= units[i])
        better = (net > net[i]) | (drawdown < drawdown[i]) | (units < units[i])
        assert front[i] == (not (no_worse & better).any())


def test_equal_trials_are_on_the_front_once() -> None:
    ones = np.ones(3)
    assert sweep_maps.pareto_front(ones, ones, ones).tolist() == [True, False, False]


def test_dots_and_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_maps, "MOST_TRADE_OFFS", 20)
    monkeypatch.setattr(sweep_maps, "MOST_LINES", 10)
    monkeypatch.setattr(sweep, "MOST_POINTS", 50)
    rows = noise_sweep(3, trials=100)
    trials = trial_arrays(rows, PLAN)
    maps = sweep_maps.sweep_maps(trials, [])
    assert maps.trade_offs_total == 200
    assert len(maps.trade_offs) <= 20 + maps.front
    assert sum(point.front for point in maps.trade_offs) == maps.front
    assert [len(one.lines) <= 11 for one in maps.parameters] == [True, True]
    for one in maps.parameters:
        assert [axis.name for axis in one.axes] == ["length", "other"]
        assert all(0 <= place <= 1 for line in one.lines for place in line.places)
        best = max(line.sharpe or -np.inf for line in one.lines)
        assert any(line.level == 4 or line.level == -4 for line in one.lines) or best > 0
        assert f"Parameters of {one.group}" in parameters_chart(one)
    found = sweep_overview(trials, plan=PLAN, statistics=None)
    assert found.points_total == 800
    assert len(found.points) == 50
    assert found.density
    assert sum(count for _, _, count in found.density.cells) == 800
    assert "circle" in trade_off_chart(maps.trade_offs, turnover=True, unit="USD")


def test_a_parameter_of_words_is_an_axis_too() -> None:
    rng = np.random.default_rng(1)
    rows = [
        trial(i, rng.normal(size=480), params={"side": "long" if i % 2 else "both", "n": i, "same": 3})
        for i in range(6)
    ]
    maps = sweep_maps.sweep_maps(trial_arrays(rows, PLAN), [])
    (found,) = maps.parameters
    assert [(axis.name, axis.choices) for axis in found.axes] == [("side", ["both", "long"]), ("n", [])]
    assert json.loads(rows[1].params_json)["side"] == "long"
    line = next(line for line in found.lines if line.trial_id == rows[1].trial_id)
    assert line.places[0] == 1.0
