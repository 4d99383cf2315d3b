"""Splits: no label interval of one reaches into another, whatever the shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aiopt.dataset import SplitConfig
from aiopt.dataset.splits import SPLITS, fit_scale, split_rows
from aiopt.errors import ConfigError


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(30, 400),
    stride=st.integers(1, 9),
    longest=st.integers(1, 40),
    more_purge=st.none() | st.integers(0, 20),
    embargo=st.none() | st.integers(0, 30),
    train=st.floats(0.2, 0.8),
    share=st.floats(0.0, 1.0),
    holes=st.integers(0, 2**32 - 1),
)
def test_no_label_interval_overlaps_another_split(
    rows: int,
    stride: int,
    longest: int,
    more_purge: int | None,
    embargo: int | None,
    train: float,
    share: float,
    holes: int,
) -> None:
    keep = np.random.default_rng(holes).random(rows) < 0.9
    bars = (500 + stride * np.arange(rows))[keep]
    validation = (1 - train) * share
    purge = None if more_purge is None else longest + more_purge
    config = SplitConfig(
        train=train,
        validation=validation,
        test=1 - train - validation,
        purge_bars=purge,
        embargo_bars=embargo,
    )
    try:
        splits = split_rows(bars, config, longest)
    except ConfigError:
        assume(False)
    seen: set[int] = set()
    last_label = last_decision = -1
    for name in SPLITS:
        if name not in splits:
            continue
        chosen = bars[splits[name]]
        assert chosen.size
        assert not seen & set(chosen.tolist())
        seen |= set(chosen.tolist())
        # Labels of row b read (b, b + longest]; decisions of the next split come behind all of them.
        assert chosen[0] > last_label
        width = longest if embargo is None else embargo
        if last_decision >= 0:
            assert chosen[0] - last_decision > (longest if purge is None else purge)
            assert chosen[0] >= width + min(bar for bar in bars if bar > last_decision)
        last_label, last_decision = chosen[-1] + longest, chosen[-1]


def test_rows_left_out_are_those_round_the_borders() -> None:
    bars = np.arange(1_000)
    splits = split_rows(bars, SplitConfig(purge_bars=30, embargo_bars=10), longest=24)
    assert [(int(rows[0]), int(rows[-1])) for rows in splits.values()] == [(0, 669), (710, 819), (860, 999)]


def test_a_split_without_a_share_is_absent() -> None:
    splits = split_rows(np.arange(100), SplitConfig(train=0.8, validation=0.0, test=0.2), longest=3)
    assert list(splits) == ["train", "test"]
    assert list(split_rows(np.arange(9), SplitConfig(train=1.0, validation=0.0, test=0.0), 3)) == ["train"]


def test_a_purge_shorter_than_the_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"splits\.purge_bars >= 24"):
        split_rows(np.arange(100), SplitConfig(purge_bars=23), longest=24)


def test_a_split_left_empty_is_refused() -> None:
    with pytest.raises(ConfigError, match="validation has none of 100 left after a purge of 24"):
        split_rows(np.arange(100), SplitConfig(), longest=24)


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_bad_shares(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="sum of 1 must hold"):
        SplitConfig(train=shares[0], validation=shares[1], test=shares[2])


def test_the_scale_is_that_of_the_train_rows_alone() -> None:
    rng = np.random.default_rng(3)
    values, train = rng.normal(5, 2, 300), np.arange(200)
    columns = {"a": values, "constant": np.full(300, 0.3)}
    scale = fit_scale(columns, train)
    assert scale["a"].mean == pytest.approx(values[:200].mean())
    assert scale["a"].std == pytest.approx(values[:200].std())
    assert (scale["constant"].mean, scale["constant"].std) == (pytest.approx(0.3), 1.0)
    values[200:] = 1e9
    assert fit_scale(columns, train) == scale
