"""No feature, window or label of a row knows the other side of a gap or a weekend, unless asked to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiopt.bars.schema import BarSet
from aiopt.dataset import DatasetConfig, FeatureConfig, ImageConfig, LabelConfig, plan_rows
from aiopt.dataset.stretches import market_breaks, stretch_starts
from aiopt.errors import ConfigError
from aiopt.testing.bars import random_walk_bar_set

CONFIG = DatasetConfig(features=FeatureConfig(regime_window=60))
PICTURED = DatasetConfig(features=FeatureConfig(regime_window=60), images=ImageConfig(window=40))


def _with_hole(bars: BarSet, at: int, count: int) -> BarSet:
    kept = np.r_[0:at, at + count : len(bars)]
    names = ("ts_open_ns", "open", "high", "low", "close", "volume")
    sides = [
        replace(side, **{name: getattr(side, name)[kept] for name in names}) for side in (bars.bid, bars.ask)
    ]
    return replace(bars, bid=sides[0], ask=sides[1])


def test_breaks_are_gaps_of_open_market_and_weekends() -> None:
    bars = random_walk_bar_set(2_500, seed=5, timeframe="5m")
    steps = np.diff(bars.bid.ts_open_ns)
    weekends = np.flatnonzero(market_breaks(bars))
    assert weekends.tolist() == np.flatnonzero(steps > 24 * 3_600_000_000_000).tolist()
    assert weekends.size
    assert market_breaks(_with_hole(bars, 300, 12))[299]
    assert not market_breaks(_with_hole(bars, 300, 11))[299]
    hourly = random_walk_bar_set(400, seed=5, timeframe="1h")
    assert market_breaks(_with_hole(hourly, 50, 1))[49]
    daily = random_walk_bar_set(40, seed=5, timeframe="1d")
    assert not market_breaks(daily)[np.diff(daily.bid.ts_open_ns) <= 3 * 86_400_000_000_000].any()


@pytest.mark.parametrize("config", [CONFIG, PICTURED])
def test_prices_before_a_break_move_no_row_behind_it(config: DatasetConfig) -> None:
    bars = _with_hole(random_walk_bar_set(1_200, seed=5, timeframe="5m"), 500, 30)
    plan = plan_rows(bars, config)
    starts = stretch_starts(bars)
    assert starts[520] == 500
    names = ("open", "high", "low", "close")
    earlier = np.arange(len(bars)) < 500
    sides = [
        replace(
            side,
            **{name: np.where(earlier, getattr(side, name) * 1.01, getattr(side, name)) for name in names},
        )
        for side in (bars.bid, bars.ask)
    ]
    moved = plan_rows(replace(bars, bid=sides[0], ask=sides[1]), config)
    behind = plan.bars[plan.bars >= 500]
    assert behind.size > 100
    np.testing.assert_array_equal(moved.bars, plan.bars)
    for name, values in plan.features.columns.items():
        np.testing.assert_array_equal(moved.features.columns[name][behind], values[behind], err_msg=name)
    for row in plan.bars.tolist():
        assert starts[row] == starts[row + plan.labels.longest], "label"
        if config.images is not None:
            assert starts[row] <= row + 1 - config.images.window, "window"


def test_what_a_break_costs_is_counted_and_may_be_kept() -> None:
    bars = _with_hole(random_walk_bar_set(1_200, seed=5, timeframe="5m"), 500, 30)
    plan = plan_rows(bars, PICTURED)
    assert plan.rows + sum(plan.left_out.values()) == len(bars)
    assert min(plan.left_out[name] for name in ("feature_across_gap", "label_across_gap")) > 0
    kept = plan_rows(
        bars,
        DatasetConfig(
            features=FeatureConfig(regime_window=60),
            labels=LabelConfig(across_gaps="keep"),
            across_gaps="keep",
        ),
    )
    assert not {"feature_across_gap", "label_across_gap"} & set(kept.left_out)
    assert kept.rows > plan.rows


def test_bars_whose_weeks_are_too_short_say_what_to_do() -> None:
    bars = random_walk_bar_set(800, seed=5, timeframe="1h")
    with pytest.raises(ConfigError, match=r"none is left .*--across-gaps keep"):
        plan_rows(bars, DatasetConfig(features=FeatureConfig(regime_window=200)))
    assert plan_rows(bars, DatasetConfig(features=FeatureConfig(regime_window=40))).rows
