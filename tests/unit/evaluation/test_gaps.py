"""Anchored windows, purge and embargo by length of time: exact, refused where they eat what they guard."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.config import canonical_json
from aiopt.errors import ConfigError
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan, plan_walk_forward
from aiopt.utc import HOUR_NS

configs = st.builds(
    WalkForwardConfig,
    train_segments=st.integers(1, 4),
    folds=st.integers(1, 4),
    holdout_segments=st.integers(0, 2),
    purge_segments=st.integers(0, 2),
    anchored=st.booleans(),
    purge=st.sampled_from([msgspec.UNSET, "1h", "5h"]),
    embargo=st.sampled_from([msgspec.UNSET, "2h", "1d"]),
)


def hours(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) * HOUR_NS


@settings(max_examples=150, deadline=None)
@given(configs)
def test_train_and_test_are_as_far_apart_as_was_asked(config: WalkForwardConfig) -> None:
    plan = plan_walk_forward(config, hours(60 * config.blocks))
    rolling = msgspec.structs.replace(
        config, anchored=msgspec.UNSET, purge=msgspec.UNSET, embargo=msgspec.UNSET
    )
    plain = plan_walk_forward(rolling, hours(60 * config.blocks))
    gap_ns = config.purge_ns + config.embargo_ns + config.purge_segments * 60 * HOUR_NS
    for fold, old in zip(plan.folds, plain.folds, strict=True):
        train, test = plan.span_ns(fold.train), plan.span_ns(fold.test)
        old_train, old_test = plain.span_ns(old.train), plain.span_ns(old.test)
        assert test[0] - train[1] == gap_ns
        assert train == (0 if config.anchored else old_train[0], old_train[1] - config.purge_ns)
        assert test == (old_test[0] + config.embargo_ns, old_test[1])
    train, stop = plan.span_ns(plan.refit), plain.span_ns(plain.refit)[1]
    assert train == (0 if config.anchored else plain.span_ns(plain.refit)[0], stop - config.purge_ns)
    if plan.holdout:
        assert plan.span_ns(plan.holdout) == (plain.holdout_start_ns + config.embargo_ns, plain.stop_ns)
    assert plan.start_ns == plain.start_ns
    assert set(plan.development) | set(plan.holdout) == set(range(config.segments))
    assert not {s for fold in plan.folds for s in (*fold.train, *fold.test)} & set(plan.holdout)


def test_what_is_not_asked_for_is_not_written() -> None:
    plain = canonical_json(WalkForwardConfig())
    assert canonical_json(WalkForwardConfig(anchored=False)) == plain
    assert plain == b'{"folds":4,"holdout_segments":1,"purge_segments":0,"train_segments":3}'
    plan = plan_walk_forward(WalkForwardConfig(purge="60m", anchored=True), hours(900))
    again = msgspec.json.decode(msgspec.json.encode(plan), type=WalkForwardPlan)
    assert again == plan
    assert again.config.purge == "1h"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (WalkForwardConfig(purge="100h"), r"`purge` \(100h\) must be shorter than the last segment of a"),
        (
            WalkForwardConfig(embargo="100h"),
            r"`embargo` \(100h\) must be shorter than the segment that a fold",
        ),
        (
            WalkForwardConfig(embargo="50h", purge="50h"),
            r"`embargo` \(50h\) and `purge` \(50h\) must be short",
        ),
        (WalkForwardConfig(purge="30m"), "whole number of periods of 1h"),
    ],
)
def test_a_gap_that_leaves_nothing_is_refused(config: WalkForwardConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_walk_forward(config, hours(800))


def test_a_test_in_which_the_market_is_closed_is_refused() -> None:
    days = (np.arange(20), np.arange(100, 120), np.arange(200, 210), np.arange(230, 240))
    config = WalkForwardConfig(train_segments=1, folds=1, embargo="19h")
    plan_walk_forward(config, np.concatenate(days) * HOUR_NS)
    config = msgspec.structs.replace(config, embargo="25h")
    with pytest.raises(ConfigError, match=r"a market in the test of fold 1, but `walk_forward\.embargo`"):
        plan_walk_forward(config, np.concatenate(days) * HOUR_NS)


@pytest.mark.parametrize("name", ["purge", "embargo"])
def test_a_gap_must_be_a_length_of_time(name: str) -> None:
    with pytest.raises(ConfigError, match=f"`walk_forward.{name}` must be a number and one of s, m, h, d"):
        msgspec.convert({name: "four hours"}, WalkForwardConfig)
