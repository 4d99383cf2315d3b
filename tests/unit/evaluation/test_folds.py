"""Walk-forward: train before test, no overlap, the holdout in nothing."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import ConfigError, MetricInputError
from aiopt.evaluation.folds import (
    HOUR_NS,
    WalkForwardConfig,
    WalkForwardPlan,
    active_boundaries,
    make_folds,
    period_profits,
    plan_walk_forward,
    segment_boundaries,
)

configs = st.builds(
    WalkForwardConfig,
    train_segments=st.integers(1, 6),
    folds=st.integers(1, 6),
    holdout_segments=st.integers(0, 3),
    purge_segments=st.integers(0, 2),
)


def plan_of(config: WalkForwardConfig) -> WalkForwardPlan:
    bounds = tuple((3 * i + i * i) * HOUR_NS for i in range(config.segments + 1))
    return WalkForwardPlan(config=config, boundaries_ns=bounds)


@given(configs)
def test_folds_train_before_they_test_and_never_see_the_holdout(config: WalkForwardConfig) -> None:
    plan = plan_of(config)
    assert len(plan.folds) == config.folds
    for fold in plan.folds:
        assert len(fold.train) == config.train_segments
        assert max(fold.train) + config.purge_segments < min(fold.test)
        assert not {*fold.train, *fold.test} & set(plan.holdout)
    assert list(plan.test) == list(range(plan.test[0], plan.test[0] + config.folds))
    assert set(plan.development) | set(plan.holdout) == set(range(config.segments))
    assert not set(plan.refit) & set(plan.holdout)
    assert max(plan.refit) + config.purge_segments + 1 == config.development_segments
    assert len(plan.refit) == config.train_segments


def test_the_picture_in_the_docstring() -> None:
    folds = make_folds(WalkForwardConfig(train_segments=3, folds=4, holdout_segments=1))
    assert [(fold.train, fold.test) for fold in folds] == [
        ((0, 1, 2), (3,)),
        ((1, 2, 3), (4,)),
        ((2, 3, 4), (5,)),
        ((3, 4, 5), (6,)),
    ]
    plan = plan_of(WalkForwardConfig())
    assert plan.refit == (4, 5, 6)
    assert plan.holdout == (7,)


@given(configs)
def test_every_period_lies_in_one_segment(config: WalkForwardConfig) -> None:
    plan = plan_of(config)
    together = np.concatenate([plan.periods_of((i,)) for i in range(config.segments)])
    assert together.tolist() == list(range(plan.development_periods + plan.holdout_periods))
    assert plan.periods_of(plan.development).tolist() == list(range(plan.development_periods))
    assert plan.period_starts_ns(plan.development)[-1] == plan.holdout_start_ns - plan.period_ns


@given(
    st.integers(-(10**17), 10**18), st.integers(0, 10**16), st.integers(1, 20), st.sampled_from([1, 60, 3600])
)
def test_equal_time_segments_cover_the_span(first: int, length: int, n: int, align_s: int) -> None:
    align = align_s * 10**9
    if (first + length) // align - first // align + 1 < n:
        with pytest.raises(MetricInputError, match="segments need at least"):
            segment_boundaries(first, first + length, n, align_ns=align)
        return
    bounds = segment_boundaries(first, first + length, n, align_ns=align)
    assert bounds.shape == (n + 1,)
    assert (bounds % align == 0).all()
    widths = np.diff(bounds) // align
    assert widths.min() >= 1
    assert widths.max() - widths.min() <= 1
    assert bounds[0] <= first < bounds[0] + align
    assert bounds[-1] - align <= first + length < bounds[-1]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=80, unique=True), st.integers(1, 8))
def test_active_segments_hold_equally_many_hours(hours: list[int], n: int) -> None:
    times = np.sort(np.array(hours, dtype=np.int64)) * HOUR_NS + 17
    if len(hours) < n:
        with pytest.raises(MetricInputError, match="segments need at least"):
            active_boundaries(times, n)
        return
    bounds = active_boundaries(times, n)
    counts = np.histogram(times, bins=bounds)[0]
    assert counts.sum() == len(hours)
    assert counts.max() - counts.min() <= 1


def test_all_timeframes_give_the_same_plan() -> None:
    rng = np.random.default_rng(3)
    minutes = np.sort(rng.choice(20_000, 4_000, replace=False)) * 60 * 10**9
    config = WalkForwardConfig()
    plans = {
        plan_walk_forward(config, np.unique(minutes // step * step))
        for step in (60 * 10**9, 300 * 10**9, 900 * 10**9, HOUR_NS)
    }
    assert len(plans) == 1


@pytest.mark.parametrize("bad", [[], [3, 1], [[1, 2]]])
def test_times_must_ascend(bad: list[int]) -> None:
    with pytest.raises(MetricInputError, match="ascending times"):
        active_boundaries(bad, 1)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(-10, 10)), max_size=30))
def test_period_profits_equal_a_plain_loop(changes: list[tuple[int, float]]) -> None:
    bars = sorted(changes)
    times = [10 * t for t, _ in bars]
    equity = np.concatenate(([100.0], 100.0 + np.cumsum([d for _, d in bars])))
    got = period_profits(times, equity, start_ns=50, stop_ns=250, period_ns=40)
    expected = [sum(d for t, d in bars if low <= 10 * t < low + 40) for low in range(50, 250, 40)]
    assert got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"equity": [1.0]}, "len"),
        ({"stop_ns": 15}, "multiple of period_ns"),
        ({"ts_open_ns": [5, 1]}, "times ascend"),
    ],
)
def test_bad_grids_are_refused(change: dict[str, object], message: str) -> None:
    call = {"ts_open_ns": [1, 5], "equity": [1.0, 2.0, 3.0], "start_ns": 0, "stop_ns": 20, "period_ns": 10}
    with pytest.raises(MetricInputError, match=message):
        period_profits(**{**call, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["train_segments", "folds"])
def test_a_walk_forward_has_train_and_test(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`{name} >= 1` must hold, but got {name}=0"):
        WalkForwardConfig(**{name: 0})


def test_a_plan_checks_its_boundaries() -> None:
    config = WalkForwardConfig(train_segments=1, folds=1, holdout_segments=0)
    with pytest.raises(ConfigError, match="3 boundaries"):
        WalkForwardPlan(config=config, boundaries_ns=(0, HOUR_NS))
    with pytest.raises(ConfigError, match="ascend"):
        WalkForwardPlan(config=config, boundaries_ns=(0, 2 * HOUR_NS, HOUR_NS))
    with pytest.raises(ConfigError, match="multiples of period_ns"):
        WalkForwardPlan(config=config, boundaries_ns=(0, 5, HOUR_NS))


def test_a_plan_survives_json() -> None:
    plan = plan_of(WalkForwardConfig(purge_segments=1))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=WalkForwardPlan) == plan
    assert plan.periods_per_year == 8766
