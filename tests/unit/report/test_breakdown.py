"""Grouping of trades and trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.report.breakdown import by_hour, by_weekday, explained_spread, heat_map
from aiopt.trades import Trade

MONDAY_NS = 1_398_643_200_000_000_000  # 2014-04-28 00:00 UTC
HOUR_NS = 3_600_000_000_000


def trade(offset_h: float, pnl: float) -> Trade:
    at = MONDAY_NS + int(offset_h * HOUR_NS)
    return Trade(
        entry_bar=0,
        exit_bar=1,
        entry_ts_ns=at,
        exit_ts_ns=at + HOUR_NS,
        side="long",
        entry_price=1.1,
        exit_price=1.2,
        size=1000.0,
        exit_reason="stop_loss",
        pnl=pnl,
    )


def test_hours_and_weekdays_are_those_of_the_entry_in_utc():
    trades = [trade(7.5, 10.0), trade(7.9, -4.0), trade(24 * 4 + 23.99, 1.5)]
    hours = by_hour(trades)
    assert hours.trades[7] == 2
    assert hours.pnl[7] == 6.0
    assert hours.trades[23] == 1
    days = by_weekday(trades)
    assert days.labels[0] == "Mon"
    assert days.trades == [2, 0, 0, 0, 1, 0, 0]


def test_no_trades_no_breakdown():
    assert by_hour([]) is None
    assert by_weekday([]) is None


@given(st.lists(st.tuples(st.floats(0, 24 * 13), st.floats(-1e4, 1e4)), min_size=1, max_size=60))
def test_breakdowns_lose_no_trade(rows):
    trades = [trade(offset, pnl) for offset, pnl in rows]
    for parts in (by_hour(trades), by_weekday(trades)):
        assert sum(parts.trades) == len(trades)
        assert sum(parts.pnl) == pytest.approx(sum(pnl for _, pnl in rows), abs=0.01 * len(parts.pnl))


def test_explained_spread_of_a_perfect_and_of_no_grouping():
    values = np.array([1.0, 1.0, 5.0, 5.0])
    assert explained_spread([0, 0, 1, 1], values) == pytest.approx(1.0)
    assert explained_spread([0, 1, 0, 1], values) < 0
    assert explained_spread([0, 0, 1, 1], np.ones(4)) == 0.0


def test_heat_map_picks_the_two_parameters_that_matter():
    random = np.random.default_rng(1)
    points, values = [], []
    for _ in range(300):
        point = {
            "length": int(random.integers(5, 50)),
            "noise": float(random.random()),
            "stop": float(random.choice([1.0, 2.0, 3.0])),
            "fixed": 7,
        }
        points.append(point)
        values.append(0.1 * point["length"] + 2.0 * point["stop"] + float(random.normal(0, 0.1)))
    grid = heat_map(
        points, values, {"length": 20, "stop": 2.0, "noise": 0.5, "fixed": 7}, metric="Sharpe ratio"
    )
    assert {grid.x_name, grid.y_name} == {"length", "stop"}
    assert sum(sum(row) for row in grid.counts) == 300
    stops = grid.y_labels if grid.y_name == "stop" else grid.x_labels
    assert stops == ["1", "2", "3"]
    column, row = grid.chosen
    assert "2" in (grid.x_labels[column], grid.y_labels[row])
    low, high = grid.values[0][0], grid.values[-1][-1]
    assert low < high


def test_heat_map_counts_only_finite_trials_and_shows_empty_cells():
    points = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 1}, {"a": 2, "b": 1}]
    grid = heat_map(points, [1.0, 3.0, 2.0, float("nan")], {"a": 2, "b": 2}, metric="x")
    assert sum(sum(row) for row in grid.counts) == 3
    assert sorted(value for row in grid.values for value in row if value is not None) == [1.5, 3.0]
    assert sum(value is None for row in grid.values for value in row) == 2
    assert grid.chosen == (1, 1)


def test_heat_map_does_not_mark_a_cell_that_was_not_tried():
    points = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 1}]
    assert heat_map(points, [1.0, 2.0, 3.0], {"a": 9, "b": 1}, metric="x").chosen is None


@pytest.mark.parametrize("points", [[], [{"a": 1}], [{"a": 1, "b": 2}, {"a": 2, "b": 2}]])
def test_heat_map_needs_two_parameters_that_vary(points):
    assert heat_map(points, [1.0] * len(points), {}, metric="x") is None
